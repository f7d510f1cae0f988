//! Whatever the files of a session hold, reading, summing up and exporting it ends with a message or with figures, never with a panic.

mod common;

use common::Workplace;
use common::fake_nvml::{measure, script};
use lowcarb::report::session::{Export, FORMATS, json, show};
use lowcarb::session::{EVENTS, MANIFEST, Measurement, SAMPLES, SEAL, Session, Summary, Texts};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What takes the place of a word of a file.
const WORDS: [&str; 14] = [
    "",
    "-1",
    "0",
    "1e308",
    "-1e308",
    "nan",
    "inf",
    "18446744073709551615",
    "1e-300",
    "\"",
    "{",
    "99999999999999999999",
    "end",
    "\u{fffd}",
];

/// A text with some of its words replaced, cut short, or with a line twice.
fn damaged(text: &str, random: &mut ChaCha8Rng) -> String {
    let mut words: Vec<String> = text.split_inclusive([',', ':', ' ', '\n', '=']).map(str::to_string).collect();
    for _ in 0..random.random_range(1..4) {
        let place = random.random_range(0..words.len());
        let ending: String = words[place].chars().last().filter(|c| !c.is_alphanumeric()).into_iter().collect();
        words[place] = WORDS[random.random_range(0..WORDS.len())].to_string() + &ending;
    }
    let mut text = words.concat();
    if random.random_range(0..4) == 0 {
        let end = random.random_range(0..text.len().max(1));
        text.truncate((0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    }
    if random.random_range(0..4) == 0 {
        text = text.repeat(2);
    }
    text
}

#[test]
fn no_damage_to_a_session_is_a_panic() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=wave:100,300,0.5,0.2 gpm=yes", "trace=flat:50 counter=no"]);
    let program = "echo 'begin train' >> $LOWCARB_MARKS; sleep 0.4; echo 'step tokens=5' >> $LOWCARB_MARKS; \
         echo 'fact runs {\"layers\": 2}' >> $LOWCARB_MARKS; echo 'step count=3' >> $LOWCARB_MARKS; echo 'end train' >> $LOWCARB_MARKS; \
         echo 'begin k' >> $LOWCARB_MARKS; echo 'fact kernels {\"calls\": 4}' >> $LOWCARB_MARKS; echo 'end k' >> $LOWCARB_MARKS";
    measure(&workplace, &["--idle", "0.1", "--interval", "50", "--out", "s", "--", "sh", "-c", program]).assert().success();
    let text = |name: &str| std::fs::read_to_string(workplace.path("s").join(name)).unwrap();
    let (manifest, samples, events, seal) = (text(MANIFEST), text(SAMPLES), text(EVENTS), text(SEAL));
    let (mut read, mut refused) = (0, 0);
    for seed in 0..150 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let which = random.random_range(0..4);
        let mut file = |place: u32, text: &str| if which == place { damaged(text, &mut random) } else { text.to_string() };
        let (manifest, samples, events, seal) = (file(0, &manifest), file(1, &samples), file(2, &events), file(3, &seal));
        let texts = Texts { manifest: &manifest, samples: &samples, events: &events, seal: Some(&seal) };
        let Ok(session) = Session::read("s", &texts) else {
            refused += 1;
            continue;
        };
        read += 1;
        let measurement = Measurement::from(session);
        let summary = Summary::of(&measurement);
        assert!(!show(&summary).is_empty() && !json(&[summary]).is_empty());
        let measurements = [measurement];
        for format in FORMATS.iter().filter(|format| !matches!(format.name, "svg" | "png") || seed % 10 == 0) {
            // What cannot be drawn or written is an error, and that is an end too.
            let _ = (format.write)(&Export { measurements: &measurements, grams_per_kwh: Some(400.0) }, &mut Vec::new());
        }
    }
    assert!(read > 75 && refused > 4, "{read} read, {refused} refused");
}

//! Bad input: one message that names file, line, key, what was found, what is allowed and the nearest known name; exit
//! code 2, nothing on stdout, nothing left behind, never a panic.

mod common;

use common::Workplace;

/// Runs the program on input that it must refuse, with `--out outcome` for a scenario, and returns the message.
fn refused(place: &Workplace, arguments: &[&str]) -> String {
    let mut arguments = arguments.to_vec();
    if arguments[0] == "run" && !arguments.contains(&"--out") {
        arguments.extend(["--out", "outcome"]);
    }
    let output = place.run(&arguments);
    let (data, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(!talk.contains("panicked"), "{arguments:?}: {talk}");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {talk}");
    assert_eq!(data, "", "{arguments:?}");
    assert!(talk.starts_with("error: ") && talk.ends_with('\n'), "{arguments:?}: {talk}");
    assert_eq!(talk.lines().count(), 1, "{arguments:?}: {talk}");
    let unprintable = talk.trim_end().chars().find(|character| character.is_control());
    assert_eq!(unprintable, None, "{arguments:?}: {talk:?}");
    if let Ok(left) = std::fs::read_dir(place.path("outcome")) {
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{arguments:?} left {left:?}");
    }
    talk
}

/// The message for a scenario that starts from bert_base_lrt: line 1 of mine.toml is `use`, `text` follows.
fn refused_scenario(text: &str) -> String {
    let place = Workplace::new();
    place.write("mine.toml", format!("use = \"bert_base_lrt\"\n{text}"));
    refused(&place, &["run", "mine.toml"])
}

/// The message for a scenario with no base of its own, so that every value is the modelled kind; `text` follows line 15.
fn refused_own_scenario(text: &str) -> String {
    const OWN: &str = "schema = 1\ntitle = \"own\"\nbaseline = \"dense\"\ndraws = 10\n[model]\nuse = \"bert-base\"\n[hardware]\n\
                       accelerator = \"h100\"\naccelerators = 8\n[training]\nprecision = \"bf16\"\noptimizer = \"adam\"\nsteps = 10\n\
                       sequence_length = 128\nglobal_batch = 8\n";
    let place = Workplace::new();
    place.write("mine.toml", OWN);
    assert_eq!(place.run(&["run", "mine.toml"]).status.code(), Some(0), "without the fault the scenario is right");
    place.write("mine.toml", format!("{OWN}{text}"));
    refused(&place, &["run", "mine.toml"])
}

/// The message for a model that starts from bert-base: line 1 of mine.toml is `use`, `text` follows.
fn refused_model(text: &str) -> String {
    let place = Workplace::new();
    place.write("mine.toml", format!("use = \"bert-base\"\n{text}"));
    refused(&place, &["inspect", "mine.toml"])
}

/// The message starts with `error: place: ` and says the rest in this order.
#[track_caller]
fn says(message: &str, start: &str, rest: &[&str]) {
    assert!(message.starts_with(&format!("error: {start}")), "{message}should start with: error: {start}");
    let mut unread = message;
    for part in rest {
        let Some((_, after)) = unread.split_once(part) else { panic!("{message}should say, in this place: {part}") };
        unread = after;
    }
}

// Keys.

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    says(&refused_scenario("titel = \"x\"\n"), "mine.toml:2: titel: found an unknown key, allowed: ", &["title", "nearest: \"title\""]);
    says(
        &refused_scenario("[training]\nmicro_bach = 3\n"),
        "mine.toml:3: training.micro_bach: found an unknown key, allowed: ",
        &["steps", "nearest: \"micro_batch\""],
    );
    says(
        &refused_scenario("[hardware]\nacelerators = 3\n"),
        "mine.toml:3: hardware.acelerators: found an unknown key",
        &["nearest: \"accelerators\""],
    );
    says(&refused_scenario("[model]\nlinear.rnak = 3\n"), "mine.toml:3: model.linear.rnak: found an unknown key", &["nearest: \"rank\""]);
    says(&refused_model("widht = 3\n"), "mine.toml:2: widht: found an unknown key, allowed: ", &["encoder", "nearest: \"width\""]);
}

#[test]
fn an_unknown_key_in_a_variant_is_refused_at_its_line() {
    says(
        &refused_scenario("[[variant]]\nname = \"x\"\nmodle.linear.rank = 3\n"),
        "mine.toml:4: variant.0.modle: found an unknown key",
        &["nearest: \"model\""],
    );
    says(
        &refused_scenario("[[variant]]\nname = \"x\"\nmodel.liner.rank = 3\n"),
        "mine.toml:4: model.liner: found an unknown key",
        &["nearest: \"linear\""],
    );
    says(&refused_scenario("[[variant]]\nmodel.linear.rank = 3\n"), "mine.toml:2: variant.0.name: found nothing, allowed: ", &[]);
}

#[test]
fn a_key_with_windows_line_ends_keeps_its_line() {
    says(&refused_model("dropout = 0.1\r\nwidht = 3\r\n"), "mine.toml:3: widht: ", &["nearest: \"width\""]);
}

#[test]
fn a_key_said_twice_is_refused_at_its_second_line() {
    says(&refused_scenario("draws = 1\ndraws = 2\n"), "mine.toml:3: ", &["found duplicate key, allowed: "]);
}

// Names.

#[test]
fn an_unknown_model_is_refused_with_the_nearest_name() {
    let rest = ["found unknown model \"bert-bas\", allowed: ", "bert-large", "nearest: \"bert-base\""];
    says(&refused_scenario("model = \"bert-bas\"\n"), "mine.toml:2: model: ", &rest);
    says(&refused_scenario("[model]\nuse = \"bert-bas\"\n"), "mine.toml:3: model: ", &rest);
    says(&refused(&Workplace::new(), &["inspect", "bert-bas"]), "command line: ", &rest);
}

#[test]
fn an_unknown_gpu_is_refused_with_the_nearest_name() {
    let message = refused_scenario("[hardware]\naccelerator = \"H10\"\n");
    says(&message, "mine.toml:3: hardware.accelerator: found unknown accelerator \"H10\", allowed: ", &["A100", "nearest: \"h100\""]);
}

#[test]
fn an_unknown_node_is_refused_with_the_nearest_name() {
    let message = refused_scenario("[hardware]\nnode = \"dgx-a10\"\n");
    says(&message, "mine.toml:3: hardware.node: found unknown node \"dgx-a10\", allowed: ", &["dgx-h100", "nearest: \"dgx-a100\""]);
}

#[test]
fn an_unknown_grid_is_refused_with_the_nearest_name() {
    let message = refused_own_scenario("[site]\ngrid = \"Polland\"\n");
    says(&message, "mine.toml:17: site.grid: found unknown grid \"Polland\", allowed: ", &["nearest: \"Poland\""]);
}

#[test]
fn an_unknown_grid_is_refused_though_the_intensity_is_stated_beside_it() {
    let message = refused_scenario("[site]\ngrid = \"Polland\"\n");
    says(&message, "mine.toml:3: site.grid: found unknown grid \"Polland\", allowed: ", &["nearest: \"Poland\""]);
}

#[test]
fn an_unknown_year_of_a_grid_is_refused_with_the_known_years() {
    let message = refused_own_scenario("[site]\ngrid = \"Poland\"\nyear = 1950\n");
    says(&message, "mine.toml:18: site.year: found no figure for Poland in 1950, allowed: ", &["2024"]);
}

#[test]
fn an_unknown_cloud_region_is_refused_with_the_nearest_name() {
    let message = refused_scenario("[site]\ncloud_region = \"gcp/europ-west1\"\n");
    says(
        &message,
        "mine.toml:3: site.cloud_region: found unknown cloud region \"gcp/europ-west1\", allowed: ",
        &["nearest: \"gcp/europe-west1\""],
    );
}

#[test]
fn an_unknown_word_is_refused_with_the_nearest_one() {
    says(
        &refused_scenario("[training]\nprecision = \"fp15\"\n"),
        "mine.toml:3: training.precision: found \"fp15\", allowed: fp32, ",
        &["nearest: \"fp16\""],
    );
    says(
        &refused_model("attention.kind = \"linfromer\"\n"),
        "mine.toml:2: attention.kind: found \"linfromer\", allowed: softmax, ",
        &["nearest: \"linformer\""],
    );
}

#[test]
fn an_unknown_source_is_refused_with_the_known_ones() {
    says(
        &refused_scenario("[anchor]\nsource = \"strubel-2019\"\n"),
        "mine.toml:3: anchor.source: found \"strubel-2019\", allowed: ",
        &["strubell-2019"],
    );
}

#[test]
fn an_unknown_scenario_and_profile_are_refused() {
    let place = Workplace::new();
    says(
        &refused(&place, &["run", "bert_base_lr"]),
        "command line: found unknown scenario \"bert_base_lr\", allowed: ",
        &["nearest: \"bert_base_lrt\""],
    );
    says(
        &refused(&place, &["profiles", "show", "h101"]),
        "command line: found unknown profile \"h101\", allowed: ",
        &["nearest: \"h100\""],
    );
}

// Numbers.

#[test]
fn a_rank_of_zero_or_above_the_full_rank_is_refused() {
    says(
        &refused_scenario("[model]\nlinear.rank = 0\n"),
        "mine.toml:3: model.linear.rank: found 0, allowed: 1 to the full rank 768",
        &["saves below 615"],
    );
    says(
        &refused_scenario("[model]\nlinear.rank = 769\n"),
        "mine.toml:3: model.linear.rank: found 769, allowed: 1 to the full rank 768",
        &["saves below 615"],
    );
    says(&refused_scenario("[model]\nlinear.rank = -3\n"), "mine.toml:3: model.linear.rank: found -3, allowed: ", &[]);
}

#[test]
fn a_ratio_outside_its_range_or_beside_a_rank_is_refused() {
    let outside = |ratio: &str| refused_scenario(&format!("[model]\nlinear.ratio = {ratio}\n"));
    says(&outside("1.5"), "mine.toml:3: model.linear.ratio: found 1.5, allowed: above 0, at most 1", &[]);
    says(&outside("0.0"), "mine.toml:3: model.linear.ratio: found 0, allowed: above 0, at most 1", &[]);
    says(&outside("-0.5"), "mine.toml:3: model.linear.ratio: found -0.5, allowed: above 0, at most 1", &[]);
    says(&outside("nan"), "mine.toml:3: model.linear.ratio: found NaN, allowed: above 0, at most 1", &[]);
    says(
        &refused_scenario("[model]\nlinear.ratio = 0.5\nlinear.rank = 3\n"),
        "mine.toml:3: model.linear.ratio: found a ratio beside a rank, allowed: one of rank and ratio",
        &[],
    );
}

#[test]
fn a_power_that_is_no_finite_number_of_zero_or_more_is_refused() {
    for (written, shown) in
        [("\"-5 W\"", "\"-5 W\""), ("-5", "-5"), ("nan", "NaN"), ("\"nan W\"", "\"nan W\""), ("inf", "inf"), ("\"1e999 W\"", "\"1e999 W\"")]
    {
        says(
            &refused_scenario(&format!("[anchor]\npower = {written}\n")),
            &format!("mine.toml:3: anchor.power: found {shown}, allowed: a finite power of zero or more"),
            &[],
        );
    }
}

#[test]
fn an_interval_whose_ends_are_swapped_is_refused() {
    says(
        &refused_scenario("[anchor]\npower = { low = \"7 kW\", high = \"6 kW\" }\n"),
        "mine.toml:3: anchor.power: found low 7000 above high 6000, allowed: low at or below high",
        &[],
    );
    says(
        &refused_scenario("[anchor]\npower = { low = \"6 kW\", mode = \"9 kW\", high = \"7 kW\" }\n"),
        "mine.toml:3: anchor.power: found mode 9000 outside 6000 to 7000, allowed: low <= mode <= high",
        &[],
    );
    says(
        &refused_scenario("[anchor]\npower = { low = \"6 kW\" }\n"),
        "mine.toml:3: anchor.power: found ",
        &["allowed: value; or low and high"],
    );
}

#[test]
fn a_unit_of_the_wrong_kind_is_refused_with_the_right_ones() {
    says(
        &refused_scenario("[anchor]\npower = \"700 V\"\n"),
        "mine.toml:3: anchor.power: found \"700 V\", allowed: a power in mW, W, kW, MW",
        &[],
    );
    says(
        &refused_scenario("[hardware.accelerator]\nuse = \"h100\"\npower.limit = \"700 V\"\n"),
        "mine.toml:4: hardware.accelerator.power.limit: found \"700 V\", allowed: a power in mW, W, kW, MW",
        &[],
    );
    says(
        &refused_scenario("[price]\noffers = { x = \"5 EUR/h\" }\n"),
        "mine.toml:3: price.offers.x: found \"5 EUR/h\", allowed: a price per hour in USD/h",
        &[],
    );
}

#[test]
fn a_slipped_prefix_is_refused_as_implausible() {
    says(
        &refused_scenario("[hardware.accelerator]\nuse = \"h100\"\npower.limit = \"700 kW\"\n"),
        "mine.toml:4: hardware.accelerator.power.limit: found an implausible power of 700 kW, allowed: 1 W to 3 kW",
        &[],
    );
    says(
        &refused_scenario("[anchor]\npower = \"12041 kW\"\n"),
        "mine.toml:3: anchor.power: found an implausible power of 188.1 kW an accelerator, allowed: 1 W to 5 kW",
        &[],
    );
    says(&refused_scenario("[site]\npue = 0.5\n"), "mine.toml:3: site.pue: found an implausible 0.5, allowed: 1 to 5", &[]);
}

/// The report of a check is data, so it stands on stdout; the exit code tells that something is wrong.
#[test]
fn a_slipped_prefix_in_a_profile_is_found_by_profiles_check() {
    let place = Workplace::new();
    let right = include_str!("../hardware_profiles/accelerators/H100-SXM5-80GB.toml");
    let line = 1 + right.lines().position(|line| line.starts_with("limit = \"700 W\"")).unwrap();
    place.write("right.toml", right).write("wrong.toml", right.replace("limit = \"700 W\"", "limit = \"700 kW\""));
    assert_eq!(place.run(&["profiles", "check", "right.toml"]).status.code(), Some(0));
    let output = place.run(&["profiles", "check", "wrong.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let report = String::from_utf8(output.stdout).unwrap();
    let wanted = format!("error: wrong.toml:{line}: power.limit: found an implausible power of 700 kW, allowed: 1 W to 3 kW\n");
    assert!(report.contains(&wanted), "{report}");
}

#[test]
fn a_process_in_picometres_is_found_by_profiles_check() {
    let place = Workplace::new();
    let right = include_str!("../hardware_profiles/accelerators/P4.toml");
    place.write("wrong.toml", right.replace("feature_size_nm = 16", "feature_size_nm = 16000"));
    let output = place.run(&["profiles", "check", "wrong.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("process.feature_size_nm: found 16000, allowed: 1 to 100\n"), "{report}");
}

#[test]
fn a_whole_number_that_fits_no_machine_word_is_refused_with_its_key() {
    says(
        &refused_scenario("[training]\nsteps = 99999999999999999999\n"),
        "mine.toml:3: training.steps: found 99999999999999999999, allowed: a whole number",
        &[],
    );
}

#[test]
fn a_size_above_the_largest_is_refused_with_the_largest() {
    let message = refused_scenario("[training]\nsteps = 9999999999999\n");
    says(&message, "mine.toml:3: training.steps: found 9999999999999, allowed: 1 ", &[]);
    assert!(!message.contains("1 or more"), "9999999999999 is 1 or more: {message}");
    says(&refused_scenario("draws = 2000000\n"), "mine.toml:2: draws: found 2000000, allowed: 0 to 1000000", &[]);
}

#[test]
fn no_accelerators_are_refused() {
    says(&refused_scenario("[hardware]\naccelerators = 0\n"), "mine.toml:3: hardware.accelerators: found 0, allowed: 1 to ", &[]);
}

#[test]
fn a_message_speaks_of_values_and_not_of_the_programs_types() {
    for message in [
        refused_scenario("draws = -1\n"),
        refused_scenario("[training]\nsteps = \"many\"\n"),
        refused_scenario("[model]\nlinear = 3\n"),
        refused_scenario("[site]\nyear = \"last\"\n"),
        refused_model("width = 7.5\n"),
    ] {
        let allowed = message.split_once(", allowed: ").unwrap().1;
        let words: Vec<&str> = allowed.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for word in ["u32", "u64", "usize", "i64", "f64", "struct"] {
            assert!(!words.contains(&word), "{word}: {message}");
        }
    }
}

// Values that contradict each other.

#[test]
fn heads_that_do_not_divide_the_width_are_refused() {
    says(
        &refused_scenario("[model]\nattention.heads = 7\n"),
        "mine.toml:3: model.attention.heads: found 7, allowed: a divisor of the width 768",
        &[],
    );
}

#[test]
fn a_sequence_beyond_the_learned_positions_is_refused_where_it_is_said() {
    let message = refused_scenario("[training]\nphases = [{ sequence_length = 1024, share = 1.0, micro_batch = 1 }]\n");
    says(&message, "mine.toml:3: ", &["sequence_length", "found ", "1024", "allowed: ", "at most 512"]);
    let message = refused(&Workplace::new(), &["inspect", "bert-base", "--seq-len", "513"]);
    says(&message, "", &["found ", "513", "allowed: ", "at most 512"]);
}

#[test]
fn a_precision_that_the_gpu_lacks_is_refused_with_those_it_has() {
    says(
        &refused_scenario("[training]\nprecision = \"bf16\"\n"),
        "mine.toml:3: training.precision: found bf16",
        &["V100-SXM2-32GB", "allowed: fp32, fp16"],
    );
}

#[test]
fn shares_of_phases_that_do_not_sum_to_one_are_refused() {
    says(
        &refused_scenario(
            "[training]\nphases = [{ sequence_length = 128, share = 0.9, micro_batch = 64 }, { sequence_length = 512, share = 0.2, micro_batch = 8 }]\n",
        ),
        "mine.toml:3: training.phases: found shares that sum to 1.1, allowed: shares that sum to 1",
        &[],
    );
}

#[test]
fn a_batch_that_the_accelerators_cannot_share_is_refused() {
    says(
        &refused_scenario("[training]\nphases = []\nsequence_length = 128\nglobal_batch = 100\n"),
        "mine.toml:5: training.global_batch: found 100, allowed: a multiple of the 64 accelerators",
        &[],
    );
}

#[test]
fn two_cases_of_one_name_are_refused_at_the_second_name() {
    says(
        &refused_scenario("[[variant]]\nname = \"a\"\n[[variant]]\nname = \"a\"\n"),
        "mine.toml:5: variant.1.name: found \"a\" again, allowed: a name of its own",
        &[],
    );
    says(&refused_scenario("[[variant]]\nname = \"BERT-base\"\n"), "mine.toml:3: variant.0.name: found \"BERT-base\"", &["allowed: "]);
}

#[test]
fn another_version_of_the_format_is_refused() {
    says(&refused_scenario("schema = 2\n"), "mine.toml:2: schema: found 2, allowed: 1", &[]);
    says(&refused_model("schema = 2\n"), "mine.toml:2: schema: found 2, allowed: 1", &[]);
}

#[test]
fn a_key_that_a_sweep_or_a_threshold_cannot_set_is_refused_at_its_line() {
    says(&refused_scenario("[sweep]\nkey = \"model.linear.rnak\"\nvalues = [1, 2]\n"), "mine.toml:3: ", &["rnak", "nearest: \"rank\""]);
    says(
        &refused_scenario("[threshold]\nkey = \"model.linear.rnak\"\nsaving_percent = 30\nlow = 1\nhigh = 768\n"),
        "mine.toml:3: ",
        &["rnak", "nearest: \"rank\""],
    );
}

// Files.

#[test]
fn bases_that_use_each_other_are_refused() {
    let place = Workplace::new();
    place.write("models/one.toml", "use = \"two\"\n").write("models/two.toml", "# circular\nuse = \"one\"\n");
    says(
        &refused(&place, &["inspect", "one"]),
        "./models/two.toml:2: use: found a circle: ",
        &["one.toml", "two.toml", "one.toml", "allowed: "],
    );
    place.write("a.toml", "use = \"b.toml\"\n").write("b.toml", "use = \"a.toml\"\n");
    says(&refused(&place, &["run", "a.toml"]), "b.toml:1: use: found a circle: ", &["a.toml uses b.toml uses a.toml", "allowed: "]);
    place.write("self.toml", "use = \"self.toml\"\n");
    says(&refused(&place, &["run", "self.toml"]), "self.toml:1: use: found a circle: ", &["allowed: "]);
}

/// Every way to name a file, as a scenario and as a model.
fn refused_file(content: &[u8], start: &str, rest: &[&str]) {
    let place = Workplace::new();
    place.write("mine.toml", content);
    says(&refused(&place, &["run", "mine.toml"]), start, rest);
    says(&refused(&place, &["inspect", "mine.toml"]), start, rest);
}

#[test]
fn an_empty_file_is_refused() {
    refused_file(b"", "mine.toml: found an empty file, allowed: a TOML document", &[]);
    refused_file(b" \n\t\n", "mine.toml: found an empty file, allowed: a TOML document", &[]);
}

#[test]
fn a_binary_file_is_refused() {
    // Not UTF-8 from the first byte on: the signature of a PNG, then every byte value.
    let bytes: Vec<u8> = b"\x89PNG\r\n\x1a\n".iter().copied().chain(0..=255).collect();
    refused_file(&bytes, "mine.toml: found binary data, allowed: a text file in UTF-8", &[]);
    refused_file(b"use = \"bert-base\"\n# \0\n", "mine.toml: found binary data, allowed: a text file in UTF-8", &[]);
    refused_file(
        &"use = \"bert-base\"\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        "mine.toml: found binary data",
        &[],
    );
}

#[test]
fn a_file_of_fifty_megabytes_is_refused() {
    refused_file(&vec![b'#'; 50_000_000], "mine.toml: found more than 1 MB, allowed: at most 1 MB", &[]);
}

#[test]
fn a_folder_and_a_missing_file_are_refused() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("mine.toml")).unwrap();
    for command in ["run", "inspect"] {
        says(&refused(&place, &[command, "mine.toml"]), "mine.toml: found a folder, allowed: a text file", &[]);
        says(&refused(&place, &[command, "none.toml"]), "command line: found no file \"none.toml\", allowed: ", &["that exists"]);
        says(&refused(&place, &[command, "no/such"]), "command line: found no file \"no/such\", allowed: ", &["that exists"]);
    }
}

#[test]
fn text_that_is_not_toml_is_refused_at_its_line() {
    refused_file(b"schema = 1\ntitle = = 2\n", "mine.toml:2: found ", &["allowed: TOML"]);
    refused_file(b"schema = 1\n\n\xef\xbb\xbfdraws = 2\n", "mine.toml:3: found ", &["allowed: TOML"]);
    refused_file(b"<html></html>\n", "mine.toml:1: found ", &["allowed: TOML"]);
}

#[test]
fn nesting_beyond_any_need_is_refused() {
    let brackets = format!("x = {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    let over_lines = format!("x = {}1{}\n", "[\n".repeat(5000), "]\n".repeat(5000));
    let tables = format!("x = {}1{}\n", "{ a = ".repeat(5000), " }".repeat(5000));
    let dots = format!("{} = 1\n", ["a"; 5000].join("."));
    let header = format!("[{}]\nx = 1\n", ["a"; 5000].join("."));
    for text in [brackets, tables, dots, header] {
        says(&refused_scenario(&text), "mine.toml:2: found ", &["nested too deep, allowed: at most 32 levels"]);
    }
    says(&refused_scenario(&over_lines), "mine.toml:", &["nested too deep, allowed: at most 32 levels"]);
}

#[test]
fn a_table_where_a_value_belongs_and_a_value_where_a_table_belongs_are_refused() {
    says(&refused_scenario("model = 3\n"), "mine.toml:2: model: found ", &["allowed: "]);
    says(&refused_scenario("[model]\nuse = 3\n"), "mine.toml:3: model: found 3, allowed: the name of a model", &[]);
    says(&refused_scenario("training = 3\n"), "mine.toml:2: training: found 3, allowed: ", &[]);
    says(&refused_scenario("[title]\nx = 1\n"), "mine.toml:2: title: found a table, allowed: ", &[]);
    says(&refused_scenario("[variant]\nname = \"x\"\n"), "mine.toml:2: variant: found ", &["allowed: [[variant]]"]);
}

#[test]
fn control_characters_of_a_file_reach_no_terminal() {
    // `refused` looks for them: a line break would make two lines, an escape could repaint the screen.
    says(&refused_scenario("\"ti\\ntle\" = 3\n"), "mine.toml:2: ", &["found an unknown key"]);
    says(&refused_scenario("model = \"a\\nb\"\n"), "mine.toml:2: model: ", &["found unknown model"]);
    says(&refused_scenario("[training]\nprecision = \"\\u001b[31mred\"\n"), "mine.toml:3: training.precision: ", &["found "]);
    let place = Workplace::new();
    place.write("mine.toml", "use = \"bert_base_lrt\"\ntitle = \"\\u001b[31mred\"\n");
    assert!(!place.printed(&["run", "mine.toml"]).contains('\u{1b}'));
}

// The command line.

#[test]
fn a_wrong_assignment_is_refused_with_its_key() {
    let place = Workplace::new();
    let set = |text: &str| refused(&place, &["run", "bert_base_lrt", "--set", text]);
    says(&set("model.linear.rank"), "--set: ", &["found \"model.linear.rank\", allowed: KEY=VALUE"]);
    says(&set("=3"), "--set: found key \"\", allowed: names joined by dots", &[]);
    says(&set("model..rank=3"), "--set: found key \"model..rank\", allowed: names joined by dots", &[]);
    says(&set("model.linear.rank=["), "--set: model.linear.rank: found ", &["allowed: TOML"]);
    says(&set("model.linear.rank=abc"), "--set: model.linear.rank: found \"abc\", allowed: ", &[]);
    says(&set("model.linear.rank=0"), "--set: model.linear.rank: found 0, allowed: 1 to the full rank 768", &[]);
    says(&set("model.linear.rnak=3"), "--set: model.linear.rnak: found an unknown key", &["nearest: \"rank\""]);
    says(&set("modle.linear.rank=3"), "--set: modle: found an unknown key", &["nearest: \"model\""]);
    says(&set("model=gpt-2"), "--set: model: found unknown model \"gpt-2\"", &["nearest: \"gpt2\""]);
    says(&set(&format!("{}=1", ["a"; 5000].join("."))), "--set: found key ", &["allowed: "]);
    says(&set(&format!("a={}", "[".repeat(5000))), "--set: a: found ", &["nested too deep"]);
    says(
        &refused(&place, &["inspect", "bert-base", "--set", "linear.rnak=3"]),
        "--set: linear.rnak: found an unknown key",
        &["nearest: \"rank\""],
    );
}

/// The usage that follows takes more lines than one.
#[test]
fn wrong_usage_exits_with_two_and_says_error_first() {
    let place = Workplace::new();
    for arguments in [
        &["rnu"][..],
        &["run"],
        &["run", "bert_base_lrt", "extra"],
        &["run", "bert_base_lrt", "--format", "yaml"],
        &["run", "bert_base_lrt", "--out"],
        &["run", "bert_base_lrt", "--no-such-flag"],
        &["inspect", "bert-base", "--batch", "0"],
        &["inspect", "bert-base", "--batch", "-1"],
        &["inspect", "bert-base", "--batch", "1e3"],
        &["inspect", "bert-base", "--seq-len", "0"],
        &["inspect", "bert-base", "--precision", "fp15"],
        &["profiles", "list", "cars"],
    ] {
        let output = place.run(arguments);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {talk}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(talk.starts_with("error: ") && !talk.contains("panicked"), "{arguments:?}: {talk}");
    }
}

#[test]
fn a_folder_for_the_outcome_that_is_a_file_is_refused_and_kept() {
    let place = Workplace::new();
    place.write("taken", "kept");
    for out in ["taken", "taken/below"] {
        let message = refused(&place, &["run", "bert_base_lrt", "--out", out]);
        assert!(message.contains(out), "{message}");
    }
    assert_eq!(std::fs::read_to_string(place.path("taken")).unwrap(), "kept");
}

#[test]
fn a_failed_run_does_not_make_the_folder_for_its_outcome() {
    let place = Workplace::new();
    place.write("mine.toml", "use = \"bert_base_lrt\"\n[model]\nlinear.rank = 0\n");
    refused(&place, &["run", "mine.toml", "--out", "new"]);
    assert!(!place.path("new").exists());
}

#[test]
fn a_failed_run_leaves_an_earlier_outcome_as_it_was() {
    let place = Workplace::new();
    place.printed(&["run", "bert_base_lrt", "--out", "earlier", "--set", "draws=10"]);
    let before = std::fs::read(place.path("earlier/result.json")).unwrap();
    refused(&place, &["run", "bert_base_lrt", "--out", "earlier", "--set", "model.linear.rank=0"]);
    assert_eq!(std::fs::read(place.path("earlier/result.json")).unwrap(), before);
}

#[test]
fn sizes_whose_product_would_overflow_are_refused_alone() {
    let message = refused_model("linear.rank = 1\nattention.heads = 4294967296\nattention.head_width = 4294967296\n");
    says(&message, "mine.toml:3: attention.heads: found 4294967296, allowed: 1 to 16777216", &[]);
    let image = "embedding.kind = \"patches\"\nembedding.vocabulary = 0\n\
                 embedding.patches = { image = [16777216, 16777216], size = [4096, 4096], channels = 16777216 }\n";
    says(&refused_model(image), "mine.toml:4: embedding.patches.size: found", &["1 to 16777216"]);
    let rows = "embedding.positions = { kind = \"rotary\", length = 512, reserved = 512 }\n";
    says(&refused_model(rows), "mine.toml:2: embedding.positions.reserved: found 512", &["fewer than the rows"]);
    let alone = "feed_forward.kind = \"none\"\nnorm.placement = \"parallel\"\n";
    says(&refused_model(alone), "mine.toml:3: norm.placement: found sub-layers side by side", &["pre, post or sandwich"]);
    // Heads that every group says for itself.
    let groups = "attention.heads = 0\n[[encoder.groups]]\nlayers = 12\nattention.heads = 12\n";
    says(&refused_model(groups), "mine.toml:2: attention.heads: found 0", &["1 to 16777216"]);
}

/// Learned patterns, sorting, routing and compression: what their settings cannot be, one by one.
#[test]
fn settings_of_learned_patterns_that_contradict_each_other_are_refused() {
    let cases = [
        ("synthesizer = { kind = \"random\", factors = [16, 32] }", "synthesizer.factors", "kind dense"),
        ("synthesizer = { rank = 8 }", "synthesizer.rank", "factors, or kind random"),
        ("synthesizer = { factors = [16, 16] }", "synthesizer.factors", "at least the longest sequence, 512"),
        ("synthesizer = { factors = [16, 32], shared_heads = true }", "synthesizer.shared_heads", "one of the two"),
        ("sinkhorn = { block = 0 }", "sinkhorn.block", "1 to"),
        ("sinkhorn = { block = 64, sorting = \"shuffle\" }", "sinkhorn.sorting", "permutation"),
        ("routing = { window = 64, local_heads = 12 }", "routing.local_heads", "fewer than the 12 heads"),
        ("routing = { window = 64, clusters = 0 }", "routing.clusters", "1 to"),
        ("memory_compressed = { compression = 0 }", "memory_compressed.compression", "1 to"),
        ("linformer = { projected_length = 64, values_are_keys = true }", "linformer.values_are_keys", "key_value or layerwise"),
    ];
    for (settings, key, allowed) in cases {
        let kind = settings.split_once(' ').unwrap().0;
        let message = refused_model(&format!("attention.kind = \"{kind}\"\nattention.{settings}\n"));
        says(&message, "mine.toml:3: attention.", &[key, "found ", "allowed: ", allowed]);
    }
}

/// Kernels, landmarks, hashes and latents: the same.
#[test]
fn settings_of_kernels_and_latents_that_cannot_be_are_refused() {
    let cases = [
        ("performer = { features = 0 }", "performer.features", "1 to"),
        ("performer = { kernel = \"elu\" }", "performer.kernel", "softmax, relu"),
        ("linear = { features = \"relu\" }", "linear.features", "elu, softmax"),
        ("nystrom = { landmarks = 0 }", "nystrom.landmarks", "1 to"),
        ("nystrom = { landmarks = 64, iterations = 65 }", "nystrom.iterations", "1 to 64"),
        ("nystrom = { landmarks = 64, convolution = 64 }", "nystrom.convolution", "an odd number"),
        ("yoso = { planes = 31 }", "yoso.planes", "1 to 30"),
        ("yoso = { hashes = 0 }", "yoso.hashes", "1 to"),
        ("luna = { packed_length = 0 }", "luna.packed_length", "1 to"),
        ("induced_set = { points = 0 }", "induced_set.points", "1 to"),
    ];
    for (settings, key, allowed) in cases {
        let kind = settings.split_once(' ').unwrap().0;
        let message = refused_model(&format!("attention.kind = \"{kind}\"\nattention.{settings}\n"));
        says(&message, "mine.toml:3: attention.", &[key, "found ", "allowed: ", allowed]);
    }
    let message = refused_model("attention.kind = \"performer\"\nembedding.positions = { kind = \"relative_bias\", buckets = 32 }\n");
    says(&message, "mine.toml:2: attention.kind", &["performer", "positions"]);
    let message = refused_model("attention.kind = \"linear\"\nattention.implementation = \"fused\"\n");
    says(&message, "mine.toml:3: attention.implementation", &["eager"]);
}

#[test]
fn a_sequence_beyond_a_learned_pattern_is_refused() {
    let place = Workplace::new();
    for (kind, settings) in [("synthesizer", "length = 256"), ("sinkhorn", "block = 64, blocks = 4")] {
        place.write("mine.toml", format!("use = \"bert-base\"\nattention.kind = \"{kind}\"\nattention.{kind} = {{ {settings} }}\n"));
        let message = refused(&place, &["inspect", "mine.toml", "--seq-len", "512"]);
        says(&message, "mine.toml:3: attention.", &[kind, "a sequence of 512", "at most 256"]);
    }
}

//! Thermal design power and cores of a processor by the name that Linux prints.

use serde::Deserialize;

use crate::document::{Diagnostic, Library, Node, Origin};
use crate::source::Class;
use crate::units::Watts;

const SIDE_CAR: &str = "hardware_profiles/processors.toml";

/// One processor package, as its maker states it.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    /// Its name in the table.
    pub name: String,
    /// Of one package.
    pub thermal_design_power: Watts,
    /// Physical cores of one package, if known.
    pub cores: Option<u32>,
    /// How the power came to be.
    pub class: Class,
    /// Row, citation and year.
    pub from: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SideCar {
    #[serde(rename = "schema")]
    _schema: u32,
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "title")]
    _title: String,
    data: String,
    citation: String,
    year: i64,
    #[serde(rename = "licence")]
    _licence: String,
    #[serde(rename = "url")]
    _url: String,
    class: Class,
    #[serde(rename = "notes")]
    _notes: String,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    thermal_design_power_w: f64,
    cores: Option<u32>,
}

/// The row of the processor that Linux calls `model_name`, none if there is no such row. A relative is no stand-in: within one family
/// thermal design power differs fourfold.
///
/// # Errors
/// The table cannot be read.
pub fn find_processor(library: &dyn Library, model_name: &str, origin: &Origin) -> Result<Option<Processor>, Diagnostic> {
    let text = library.data(SIDE_CAR, origin)?;
    let side_car: SideCar = Node::parse(&text.file, &text.text)?.read()?;
    let data = library.data(&format!("hardware_profiles/{}", side_car.data), origin)?;
    let wanted = normal(model_name);
    // Thousands of rows lack the name's longest run of letters and digits, which no mark can stand in: they are not looked at closer.
    let run = wanted.split(|c: char| !c.is_ascii_alphanumeric()).max_by_key(|run| run.len()).unwrap_or_default().to_string();
    let wrong = |error: csv::Error| {
        let line = error.position().map_or(0, |position| position.line() as usize);
        Diagnostic::new(&Origin::line(&data.file, line), "", error.to_string(), "a name, watts, and cores or nothing")
    };
    let mut reader = csv::Reader::from_reader(data.text.as_bytes());
    let head = reader.headers().map_err(wrong)?.clone();
    let (mut record, mut lower) = (csv::StringRecord::new(), String::new());
    while reader.read_record(&mut record).map_err(wrong)? {
        lower.clear();
        lower.push_str(record.get(0).unwrap_or_default());
        lower.make_ascii_lowercase();
        if !lower.contains(&run) {
            continue;
        }
        let row: Row = record.deserialize(Some(&head)).map_err(wrong)?;
        if normal(&row.name) == wanted && row.thermal_design_power_w > 0.0 && row.thermal_design_power_w.is_finite() {
            return Ok(Some(Processor {
                from: format!("{}; {} ({})", row.name, side_car.citation, side_car.year),
                thermal_design_power: Watts::new(row.thermal_design_power_w),
                cores: row.cores.filter(|cores| *cores > 0),
                class: side_car.class,
                name: row.name,
            }));
        }
    }
    Ok(None)
}

/// What is left of a name without marks, clock, graphics, generation and counts of cores, which Linux prints and catalogues do not:
/// `intel xeon e5-2690 v4` for `Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz`.
fn normal(name: &str) -> String {
    let lower = name.to_lowercase().replace("core(tm)2", "core 2").replace("(r)", "").replace("(tm)", "").replace(['®', '™'], "");
    let name = ["@", " with ", " w/ "].iter().fold(lower.as_str(), |name, end| name.split(end).next().unwrap_or_default());
    let is_count = |word: &str| {
        let count = word.strip_suffix("-core").or_else(|| word.strip_suffix("-cores"));
        count.is_some_and(|count| !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let mut words: Vec<&str> =
        name.split_whitespace().filter(|word| !matches!(*word, "cpu" | "processor" | "apu") && !is_count(word)).collect();
    if let [generation, "gen", "intel", ..] = words[..]
        && generation.ends_with("th")
    {
        words.drain(..2);
    }
    // The first Xeons E5 print the missing version as a 0.
    if words.len() > 2 && words.last() == Some(&"0") {
        words.pop();
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn what_catalogues_do_not_print_falls_away() {
        for (printed, left) in [
            ("Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", "intel xeon e5-2690 v4"),
            ("Intel(R) Xeon(R) CPU           E5645  @ 2.40GHz", "intel xeon e5645"),
            ("Intel(R) Core(TM)2 Duo CPU     E8400  @ 3.00GHz", "intel core 2 duo e8400"),
            ("13th Gen Intel(R) Core(TM) i9-13900K", "intel core i9-13900k"),
            ("7th Gen A10-9700 APU", "7th gen a10-9700"),
            ("AMD FX(tm)-8350 Eight-Core Processor", "amd fx-8350"),
            ("AMD Ryzen AI 9 HX 370 w/ Radeon 890M", "amd ryzen ai 9 hx 370"),
            ("-core", "-core"),
            ("0", "0"),
            ("@", ""),
        ] {
            assert_eq!(normal(printed), left);
        }
    }
}

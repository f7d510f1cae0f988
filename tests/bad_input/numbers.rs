//! Numbers out of their range, and in the wrong unit.

use super::*;

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
    let right = include_str!("../../hardware_profiles/accelerators/H100-SXM5-80GB.toml");
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
    let right = include_str!("../../hardware_profiles/accelerators/P4.toml");
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

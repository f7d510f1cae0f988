use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use lowcarb::measure::rapl::{Rapl, Role, probe};
use lowcarb::session::energy::wrapped_difference;
use proptest::prelude::*;

use crate::Files;

/// Microjoules after which a counter of 2^32 units of 2^-14 J begins anew, as a Xeon states it.
const RANGE: u64 = 262_143_328_850;

fn zone(files: &Files, folder: &str, name: &str, energy_uj: u64) {
    files.write(&format!("{folder}/name"), format!("{name}\n"));
    files.write(&format!("{folder}/energy_uj"), format!("{energy_uj}\n"));
    files.write(&format!("{folder}/max_energy_range_uj"), format!("{RANGE}\n"));
    files.write(&format!("{folder}/enabled"), "0\n");
}

fn intel_server() -> Files {
    let files = Files::new();
    files.write("intel-rapl/enabled", "1\n");
    for (package, energy) in [(0, 11_000_000_000), (1, 22_000_000_000)] {
        zone(&files, &format!("intel-rapl:{package}"), &format!("package-{package}"), energy);
        for (part, name) in ["core", "uncore", "dram"].iter().enumerate() {
            zone(&files, &format!("intel-rapl:{package}:{part}"), name, energy / 10 + part as u64);
        }
    }
    files
}

/// Name, role and reading of every counter.
fn readings(rapl: &Rapl) -> Vec<(&str, Role, u64)> {
    rapl.domains.iter().map(|domain| (domain.name.as_str(), domain.role, domain.read().unwrap())).collect()
}

fn added(rapl: &Rapl) -> Vec<&str> {
    rapl.domains.iter().filter(|domain| domain.role.is_added()).map(|domain| domain.name.as_str()).collect()
}

#[test]
fn packages_and_their_memory_are_added_and_their_parts_are_not() {
    let files = intel_server();
    let rapl = probe(files.root());
    assert_eq!(rapl.missing, [""; 0]);
    let package = |number: u64| {
        let energy = 11_000_000_000 * (number + 1);
        [(Role::Package, energy), (Role::Part, energy / 10), (Role::Part, energy / 10 + 1), (Role::Dram, energy / 10 + 2)]
    };
    let names = ["package-0", "package-0/core", "package-0/uncore", "package-0/dram"];
    let names = names.iter().chain(&["package-1", "package-1/core", "package-1/uncore", "package-1/dram"]);
    let expected: Vec<_> = names.zip(package(0).into_iter().chain(package(1))).map(|(name, (role, uj))| (*name, role, uj)).collect();
    assert_eq!(readings(&rapl), expected);
    assert_eq!(added(&rapl), ["package-0", "package-0/dram", "package-1", "package-1/dram"]);
    assert!(rapl.domains.iter().all(|domain| domain.range_uj == Some(RANGE)));
}

#[test]
fn a_counter_is_read_anew_each_time() {
    let files = intel_server();
    let rapl = probe(files.root());
    let counter = &rapl.domains[0];
    assert_eq!(counter.read().unwrap(), 11_000_000_000);
    fs::write(&counter.counter, "12\n").unwrap();
    assert_eq!(counter.read().unwrap(), 12);
    fs::write(&counter.counter, "twelve\n").unwrap();
    assert_eq!(counter.read().unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn the_platform_is_never_added_even_alone() {
    let files = intel_server();
    zone(&files, "intel-rapl:2", "psys", 90_000_000_000);
    zone(&files, "intel-rapl:3", "psys-1", 90_000_000_000);
    let rapl = probe(files.root());
    assert_eq!(rapl.domains.iter().filter(|domain| domain.role == Role::Platform).count(), 2);
    assert_eq!(added(&rapl), ["package-0", "package-0/dram", "package-1", "package-1/dram"]);

    let files = Files::new();
    zone(&files, "intel-rapl:1", "psys", 90_000_000_000);
    let rapl = probe(files.root());
    assert_eq!((rapl.domains.len(), added(&rapl).len()), (1, 0));
}

#[test]
fn the_second_way_to_a_package_counts_only_where_the_first_is_shut() {
    let files = Files::new();
    files.write("intel-rapl-mmio/enabled", "1\n");
    zone(&files, "intel-rapl-mmio:0", "package-0", 5_000_000);
    zone(&files, "intel-rapl-mmio:0:0", "dram", 6_000_000);
    zone(&files, "intel-rapl:0", "package-0", 7_000_000_000);
    assert_eq!(readings(&probe(files.root())), [("package-0", Role::Package, 7_000_000_000), ("package-0/dram", Role::Dram, 6_000_000)]);
    files.write("intel-rapl:0/energy_uj", "no number\n");
    let rapl = probe(files.root());
    assert_eq!(readings(&rapl)[0], ("package-0", Role::Package, 5_000_000));
    assert_eq!(rapl.missing, [""; 0]);
}

#[test]
fn every_die_with_a_counter_of_its_own_is_added() {
    let files = Files::new();
    for (number, energy) in [40_000_000_000, 47_000_000_000, 30_000_000_000, 33_000_000_000].into_iter().enumerate() {
        zone(&files, &format!("intel-rapl:{number}"), &format!("package-{}-die-{}", number / 2, number % 2), energy);
        zone(&files, &format!("intel-rapl:{number}:0"), "dram", energy / 7);
    }
    let names = ["package-0-die-0", "package-0-die-0/dram", "package-0-die-1", "package-0-die-1/dram"];
    let others = ["package-1-die-0", "package-1-die-0/dram", "package-1-die-1", "package-1-die-1/dram"];
    assert_eq!(added(&probe(files.root())), [names, others].concat());
}

/// As kernels 6.9 to 6.11 show a server of two AMD processors with 8 dies each: folders 0 to f.
#[test]
fn dies_that_show_the_counter_of_their_package_are_added_once() {
    let files = Files::new();
    for number in 0..16_u64 {
        let package = number / 8;
        let energy = 50_000_000_000 + package * 1_000_000_000 + number * 3_000;
        zone(&files, &format!("intel-rapl:{number:x}"), &format!("package-{package}-die-{}", number % 8), energy);
        zone(&files, &format!("intel-rapl:{number:x}:0"), "core", energy / 9);
    }
    let rapl = probe(files.root());
    assert_eq!(added(&rapl), ["package-0-die-0", "package-1-die-0"]);
    assert!(rapl.missing.iter().any(|line| line.contains("package-1-die-7") && line.contains("counted once")), "{:?}", rapl.missing);
}

#[test]
fn dies_that_an_old_kernel_names_alike_are_all_added() {
    let files = Files::new();
    zone(&files, "intel-rapl:0", "package-0", 1);
    zone(&files, "intel-rapl:1", "package-0", 9_000_000_000);
    assert_eq!(added(&probe(files.root())), ["package-0", "package-0 (intel-rapl:1)"]);
}

#[test]
fn an_amd_processor_says_that_it_does_not_count_memory() {
    let files = Files::new();
    zone(&files, "intel-rapl:0", "package-0", 5);
    zone(&files, "intel-rapl:0:0", "core", 4);
    let rapl = probe(files.root());
    assert_eq!(added(&rapl), ["package-0"]);
    assert!(!rapl.has(Role::Dram));
    assert_eq!(rapl.missing, ["dram: this processor has no counter of its memory, and its package does not hold it"]);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_read() {
    let files = intel_server();
    files.remove("intel-rapl:0/energy_uj");
    files.write("intel-rapl:0/energy_uj/in_its_place", "");
    files.write("intel-rapl:0:2/energy_uj", "12 joules\n");
    files.remove("intel-rapl:1:1/name");
    files.write("intel-rapl:1:2/name", "memory\n");
    files.remove("intel-rapl:1/max_energy_range_uj");
    files.write("intel-rapl:1:0/max_energy_range_uj", "0\n");
    let rapl = probe(files.root());
    let names: Vec<&str> = rapl.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["package-0/core", "package-0/uncore", "package-1", "package-1/core"]);
    assert!(rapl.domains[2..].iter().all(|domain| domain.range_uj.is_none()));
    let about = |start: &str, part: &str| rapl.missing.iter().any(|line| line.starts_with(start) && line.contains(part));
    assert!(about("package-0: ", "directory"), "{:?}", rapl.missing);
    assert!(about("package-0/dram: ", "not a number of microjoules"), "{:?}", rapl.missing);
    assert!(about("intel-rapl:1:1: ", "name: No such file"), "{:?}", rapl.missing);
    assert!(about("intel-rapl:1:2: ", "\"memory\""), "{:?}", rapl.missing);
    assert!(about("package-1: ", "no max_energy_range_uj"), "{:?}", rapl.missing);
    assert_eq!(rapl.missing.len(), 5, "{:?}", rapl.missing);
}

#[test]
fn a_zone_of_another_technology_is_passed_over() {
    let files = intel_server();
    files.write("dtpm/enabled", "1\n").write("dtpm:0/name", "soc\n").write("dtpm:0/power_uw", "5\n");
    let rapl = probe(files.root());
    assert_eq!((rapl.domains.len(), rapl.missing.len()), (8, 0));
}

#[test]
fn a_machine_without_counters_says_so_in_one_line() {
    let files = Files::new();
    let rapl = probe(&files.root().join("powercap"));
    assert_eq!((rapl.domains.len(), rapl.missing.len()), (0, 1));
    assert!(rapl.missing[0].starts_with("no ") && rapl.missing[0].ends_with("shows no energy counters (RAPL)"), "{:?}", rapl.missing);

    files.write("powercap/intel-rapl/enabled", "1\n");
    let rapl = probe(&files.root().join("powercap"));
    assert_eq!((rapl.domains.len(), rapl.missing.len()), (0, 1));
    assert!(rapl.missing[0].contains("modprobe intel_rapl_msr"), "{:?}", rapl.missing);

    symlink("../masked/intel-rapl:0", files.root().join("powercap/intel-rapl:0")).unwrap();
    let rapl = probe(&files.root().join("powercap"));
    assert_eq!((rapl.domains.len(), rapl.missing.len()), (0, 1));
    assert!(rapl.missing[0].contains("container"), "{:?}", rapl.missing);
}

/// Permissions do not bind root, who runs tests too: then a thread looks as another user.
#[test]
fn a_counter_for_root_alone_comes_with_the_commands_that_open_it() {
    let files = intel_server();
    fs::set_permissions(files.root(), fs::Permissions::from_mode(0o755)).unwrap();
    for package in ["intel-rapl:0", "intel-rapl:1"] {
        fs::set_permissions(files.root().join(package).join("energy_uj"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let look = || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        probe(files.root())
    };
    let rapl = std::thread::scope(|scope| scope.spawn(look).join().unwrap());
    assert_eq!(added(&rapl), ["package-0/dram", "package-1/dram"]);
    assert_eq!(rapl.missing.len(), 1, "{:?}", rapl.missing);
    let line = &rapl.missing[0];
    assert!(line.starts_with("package-0, package-1: permission denied") && line.contains("CVE-2020-8694"), "{line}");
    assert!(line.contains(&format!("sudo chmod a+r {}/*/energy_uj", files.root().display())), "{line}");
    assert!(line.contains("/etc/udev/rules.d/"), "{line}");
}

#[test]
fn a_falling_counter_came_round_or_was_reset() {
    assert_eq!(wrapped_difference(10, 25, Some(100)), Some(15));
    assert_eq!(wrapped_difference(90, 25, Some(100)), Some(35));
    assert_eq!(wrapped_difference(90, 25, None), None);
    assert_eq!(wrapped_difference(30, 0, Some(100)), None);
    // A range that the counter has left was no range.
    assert_eq!(wrapped_difference(150, 25, Some(100)), None);
    assert_eq!(wrapped_difference(u64::MAX, u64::MAX - 1, Some(u64::MAX)), None);
}

proptest! {
    #[test]
    fn any_energy_below_half_the_range_is_found_again(range in 2_u64..=u64::from(u32::MAX) * 1_000, start: u64, used: u64) {
        let (start, used) = (start % range, used % (range / 2 + 1));
        prop_assert_eq!(wrapped_difference(start, (start + used) % range, Some(range)), Some(used));
    }

    #[test]
    fn no_difference_exceeds_the_range_and_without_one_no_counter_falls(before: u64, after: u64, range: u64) {
        if after < before {
            prop_assert!(wrapped_difference(before, after, Some(range)).is_none_or(|used| used <= range / 2));
            prop_assert_eq!(wrapped_difference(before, after, None), None);
        } else {
            prop_assert_eq!(wrapped_difference(before, after, Some(range)), Some(after - before));
        }
    }
}

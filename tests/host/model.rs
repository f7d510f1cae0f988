use std::collections::HashMap;

use lowcarb::document::{Library, Origin};
use lowcarb::hardware::{HostDescription, HostModel, Processor, find_processor};
use lowcarb::source::Class;
use lowcarb::store::Store;
use lowcarb::units::{Bytes, Seconds};

fn find(name: &str) -> Option<Processor> {
    find_processor(&Store::embedded(), name, &Origin::whole("test")).unwrap()
}

/// Names as /proc/cpuinfo prints them, with what data sheets say of power and cores.
const KNOWN: &[(&str, f64, Option<u32>)] = &[
    ("Intel(R) Xeon(R) Platinum 8480+", 350.0, Some(56)),
    ("Intel(R) Xeon(R) Platinum 8592+", 350.0, Some(64)),
    ("Intel(R) Xeon(R) Platinum 8558", 330.0, Some(48)),
    ("Intel(R) Xeon(R) CPU Max 9480", 350.0, Some(56)),
    ("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", 205.0, Some(24)),
    // Not the Opteron 6140.
    ("Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz", 140.0, Some(18)),
    ("Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", 135.0, Some(14)),
    ("Intel(R) Xeon(R) CPU E5-2690 0 @ 2.90GHz", 135.0, Some(8)),
    ("Intel(R) Xeon(R) CPU           E5645  @ 2.40GHz", 80.0, Some(6)),
    ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", 210.0, None),
    ("AMD EPYC 7763 64-Core Processor", 280.0, Some(64)),
    ("AMD EPYC 7742 64-Core Processor", 225.0, Some(64)),
    ("AMD EPYC 9654 96-Core Processor", 360.0, Some(96)),
    ("AMD EPYC 7R13 Processor", 225.0, None),
    ("AMD Ryzen 9 5950X 16-Core Processor", 105.0, Some(16)),
    ("AMD Ryzen Threadripper PRO 5995WX 64-Cores", 280.0, Some(64)),
    ("AMD Ryzen 7 4800H with Radeon Graphics", 45.0, Some(8)),
    ("AMD FX(tm)-8350 Eight-Core Processor", 125.0, Some(8)),
    ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", 15.0, Some(4)),
    ("13th Gen Intel(R) Core(TM) i9-13900K", 125.0, None),
];

/// Virtual machines, clouds' own variants that no row is of, other makers, and text that is no name.
const UNKNOWN: &[&str] = &[
    "AMD EPYC",
    "AMD EPYC 9R14",
    "AMD EPYC 7V13 64-Core Processor",
    "Intel(R) Xeon(R) CPU @ 2.20GHz",
    "Intel(R) Xeon(R) Processor @ 2.60GHz",
    "Intel(R) Xeon(R) Platinum 8480C",
    "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    "Intel Xeon Processor (Skylake, IBRS)",
    "QEMU Virtual CPU version 2.5+",
    "Common KVM processor",
    "ARMv8 Processor rev 0 (v8l)",
    "Neoverse-N1",
    "6140",
    "",
    "@",
];

#[test]
fn names_that_linux_prints_find_their_row() {
    for (name, watts, cores) in KNOWN {
        let found = find(name).unwrap_or_else(|| panic!("{name} is not found"));
        assert_eq!((found.thermal_design_power.value(), found.cores), (*watts, *cores), "{name}: {}", found.name);
        assert_eq!(found.class, Class::Published);
        assert!(found.from.starts_with(&found.name) && found.from.contains("CodeCarbon"), "{}", found.from);
    }
}

#[test]
fn names_that_no_row_is_of_find_none() {
    for name in UNKNOWN {
        assert_eq!(find(name), None, "{name}");
    }
}

/// Every row can be found, by one row alone, and is a processor: the power of a package and of a core is plausible.
#[test]
fn the_table_of_processors_holds() {
    let text = Store::embedded().data("hardware_profiles/processors.csv", &Origin::whole("test")).unwrap().text;
    let mut names = HashMap::new();
    for row in csv::Reader::from_reader(text.as_bytes()).deserialize::<(String, f64, Option<u32>)>() {
        let (name, watts, cores) = row.unwrap();
        assert!((0.5..=500.0).contains(&watts), "{name}: {watts} W");
        assert!(cores.is_none_or(|cores| (0.8..=80.0).contains(&(watts / f64::from(cores)))), "{name}: {watts} W of {cores:?} cores");
        assert_eq!(names.insert(name.to_lowercase(), watts), None, "{name}");
    }
    assert!(names.len() > 4500, "{}", names.len());
    for (number, (name, watts)) in names.iter().enumerate().filter(|(number, _)| number % 150 == 0) {
        assert_eq!(find(name).map(|found| found.thermal_design_power.value()), Some(*watts), "{number}: {name}");
    }
}

fn model(host: &HostDescription) -> HostModel {
    HostModel::new(&Store::embedded(), host, &Origin::whole("test")).unwrap()
}

#[test]
fn a_host_without_counters_is_modelled_and_says_so() {
    let memory = Some(Bytes::parse("1024 GiB").unwrap());
    let host = HostDescription {
        processor: Some("AMD EPYC 7763 64-Core Processor"),
        packages: Some(2),
        cores: Some(128),
        is_virtual: Some(false),
        memory,
    };
    let hour = Seconds::parse("1 h").unwrap();
    let server = model(&host);
    assert_eq!((server.class, server.missing.len()), (Class::Modelled, 0));
    // 32 of 128 cores busy: a quarter of 2 x 280 W.
    assert!((server.processor_energy(hour * 32.0, hour).unwrap().kilowatt_hours() - 0.140).abs() < 1e-9);
    assert!((server.memory_energy(hour).unwrap().kilowatt_hours() - 0.381_44).abs() < 1e-9);

    // 8 threads of it in a virtual machine draw what 8 cores draw, not a package.
    let part = model(&HostDescription { packages: Some(1), cores: Some(4), is_virtual: Some(true), ..host });
    assert!((part.processor_energy(hour * 8.0, hour).unwrap().kilowatt_hours() - 0.035).abs() < 1e-9);
}

#[test]
fn what_cannot_be_modelled_is_named() {
    let second = Seconds::new(1.0);
    let nothing = model(&HostDescription::default());
    assert_eq!((nothing.processor_energy(second, second), nothing.memory_energy(second)), (None, None));
    assert_eq!(nothing.missing.len(), 2);

    let guest = HostDescription { processor: Some("AMD EPYC"), memory: Some(Bytes::new(1.0)), ..HostDescription::default() };
    let missing = model(&guest).missing;
    assert!(missing.len() == 1 && missing[0].contains("\"AMD EPYC\""), "{missing:?}");

    // The table has no cores of it: the machine's own count, but not a virtual machine's.
    let host = HostDescription { processor: Some("AMD EPYC 7R13 Processor"), cores: Some(48), packages: Some(1), ..guest };
    let bare = model(&HostDescription { is_virtual: Some(false), ..host });
    assert_eq!(bare.processor_energy(second * 48.0, second).map(|energy| energy.value().round()), Some(225.0));
    for is_virtual in [Some(true), None] {
        let shared = model(&HostDescription { is_virtual, ..host });
        assert_eq!(shared.processor_energy(second, second), None);
        assert!(shared.missing.len() == 1 && shared.missing[0].contains("AMD EPYC 7R13"), "{:?}", shared.missing);
    }
}

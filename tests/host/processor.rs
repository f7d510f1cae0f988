use std::path::Path;

use lowcarb::measure::processor::{HostFacts, host};

use crate::Files;

/// Two packages of two cores of two threads.
fn cpuinfo(model: &str, flags: &str) -> String {
    let thread = |number: u32| {
        let (package, core) = (number / 4, number / 2 % 2);
        format!("processor\t: {number}\nmodel name\t: {model}\nphysical id\t: {package}\ncore id\t\t: {core}\nflags\t\t: fpu {flags}\n\n")
    };
    (0..8).map(thread).collect()
}

#[test]
fn a_server_says_what_it_is() {
    let files = Files::new();
    files.write("proc/cpuinfo", cpuinfo("Intel(R) Xeon(R) Platinum 8480+", "sse2"));
    files.write("proc/meminfo", "MemTotal:       24684084 kB\nMemFree:        1 kB\n");
    files.write("proc/sys/kernel/hostname", "node-7\n").write("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
    files.write("usr/lib/os-release", "NAME=\"Ubuntu\"\nPRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\n");
    let expected = HostFacts {
        host_name: Some("node-7".into()),
        operating_system: Some("Ubuntu 24.04.1 LTS".into()),
        kernel_release: Some("6.8.0-45-generic".into()),
        processor: Some("Intel(R) Xeon(R) Platinum 8480+".into()),
        packages: Some(2),
        cores: Some(4),
        threads: Some(8),
        memory_bytes: Some(24_684_084 * 1024),
        is_virtual: Some(false),
    };
    assert_eq!(host(files.root()), expected);
    files.write("etc/os-release", "PRETTY_NAME=Own\n");
    assert_eq!(host(files.root()).operating_system.as_deref(), Some("Own"));
}

#[test]
fn a_virtual_machine_is_told_from_a_machine() {
    let files = Files::new();
    files.write("proc/cpuinfo", cpuinfo("AMD EPYC 7763 64-Core Processor", "sse2 hypervisor"));
    assert_eq!(host(files.root()).is_virtual, Some(true));
}

#[test]
fn what_is_not_said_stays_empty() {
    assert_eq!(host(Files::new().root()), HostFacts::default());

    // As 64-bit ARM prints it: no name, no packages.
    let files = Files::new();
    files.write("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp\n\nprocessor\t: 1\nBogoMIPS\t: 50.00\n");
    assert_eq!(host(files.root()), HostFacts { threads: Some(2), ..HostFacts::default() });

    let files = Files::new();
    files.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: A\n\nprocessor\t: 1\nmodel name\t: B\n");
    files.write("proc/meminfo", "MemTotal: much kB\n").write("proc/sys/kernel/hostname", " \n").write("etc/os-release", [0xff, 0xfe]);
    assert_eq!(host(files.root()), HostFacts { threads: Some(2), ..HostFacts::default() });
}

#[test]
fn this_machine_says_what_every_linux_does() {
    let facts = host(Path::new("/"));
    assert!(facts.host_name.is_some() && facts.kernel_release.is_some(), "{facts:?}");
    assert!(facts.threads.is_some_and(|threads| threads > 0) && facts.memory_bytes.is_some_and(|bytes| bytes > 1 << 26), "{facts:?}");
    assert!(facts.cores.is_none_or(|cores| Some(cores) <= facts.threads && Some(cores) >= facts.packages), "{facts:?}");
}

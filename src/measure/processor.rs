//! The facts of this machine that a measurement is kept with, from `/proc` and `/etc`.
//!
//! Sources: Linux, proc_cpuinfo(5), proc_meminfo(5), proc_sys_kernel(5); os-release(5).

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// What a machine says of itself. What it does not say stays empty. Inside a container or a virtual machine these are the
/// facts that it is shown: a container sees the whole machine's memory, a virtual machine its own part of a processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name in the network.
    pub host_name: Option<String>,
    /// The distribution with its version, as it calls itself.
    pub operating_system: Option<String>,
    /// Release of the kernel.
    pub kernel_release: Option<String>,
    /// The processor's name as Linux prints it; none if packages differ, and on most processors other than x86.
    pub processor: Option<String>,
    /// Processor packages (sockets).
    pub packages: Option<u32>,
    /// Physical cores of all packages.
    pub cores: Option<u32>,
    /// Hardware threads of all packages.
    pub threads: Option<u32>,
    /// Memory that Linux can use, in bytes: some percent less than the modules hold.
    pub memory_bytes: Option<u64>,
    /// A hypervisor runs it, so that cores may be fewer than the processor has.
    pub is_virtual: Option<bool>,
}

/// The facts below `root`, `/` but for tests.
#[must_use]
pub fn host(root: &Path) -> HostFacts {
    let text = |path: &str| fs::read(root.join(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let line = |path: &str| text(path).and_then(|text| filled(text.lines().next()?));
    let release = text("etc/os-release").or_else(|| text("usr/lib/os-release"));
    let mut facts = HostFacts {
        host_name: line("proc/sys/kernel/hostname"),
        operating_system: release.as_deref().and_then(pretty_name),
        kernel_release: line("proc/sys/kernel/osrelease"),
        memory_bytes: text("proc/meminfo").as_deref().and_then(memory),
        ..HostFacts::default()
    };
    if let Some(text) = text("proc/cpuinfo") {
        facts.read_processors(&text);
    }
    facts
}

impl HostFacts {
    /// One paragraph a hardware thread.
    fn read_processors(&mut self, text: &str) {
        let mut names = HashSet::new();
        let (mut packages, mut cores) = (HashSet::new(), HashSet::new());
        let mut threads = 0;
        let mut package = None;
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim())) {
            match key {
                "processor" if value.parse::<u32>().is_ok() => {
                    threads += 1;
                    package = None;
                }
                "model name" => names.extend(filled(value)),
                "physical id" => {
                    packages.insert(value);
                    package = Some(value);
                }
                "core id" => cores.extend(package.map(|package| (package, value))),
                "flags" => {
                    *self.is_virtual.get_or_insert(false) |= value.split_whitespace().any(|flag| flag == "hypervisor");
                }
                _ => {}
            }
        }
        let counted = |number: usize| u32::try_from(number).ok().filter(|number| *number > 0);
        self.processor = names.iter().next().cloned().filter(|_| names.len() == 1);
        self.packages = counted(packages.len());
        self.cores = counted(cores.len());
        self.threads = counted(threads);
    }
}

fn filled(text: &str) -> Option<String> {
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}

fn pretty_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    filled(value.trim().trim_matches(['"', '\'']))
}

/// `MemTotal:       24684084 kB`, where kB is 1,024 bytes.
fn memory(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

//! Energy counters of processors and their memory, as Linux's powercap shows them (RAPL, running average power limit).
//!
//! Sources: Linux, `Documentation/power/powercap/powercap.rst` and `Documentation/ABI/testing/sysfs-class-powercap` (a
//! zone has a `name`, `energy_uj` and `max_energy_range_uj`; a subzone is a part of its parent), and
//! `drivers/powercap/intel_rapl_common.c` (names of zones; AMD and Hygon use the same driver and have no `dram`). `dram` is
//! registered below a package, but a package's counter does not hold it; it holds `core` and `uncore` (Khan et al. 2018, "RAPL in
//! Action", ACM TOMPECS 3(2), doi 10.1145/3177754).
//!
//! - Packages and their memory are added. Parts of a package are recorded and never added to it.
//! - `psys` is recorded and never added, also where no package can be read. The driver registers it beside packages, and the
//!   kernel's documents do not say what it covers: it depends on the board, holds the packages, and may hold screens or
//!   accelerators that are measured by themselves.
//! - `enabled` is not looked at: it switches the power limit, and reads 0 where firmware locked that; counters run on.
//! - `intel-rapl-mmio` reads the same package by another way: it counts only where the first way cannot be read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where Linux shows the counters.
pub const POWERCAP: &str = "/sys/class/powercap";

/// What a counter covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A processor package, or one die of it: added.
    Package,
    /// The memory at a package: added.
    Dram,
    /// Cores or uncore, inside their package: not added.
    Part,
    /// The platform, which holds the packages: not added.
    Platform,
}

impl Role {
    /// Whether the energy of a host is the sum of such counters.
    #[must_use]
    pub fn is_added(self) -> bool {
        matches!(self, Self::Package | Self::Dram)
    }

    fn of(name: &str) -> Option<Self> {
        match name {
            "dram" => Some(Self::Dram),
            "core" | "uncore" => Some(Self::Part),
            _ if name.starts_with("package-") => Some(Self::Package),
            _ if name == "psys" || name.starts_with("psys-") => Some(Self::Platform),
            _ => None,
        }
    }
}

/// One energy counter, held open.
#[derive(Debug)]
pub struct Domain {
    /// `package-0`, `package-0-die-1`, `package-0/dram`, `psys`; the same at every start on a machine.
    pub name: String,
    /// The file with the counter.
    pub counter: PathBuf,
    /// Microjoules after which the counter begins anew; none if the kernel does not say.
    pub range_uj: Option<u64>,
    /// What it covers.
    pub role: Role,
    file: File,
}

impl Domain {
    /// Microjoules since the counter's own beginning. Costs one system call and no allocation.
    ///
    /// # Errors
    /// The processor is gone or its counter fails, or the file holds no number.
    pub fn read(&self) -> io::Result<u64> {
        let mut buffer = [0; 32];
        let length = self.file.read_at(&mut buffer, 0)?;
        let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
        text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// What this machine can say of its energy.
#[derive(Debug)]
pub struct Rapl {
    /// Counters that can be read.
    pub domains: Vec<Domain>,
    /// What cannot be read, and what to do about it; one line each.
    pub missing: Vec<String>,
}

impl Rapl {
    /// Whether a counter of this role can be read.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.domains.iter().any(|domain| domain.role == role)
    }
}

/// Finds the counters below `root`, [`POWERCAP`] but for tests.
#[must_use]
pub fn probe(root: &Path) -> Rapl {
    let folders = match zone_folders(root) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = "this kernel, virtual machine or processor shows no energy counters (RAPL)";
            return Rapl { domains: Vec::new(), missing: vec![format!("no {}: {why}", root.display())] };
        }
        Err(error) => return Rapl { domains: Vec::new(), missing: vec![format!("{}: {error}", root.display())] },
    };
    let mut search = Search { root, zones: &folders, domains: Vec::new(), failed: Vec::new(), denied: Vec::new(), repeated: Vec::new() };
    for (folder, path) in &folders {
        search.look_at(folder, path);
    }
    search.finish()
}

/// Folders of zones, parents before their parts, `intel-rapl-mmio` last. A control type such as `intel-rapl` is no zone:
/// the names of zones are its name with numbers in hexadecimal digits behind colons.
/// How deep zones lie within their control type: a package, its parts.
const DEPTH: usize = 3;

/// The zones below a folder by name. The class lists all of them side by side; inside it, each stands in the zone that it is a part of.
fn collect_zones(folder: &Path, depth: usize, zones: &mut HashMap<String, PathBuf>) -> io::Result<()> {
    let entries: Vec<_> =
        fs::read_dir(folder)?.flatten().filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect();
    for (name, path) in &entries {
        if name.contains(':') && !zones.contains_key(name) {
            zones.insert(name.clone(), path.clone());
        }
    }
    for (name, path) in entries {
        // Other links lead out of the zone, such as to its device.
        if depth < DEPTH && name.starts_with("intel-rapl") && path.is_dir() {
            collect_zones(&path, depth + 1, zones)?;
        }
    }
    Ok(())
}

fn zone_folders(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut zones = HashMap::new();
    collect_zones(root, 0, &mut zones)?;
    let mut folders: Vec<(String, PathBuf)> = zones.into_iter().collect();
    folders.sort_by_key(|(name, _)| {
        let mut parts = name.split(':');
        let control = parts.next().unwrap_or_default().to_string();
        (control.contains("mmio"), control, parts.map(|part| u64::from_str_radix(part, 16).unwrap_or(u64::MAX)).collect::<Vec<_>>())
    });
    Ok(folders)
}

struct Search<'a> {
    root: &'a Path,
    zones: &'a [(String, PathBuf)],
    domains: Vec<Domain>,
    /// Names of domains with why they cannot be read.
    failed: Vec<(String, String)>,
    denied: Vec<String>,
    /// Packages whose counter is that of another zone.
    repeated: Vec<String>,
}

impl Search<'_> {
    fn look_at(&mut self, folder: &str, path: &Path) {
        let counter = path.join("energy_uj");
        let mut fail = |name: &str, why: String| self.failed.push((name.to_string(), why));
        if !path.exists() {
            return fail(folder, format!("{} leads nowhere: container runtimes mask it; run outside the container", path.display()));
        }
        let name = match first_line(&path.join("name")) {
            Ok(name) => name,
            Err(error) => return fail(folder, format!("{}: {error}", path.join("name").display())),
        };
        // A zone of another technology may state power alone.
        if !counter.exists() && !folder.starts_with("intel-rapl") {
            return;
        }
        let Some(role) = Role::of(&name) else {
            return fail(folder, format!("{} is named \"{name}\": not a kind that is known, so not counted", path.display()));
        };
        let label = match role {
            Role::Package | Role::Platform => name,
            Role::Dram | Role::Part => format!("{}/{name}", self.parent(folder)),
        };
        if self.repeated.iter().any(|package| label.split('/').next() == Some(package)) {
            return;
        }
        let label = match self.domains.iter().find(|domain| domain.name == label) {
            // Kernels before 5.3 name every die of a package alike; another control type reads the same counter again.
            Some(other) if control_type(&other.counter) == control_type(&counter) => format!("{label} ({folder})"),
            Some(_) => return,
            None => label,
        };
        match open(&counter, &label, role) {
            Ok(domain) if self.repeats(&domain) => self.repeated.push(label),
            Ok(domain) => self.domains.push(domain),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.denied.push(label),
            Err(error) => self.failed.push((label, format!("{}: {error}", counter.display()))),
        }
    }

    /// The name of the zone around a subzone.
    fn parent(&self, folder: &str) -> String {
        let outer = folder.rsplit_once(':').map_or(folder, |(outer, _)| outer);
        let path = self.zones.iter().find(|(name, _)| name == outer).map_or_else(|| self.root.join(outer), |(_, path)| path.clone());
        first_line(&path.join("name")).unwrap_or_else(|_| outer.to_string())
    }

    /// Whether a die's counter is its package's, as another die showed it. Kernels 6.9 to 6.11 list every die of an AMD
    /// processor of Zen 4 or newer with the counter of the whole package (commit 63edbaa48a57; mended by "powercap/intel_rapl: Fix the
    /// energy-pkg event for AMD CPUs", 2024): added up, a package with 12 dies would count 12 times. Counters of their own
    /// differ by kilojoules; one that is read twice within a millisecond moves by a joule at most.
    fn repeats(&self, domain: &Domain) -> bool {
        const SAME_UJ: u64 = 5_000_000;
        let Some((package, _)) = domain.name.split_once("-die-") else { return false };
        let dies = self.domains.iter().filter(|other| other.role == Role::Package);
        let mut dies = dies.filter(|other| other.name.split_once("-die-").is_some_and(|(name, _)| name == package));
        dies.any(|other| matches!((other.read(), domain.read()), (Ok(one), Ok(two)) if one.abs_diff(two) <= SAME_UJ))
    }

    fn finish(self) -> Rapl {
        let is_read = |name: &str| self.domains.iter().any(|domain| domain.name == name);
        let denied: Vec<&str> = self.denied.iter().map(String::as_str).filter(|name| !is_read(name)).collect();
        let failed = self.failed.iter().filter(|(name, _)| !is_read(name));
        let mut missing: Vec<String> = failed.map(|(name, why)| format!("{name}: {why}")).collect();
        if !denied.is_empty() {
            missing.push(permission(&denied, self.root));
        }
        for domain in self.domains.iter().filter(|domain| domain.role.is_added() && domain.range_uj.is_none()) {
            missing.push(format!("{}: no max_energy_range_uj: where its counter ends, it looks like a reset", domain.name));
        }
        if !self.repeated.is_empty() {
            let names = self.repeated.join(", ");
            missing.push(format!("{names}: the counter is that of another die of the package (kernels 6.9 to 6.11 on AMD): counted once"));
        }
        let has = |role| self.domains.iter().any(|domain| domain.role == role);
        if !has(Role::Dram) && has(Role::Package) && !missing.iter().any(|line| line.contains("/dram")) {
            missing.push("dram: this processor has no counter of its memory, and its package does not hold it".to_string());
        }
        if self.domains.is_empty() && missing.is_empty() {
            let root = self.root.display();
            missing.push(format!("{root} holds no zone: no energy counters; on Intel and AMD try `sudo modprobe intel_rapl_msr`"));
        }
        Rapl { domains: self.domains, missing }
    }
}

fn open(counter: &Path, name: &str, role: Role) -> io::Result<Domain> {
    let range = first_line(&counter.with_file_name("max_energy_range_uj")).ok().and_then(|text| text.parse().ok());
    let range_uj = range.filter(|range| *range > 0);
    let domain = Domain { name: name.to_string(), counter: counter.to_path_buf(), range_uj, role, file: File::open(counter)? };
    match domain.read() {
        Ok(_) => Ok(domain),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(io::Error::other("not a number of microjoules")),
        Err(error) => Err(error),
    }
}

fn control_type(counter: &Path) -> Option<String> {
    let folder = counter.parent()?.file_name()?.to_str()?;
    folder.split(':').next().map(str::to_string)
}

fn first_line(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.lines().next().unwrap_or_default().trim().to_string())
}

/// Since Linux 5.10 only root reads the counters (commit 949dd0104c49, "powercap: restrict energy meter to root access").
fn permission(names: &[&str], root: &Path) -> String {
    let names = names.join(", ");
    let files = format!("{}/*/energy_uj", root.display());
    format!(
        "{names}: permission denied: Linux lets root alone read energy counters, because they can leak what others compute (CVE-2020-8694). \
         Until the next start of the machine: sudo chmod a+r {files}. For good, a line in /etc/udev/rules.d/70-powercap.rules: \
         ACTION==\"add\", SUBSYSTEM==\"powercap\", KERNEL==\"*:*\", RUN+=\"/bin/chmod a+r /sys%p/energy_uj\""
    )
}

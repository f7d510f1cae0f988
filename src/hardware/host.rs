//! Energy of processors and memory where no counter tells it: modelled from thermal design power, CPU time and memory size.
//!
//! Formula: Lannelongue, Grealey and Inouye 2021, "Green Algorithms: Quantifying the Carbon Footprint of Computation", Advanced
//! Science 8, 2100707, without its PUE: time x (cores x power of a core x usage + memory x 0.3725 W/GB), power of a core being
//! thermal design power by cores.

use crate::document::{Diagnostic, Library, Origin};
use crate::source::Class;
use crate::units::{Bytes, Joules, Seconds, Watts};

use super::processor::{Processor, find_processor};

/// Power of memory for each GB, W (Lannelongue et al. 2021), whether used or not. A GB is what a module is sold by, 2^30 bytes. One reader measured
/// far less on a desktop computer (GreenAlgorithms/green-algorithms-tool, issue 14): the figure is an order of magnitude.
pub const MEMORY_WATTS_PER_GB: f64 = 0.3725;

/// What a machine says of its processors and memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostDescription<'a> {
    /// The processor's name as Linux prints it.
    pub processor: Option<&'a str>,
    /// Processor packages; one if the machine does not say.
    pub packages: Option<u32>,
    /// Physical cores of all packages.
    pub cores: Option<u32>,
    /// A hypervisor runs it. Its cores are then its share, not the processor's.
    pub is_virtual: Option<bool>,
    /// Memory of the machine.
    pub memory: Option<Bytes>,
}

/// A model of a host's energy.
#[derive(Debug, Clone, PartialEq)]
pub struct HostModel {
    /// Class of every figure it gives.
    pub class: Class,
    /// The processor, with the class and source of its thermal design power.
    pub processor: Option<Processor>,
    /// What cannot be modelled, and why.
    pub missing: Vec<String>,
    cores_per_package: Option<f64>,
    packages: f64,
    memory: Option<Bytes>,
}

impl HostModel {
    /// The model of a machine.
    ///
    /// # Errors
    /// The table of processors cannot be read.
    pub fn new(library: &dyn Library, host: &HostDescription, origin: &Origin) -> Result<Self, Diagnostic> {
        let processor = host.processor.map_or(Ok(None), |name| find_processor(library, name, origin))?;
        let packages = f64::from(host.packages.unwrap_or(1).max(1));
        let own = host.cores.filter(|_| host.is_virtual == Some(false)).map(|cores| f64::from(cores) / packages);
        let stated = processor.as_ref().and_then(|processor| processor.cores).map(f64::from);
        let cores_per_package = stated.or(own).filter(|cores| *cores > 0.0);
        let mut missing = Vec::new();
        match (&processor, host.processor) {
            (None, None) => missing.push("energy of the processors: the machine does not say their name".to_string()),
            (None, Some(name)) => missing.push(format!(
                "energy of the processors: thermal design power of \"{name}\" is not known (hardware_profiles/processors.csv)"
            )),
            (Some(found), _) if cores_per_package.is_none() => {
                missing.push(format!(
                    "energy of the processors: how many cores a {} has is not known, and this machine shows its share",
                    found.name
                ));
            }
            (Some(_), _) => {}
        }
        if host.memory.is_none() {
            missing.push("energy of memory: the machine does not say its size".to_string());
        }
        Ok(Self { class: Class::Modelled, processor, missing, cores_per_package, packages, memory: host.memory })
    }

    /// The processors are not modelled: their counters were read.
    #[must_use]
    pub fn without_processors(self) -> Self {
        let missing = self.missing.into_iter().filter(|text| !text.starts_with("energy of the processors")).collect();
        Self { processor: None, missing, ..self }
    }

    /// Memory is not modelled: its counters were read.
    #[must_use]
    pub fn without_memory(self) -> Self {
        let missing = self.missing.into_iter().filter(|text| !text.starts_with("energy of memory")).collect();
        Self { memory: None, missing, ..self }
    }

    /// Energy of the processors for `cpu_time` of all threads within `elapsed`. None if the processor or its cores are not known.
    #[must_use]
    pub fn processor_energy(&self, cpu_time: Seconds, elapsed: Seconds) -> Option<Joules> {
        let power = self.processor.as_ref()?.thermal_design_power;
        Some(processor_energy(power, self.cores_per_package?, self.packages, cpu_time, elapsed))
    }

    /// Energy of the whole machine's memory over `elapsed`. None if its size is not known.
    #[must_use]
    pub fn memory_energy(&self, elapsed: Seconds) -> Option<Joules> {
        self.memory.map(|size| memory_energy(size, elapsed))
    }
}

/// Thermal design power of a core x the time that cores were busy. CPU time is of threads: where a core runs two of them, the sum
/// exceeds what cores can work, and a package never draws more than its thermal design power here. Below that, two threads of
/// one core count as two cores: too much by up to a factor of two.
#[must_use]
pub fn processor_energy(design_power: Watts, cores_per_package: f64, packages: f64, cpu_time: Seconds, elapsed: Seconds) -> Joules {
    let all = elapsed.value() * cores_per_package * packages;
    design_power * Seconds::new(cpu_time.value().min(all) / cores_per_package)
}

/// Power of memory by its size x time.
#[must_use]
pub fn memory_energy(size: Bytes, elapsed: Seconds) -> Joules {
    Watts::new(MEMORY_WATTS_PER_GB * size.value() / f64::from(1_u32 << 30)) * elapsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_by_hand() {
        // 12 cores of a Xeon E5-2683 v4 (120 W, 16 cores) and 64 GB for 12 h: 12 x (12 x 7.5 + 64 x 0.3725) Wh.
        let time = Seconds::parse("12 h").unwrap();
        let processors = processor_energy(Watts::new(120.0), 16.0, 1.0, time * 12.0, time);
        let memory = memory_energy(Bytes::parse("64 GiB").unwrap(), time);
        assert!((processors.kilowatt_hours() - 1.08).abs() < 1e-9);
        assert!((memory.kilowatt_hours() - 0.286_08).abs() < 1e-9);
    }

    #[test]
    fn threads_beyond_cores_do_not_exceed_thermal_design_power() {
        let time = Seconds::new(10.0);
        let energy = |threads: f64| processor_energy(Watts::new(225.0), 64.0, 2.0, time * threads, time).value();
        assert!((energy(64.0) - 2250.0).abs() < 1e-9);
        assert!((energy(128.0) - 4500.0).abs() < 1e-9 && (energy(256.0) - 4500.0).abs() < 1e-9);
        assert_eq!(energy(0.0), 0.0);
        assert_eq!(processor_energy(Watts::new(225.0), 64.0, 2.0, Seconds::new(1.0), Seconds::new(0.0)).value(), 0.0);
    }
}

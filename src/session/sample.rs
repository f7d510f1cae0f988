//! One reading of one meter: a row of `samples.csv`.

use std::fmt::Write as _;

/// The first line of `samples.csv`.
pub const HEADER: &str = "t_s,meter,counter,counter_t_s,sampled_j,sampled_at_counter_j,power_w,average_power_w,memory_bytes,\
utilization_percent,memory_utilization_percent,sm_mhz,memory_mhz,temperature_c,throttle_reasons,limit_w,processes,cpu_s,\
pcie_sent_bytes_per_s,pcie_received_bytes_per_s,nvlink_sent_bytes_per_s,nvlink_received_bytes_per_s,sm_active_percent,tensor_active_percent,dram_active_percent";

/// No session is longer, s: thirty years.
pub const LONGEST: f64 = 1e9;
/// How many values a row has.
pub const COLUMNS: usize = 7 + SLOW_COLUMNS;
/// How many of them change slowly.
const SLOW_COLUMNS: usize = 18;

/// A reading. What a meter cannot tell, or was not asked at this moment, is absent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Seconds of the session.
    pub time: f64,
    /// The meter, by its place in the manifest.
    pub meter: usize,
    /// The energy counter as it was read last, in its own unit.
    pub counter: Option<u64>,
    /// When the counter was first seen at this value; absent until it has been seen to move.
    pub counter_time: Option<f64>,
    /// Integral of the power readings since the session started, J: of all readings, also those between rows.
    pub sampled: Option<f64>,
    /// The same integral at `counter_time`, J.
    pub sampled_at_counter: Option<f64>,
    /// The last power reading, W.
    pub power: Option<f64>,
    /// Columns that change slowly and are read about once a second, in the order of the header.
    pub slow: Slow,
}

/// The slow columns, in the order of the header: each stands here once.
macro_rules! slow_columns {
    ($($(#[$documentation:meta])+ $name:ident,)+) => {
        /// Readings that are taken about once a second.
        #[derive(Debug, Clone, Copy, PartialEq, Default)]
        pub struct Slow {
            $($(#[$documentation])+ pub $name: Option<f64>,)+
        }

        impl Slow {
            fn values(&self) -> [Option<f64>; SLOW_COLUMNS] {
                [$(self.$name,)+]
            }

            fn of([$($name,)+]: [Option<f64>; SLOW_COLUMNS]) -> Self {
                Self { $($name,)+ }
            }
        }
    };
}

slow_columns! {
    /// Mean power of the driver's own window (`NVML_FI_DEV_POWER_AVERAGE`), W.
    average_power,
    /// Memory in use, bytes.
    memory,
    /// Share of time with a kernel running, %.
    utilization,
    /// Share of time with memory traffic, %.
    memory_utilization,
    /// Clock of the multiprocessors, MHz.
    sm_clock,
    /// Clock of the memory, MHz.
    memory_clock,
    /// Temperature of the chip, °C.
    temperature,
    /// Why clocks are held down: the bits of `nvmlClocksThrottleReasons`.
    throttle,
    /// Enforced power limit, W.
    limit,
    /// Processes with a context on the device; of the measured program for a process meter.
    processes,
    /// Processor time, s.
    cpu,
    /// Sent over PCIe, bytes/s (GPU performance monitoring, Hopper and newer; so are all that follow).
    pcie_sent,
    /// The same, received.
    pcie_received,
    /// Sent over all NVLinks, bytes/s.
    nvlink_sent,
    /// The same, received.
    nvlink_received,
    /// Share of time that a multiprocessor is busy, %.
    sm_active,
    /// Share of time that tensor cores are busy, %.
    tensor_active,
    /// Share of the memory's bandwidth in use, %.
    dram_active,
}

impl Sample {
    /// Appends the row, with its line break.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = String::with_capacity(160);
        // Writing to a string cannot fail.
        let _ = write!(line, "{:.6},{}", self.time, self.meter);
        let mut whole = |value: Option<u64>| match value {
            Some(value) => write!(line, ",{value}"),
            None => write!(line, ","),
        };
        let _ = whole(self.counter);
        let mut number = |value: Option<f64>, digits: usize| match value {
            Some(value) => write!(line, ",{value:.digits$}"),
            None => write!(line, ","),
        };
        let _ = number(self.counter_time, 6);
        let _ = number(self.sampled, 3);
        let _ = number(self.sampled_at_counter, 3);
        let _ = number(self.power, 3);
        for value in self.slow.values() {
            // The shortest text that reads back as the same number.
            let _ = match value {
                Some(value) => write!(line, ",{value}"),
                None => write!(line, ","),
            };
        }
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    }

    /// Reads a row; what is wrong with it where it is none.
    ///
    /// # Errors
    /// Another number of values, or one that is no finite number.
    pub fn read(line: &str) -> Result<Self, String> {
        let mut values = line.split(',');
        let mut next = |name: &str| values.next().ok_or_else(|| format!("no {name}: {COLUMNS} values are a row"));
        fn number(text: &str) -> Result<Option<f64>, String> {
            match text {
                "" => Ok(None),
                text => match text.parse::<f64>() {
                    // Beyond every unit of a row: the bits of throttle reasons are the largest.
                    Ok(value) if value.abs() <= 2e19 => Ok(Some(value)),
                    _ => Err(format!("\"{text}\" is no number that a meter gives")),
                },
            }
        }
        let moment = |time: Option<f64>| {
            time.filter(|time| !(0.0..=LONGEST).contains(time)).map_or(Ok(time), |time| Err(format!("{time} s is no moment of a session")))
        };
        let time = moment(number(next("time")?)?)?.ok_or("no time")?;
        let meter = next("meter")?;
        let meter = meter.parse::<usize>().map_err(|_| format!("\"{meter}\" is no meter"))?;
        let counter = next("counter")?;
        let counter = match counter {
            "" => None,
            text => Some(text.parse::<u64>().map_err(|_| format!("\"{text}\" is no counter"))?),
        };
        let counter_time = moment(number(next("counter_t_s")?)?)?;
        let sampled = number(next("sampled_j")?)?;
        let sampled_at_counter = number(next("sampled_at_counter_j")?)?;
        let power = number(next("power_w")?)?;
        let mut slow = [None; SLOW_COLUMNS];
        for value in &mut slow {
            *value = number(next("value")?)?;
        }
        match values.next() {
            Some(_) => Err(format!("more than {COLUMNS} values")),
            None => Ok(Self { time, meter, counter, counter_time, sampled, sampled_at_counter, power, slow: Slow::of(slow) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_reads_back_as_it_was(meter in 0usize..99, counter in proptest::option::of(any::<u64>()), watts in proptest::option::of(0u32..1_000_000), memory in proptest::option::of(0u64..1 << 40)) {
            let sample = Sample {
                time: 12.25,
                meter,
                counter,
                power: watts.map(|watts| f64::from(watts) / 1000.0),
                slow: Slow { memory: memory.map(|bytes| bytes as f64), dram_active: Some(0.5), ..Slow::default() },
                ..Sample::default()
            };
            let mut text = Vec::new();
            sample.write(&mut text);
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(Sample::read(text.trim_end()), Ok(sample));
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".*") {
            let _ = Sample::read(&text);
        }
    }

    #[test]
    fn the_header_names_every_value() {
        assert_eq!(HEADER.split(',').count(), COLUMNS);
        let mut text = Vec::new();
        Sample::default().write(&mut text);
        assert_eq!(String::from_utf8(text).unwrap().trim_end().split(',').count(), COLUMNS);
    }

    #[test]
    fn a_torn_row_is_named() {
        assert_eq!(Sample::read("1.0,0,5").unwrap_err(), "no counter_t_s: 25 values are a row");
        assert!(Sample::read("nan,0").unwrap_err().contains("no number"));
    }
}

//! Newtypes for every physical quantity, the products that make sense between them, and their text form.
//!
//! Every quantity is a finite, non-negative `f64` in its base unit. Values are made by parsing (`"700 W"`), which
//! checks this, or by arithmetic on values that already hold it.

pub mod calendar;
mod format;
mod quantity;

pub use format::{grouped, significant};
pub use quantity::{Quantity, QuantityError};

use quantity::quantity;

quantity!(
    /// A span of time; base unit second.
    Seconds, "time", "s",
    units: ["ns" => 1e-9, "us" => 1e-6, "µs" => 1e-6, "ms" => 1e-3, "s" => 1.0, "min" => 60.0, "h" => 3600.0,
            "d" => 86_400.0, "yr" => 31_557_600.0],
    display: ["µs", "ms", "s", "h"]
);
quantity!(
    /// Power; base unit watt.
    Watts, "power", "W",
    units: ["mW" => 1e-3, "W" => 1.0, "kW" => 1e3, "MW" => 1e6],
    display: ["W", "kW", "MW"]
);
quantity!(
    /// Energy; base unit joule.
    Joules, "energy", "J",
    units: ["mJ" => 1e-3, "J" => 1.0, "kJ" => 1e3, "MJ" => 1e6, "Wh" => 3.6e3, "kWh" => 3.6e6, "MWh" => 3.6e9,
            "GWh" => 3.6e12],
    display: ["J", "Wh", "kWh"]
);
quantity!(
    /// A count of floating-point operations; a multiply-add counts as 2.
    Flops, "floating-point operations", "FLOP",
    units: ["FLOP" => 1.0, "MFLOP" => 1e6, "GFLOP" => 1e9, "TFLOP" => 1e12, "PFLOP" => 1e15, "EFLOP" => 1e18],
    display: ["FLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"]
);
quantity!(
    /// A rate of computation; base unit FLOP/s. Integer rates (`TOP/s`) share it.
    FlopsPerSecond, "rate of computation", "FLOP/s",
    units: ["FLOP/s" => 1.0, "GFLOP/s" => 1e9, "TFLOP/s" => 1e12, "PFLOP/s" => 1e15, "GOP/s" => 1e9,
            "TOP/s" => 1e12],
    display: ["GFLOP/s", "TFLOP/s"]
);
quantity!(
    /// An amount of memory or traffic; base unit byte, decimal prefixes unless `GiB` is written.
    Bytes, "amount of data", "B",
    units: ["B" => 1.0, "kB" => 1e3, "MB" => 1e6, "GB" => 1e9, "TB" => 1e12, "KiB" => 1024.0,
            "MiB" => 1_048_576.0, "GiB" => 1_073_741_824.0, "TiB" => 1_099_511_627_776.0],
    display: ["B", "kB", "MB", "GB", "TB"]
);
quantity!(
    /// A rate of data, one way; base unit B/s. `Gb/s` is an eighth of `GB/s`.
    BytesPerSecond, "data rate", "B/s",
    units: ["B/s" => 1.0, "MB/s" => 1e6, "GB/s" => 1e9, "TB/s" => 1e12, "Gb/s" => 1.25e8, "Tb/s" => 1.25e11],
    display: ["MB/s", "GB/s"]
);
quantity!(
    /// Mass of greenhouse gases in CO2 equivalents; base unit gram.
    GramsCo2e, "mass of CO2e", "g",
    units: ["g" => 1.0, "kg" => 1e3, "t" => 1e6, "lb" => 453.592_37],
    display: ["g", "kg"]
);
quantity!(
    /// Emission intensity of electricity; base unit g/kWh.
    GramsCo2ePerKwh, "carbon intensity", "g/kWh",
    units: ["g/kWh" => 1.0, "kg/kWh" => 1e3, "kg/MWh" => 1.0, "t/MWh" => 1e3, "lb/kWh" => 453.592_37,
            "lb/MWh" => 0.453_592_37],
    display: ["g/kWh"]
);
quantity!(
    /// Volume of water; base unit litre.
    Litres, "volume", "L",
    units: ["L" => 1.0, "m3" => 1e3],
    display: ["L"]
);
quantity!(
    /// Water per energy; base unit L/kWh.
    LitresPerKwh, "water intensity", "L/kWh",
    units: ["L/kWh" => 1.0, "m3/MWh" => 1.0],
    display: ["L/kWh"]
);
quantity!(
    /// Money in US dollars, the one currency so far.
    Dollars, "amount of money", "USD",
    units: ["USD" => 1.0],
    display: ["USD"]
);
quantity!(
    /// A price for the use of one accelerator; base unit USD/h.
    DollarsPerHour, "price per hour", "USD/h",
    units: ["USD/h" => 1.0],
    display: ["USD/h"]
);
quantity!(
    /// A tariff for electricity; base unit USD/kWh.
    DollarsPerKwh, "electricity tariff", "USD/kWh",
    units: ["USD/kWh" => 1.0, "USD/MWh" => 1e-3],
    display: ["USD/kWh"]
);
quantity!(
    /// A price of emissions; base unit USD/t.
    DollarsPerTonne, "carbon price", "USD/t",
    units: ["USD/t" => 1.0],
    display: ["USD/t"]
);
quantity!(
    /// A number without a unit: a share, a count, a factor.
    Ratio, "ratio", "",
    units: ["" => 1.0, "%" => 0.01],
    display: [""]
);

impl serde::Serialize for Ratio {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.value())
    }
}

/// Implements `left * right = product` and what follows from it by commutation and division.
macro_rules! product {
    ($left:ident * $right:ident = $product:ident, factor $factor:expr) => {
        impl std::ops::Mul<$right> for $left {
            type Output = $product;
            fn mul(self, right: $right) -> $product {
                $product::new(self.value() * right.value() * $factor)
            }
        }
        impl std::ops::Mul<$left> for $right {
            type Output = $product;
            fn mul(self, left: $left) -> $product {
                left * self
            }
        }
    };
}

const JOULES_PER_KWH: f64 = 3.6e6;

product!(Watts * Seconds = Joules, factor 1.0);
product!(FlopsPerSecond * Seconds = Flops, factor 1.0);
product!(BytesPerSecond * Seconds = Bytes, factor 1.0);
product!(Joules * GramsCo2ePerKwh = GramsCo2e, factor 1.0 / JOULES_PER_KWH);
product!(Joules * LitresPerKwh = Litres, factor 1.0 / JOULES_PER_KWH);
product!(Joules * DollarsPerKwh = Dollars, factor 1.0 / JOULES_PER_KWH);
product!(Seconds * DollarsPerHour = Dollars, factor 1.0 / 3600.0);
product!(GramsCo2e * DollarsPerTonne = Dollars, factor 1e-6);

impl std::ops::Div<Seconds> for Joules {
    type Output = Watts;
    fn div(self, time: Seconds) -> Watts {
        Watts::new(self.value() / time.value())
    }
}

impl Joules {
    /// The same energy in kWh.
    #[must_use]
    pub fn kilowatt_hours(self) -> f64 {
        self.value() / JOULES_PER_KWH
    }
}

impl Seconds {
    /// The same time in hours.
    #[must_use]
    pub fn hours(self) -> f64 {
        self.value() / 3600.0
    }
}

impl GramsCo2e {
    /// The same mass in kilograms.
    #[must_use]
    pub fn kilograms(self) -> f64 {
        self.value() / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_hold_their_units() {
        let energy = Watts::new(1000.0) * Seconds::new(3600.0);
        assert_eq!(energy.kilowatt_hours(), 1.0);
        assert_eq!((energy * GramsCo2ePerKwh::new(432.7)).value(), 432.7);
        assert_eq!((Seconds::new(7200.0) * DollarsPerHour::new(2.48)).value(), 4.96);
        assert_eq!((GramsCo2e::new(2e6) * DollarsPerTonne::new(190.0)).value(), 380.0);
        assert_eq!((energy / Seconds::new(3600.0)).value(), 1000.0);
    }

    #[test]
    fn text_is_read_with_its_unit() {
        assert_eq!(Watts::parse("700 W").unwrap().value(), 700.0);
        assert_eq!(Watts::parse("0.7kW").unwrap().value(), 700.0);
        assert_eq!(BytesPerSecond::parse("400 Gb/s").unwrap().value(), 5e10);
        assert_eq!(Seconds::parse("79.2 h").unwrap().value(), 285_120.0);
        assert_eq!(Ratio::parse("30 %").unwrap().value(), 0.3);
        assert!((GramsCo2ePerKwh::parse("0.954 lb/kWh").unwrap().value() - 432.727).abs() < 1e-3);
    }

    #[test]
    fn bad_text_says_what_is_allowed() {
        let text = |r: Result<Watts, QuantityError>| r.unwrap_err().to_string();
        assert_eq!(text(Watts::parse("700 V")), "found \"700 V\", allowed: a power in mW, W, kW, MW, such as \"1 W\"");
        assert_eq!(text(Watts::parse("-3 W")), "found \"-3 W\", allowed: a finite power of zero or more");
        assert_eq!(text(Watts::parse("nan W")), "found \"nan W\", allowed: a finite power of zero or more");
        assert_eq!(text(Watts::parse("fast")), "found \"fast\", allowed: a power in mW, W, kW, MW, such as \"1 W\"");
    }

    #[test]
    fn values_print_with_a_fitting_prefix() {
        assert_eq!(Watts::new(12_041.51).to_string(), "12.04 kW");
        assert_eq!(Bytes::new(32e9).to_string(), "32 GB");
        assert_eq!(Seconds::new(285_120.0).to_string(), "79.2 h");
        assert_eq!(Joules::new(1506.8 * 3.6e6).to_string(), "1,507 kWh");
        assert_eq!(Flops::new(0.0).to_string(), "0 FLOP");
    }
}

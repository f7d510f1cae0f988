//! From energy and hours to what a site meters, pays and emits: small pure functions.

use crate::units::{
    Dollars, DollarsPerHour, DollarsPerKwh, DollarsPerTonne, GramsCo2e, GramsCo2ePerKwh, Joules, Litres, LitresPerKwh, Seconds,
};

/// Energy at the facility's meter: IT energy times PUE (ISO/IEC 30134-2).
#[must_use]
pub fn facility_energy(it_energy: Joules, pue: f64) -> Joules {
    it_energy * pue
}

/// Emissions of the electricity: facility energy times the grid's intensity (GHG Protocol Scope 2 Guidance 2015,
/// chapter 6). The location-based and the market-based figure differ in the intensity alone.
#[must_use]
pub fn operational(facility_energy: Joules, intensity: GramsCo2ePerKwh) -> GramsCo2e {
    facility_energy * intensity
}

/// The share of what making the hardware emitted that falls on this use: time in use over useful life
/// (SCI specification, ISO/IEC 21031:2024, M = TE x TS), useful life being years in service times the share of them
/// that the hardware works.
#[must_use]
pub fn embodied(footprint: GramsCo2e, use_time: Seconds, lifetime: Seconds, utilisation: f64) -> GramsCo2e {
    footprint * (use_time / (lifetime * utilisation))
}

/// Water evaporated on site: per kWh of IT energy, as WUE is defined (ISO/IEC 30134-9).
#[must_use]
pub fn water_on_site(it_energy: Joules, wue: LitresPerKwh) -> Litres {
    it_energy * wue
}

/// Water consumed where the electricity is made: per kWh bought (Reig et al. 2020, World Resources Institute).
#[must_use]
pub fn water_off_site(facility_energy: Joules, intensity: LitresPerKwh) -> Litres {
    facility_energy * intensity
}

/// Rent of `accelerators` for `time`.
#[must_use]
pub fn rent(time: Seconds, accelerators: f64, price: DollarsPerHour) -> Dollars {
    time * price * accelerators
}

/// Cost of own hardware: purchase spread over its useful life, and electricity.
#[must_use]
pub fn ownership(
    purchase: Dollars,
    use_time: Seconds,
    lifetime: Seconds,
    utilisation: f64,
    facility_energy: Joules,
    tariff: DollarsPerKwh,
) -> Dollars {
    purchase * (use_time / (lifetime * utilisation)) + facility_energy * tariff
}

/// What the emissions would cost at a price per tonne.
#[must_use]
pub fn carbon_cost(emissions: GramsCo2e, price: DollarsPerTonne) -> Dollars {
    emissions * price
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Watts;

    #[test]
    fn strubell_2019_bert_base_by_hand() {
        let hours = Seconds::parse("79.2 h").unwrap();
        let energy = facility_energy(Watts::new(12_041.51) * hours, 1.58);
        assert!((energy.kilowatt_hours() - 1506.83).abs() < 0.01);
        let pounds = operational(energy, GramsCo2ePerKwh::parse("0.954 lb/kWh").unwrap()).value() / 453.592_37;
        assert!((pounds - 1437.51).abs() < 0.01, "{pounds}");
        assert!((rent(hours, 64.0, DollarsPerHour::new(2.48)).value() - 12_570.6).abs() < 0.1);
    }

    #[test]
    fn use_takes_its_share_of_a_life() {
        let year = Seconds::parse("1 yr").unwrap();
        let share = embodied(GramsCo2e::new(150_000.0), year * 0.5, year * 5.0, 0.5);
        assert!((share.value() - 30_000.0).abs() < 1e-6);
        let cost = ownership(Dollars::new(1000.0), year * 0.5, year * 5.0, 0.5, Joules::new(3.6e6 * 10.0), DollarsPerKwh::new(0.2));
        assert!((cost.value() - 202.0).abs() < 1e-9);
    }
}

//! Dates of the wall clock.

/// A moment in UTC: year, month, day, hour, minute, second.
pub type Moment = (u64, u64, u64, u64, u64, u64);

/// The moment of a number of seconds since 1970, UTC (Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
#[must_use]
pub fn moment(seconds: u64) -> Moment {
    let shifted = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// The day as year-month-day.
#[must_use]
pub fn day(seconds: u64) -> String {
    let (year, month, day, ..) = moment(seconds);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The moment as ISO 8601 writes it.
#[must_use]
pub fn timestamp(seconds: u64) -> String {
    let (_, _, _, hour, minute, second) = moment(seconds);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", day(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(day(1_709_251_200), "2024-03-01");
        assert_eq!(timestamp(1_764_074_487), "2025-11-25T12:41:27Z");
    }
}

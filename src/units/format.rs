//! Numbers as people read them.

/// A number with four significant digits, thousands separated by commas, and no trailing zeros after a point.
///
/// ```
/// use lowcarb::units::significant;
/// assert_eq!(significant(1506.83), "1,507");
/// assert_eq!(significant(0.012345), "0.01235");
/// assert_eq!(significant(79.2), "79.2");
/// ```
#[must_use]
pub fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = (3 - magnitude).clamp(0, 12) as usize;
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    separate(text)
}

/// A whole number with thousands separated by commas.
///
/// ```
/// assert_eq!(lowcarb::units::grouped(109482240.0), "109,482,240");
/// ```
#[must_use]
pub fn grouped(value: f64) -> String {
    separate(&format!("{value:.0}"))
}

fn separate(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_and_separators() {
        assert_eq!(significant(12_571.4), "12,571");
        assert_eq!(significant(-0.5), "-0.5");
        assert_eq!(significant(1e-9), "0.000000001");
        assert_eq!(significant(999_999.7), "1,000,000");
        assert_eq!(grouped(0.0), "0");
    }
}

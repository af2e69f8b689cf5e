//! Numbers in the spellings of other programs: `15`, `15.0`, `1.5e1` and each of them as a string.

/// Returns the number in a JSON text, which may be a number or a string that holds one; `None` if it is neither.
fn number_text(json: &str) -> Option<String> {
    match json.starts_with('"') {
        true => serde_json::from_str::<String>(json).ok(),
        false => Some(json.to_owned()),
    }
}

/// Parses a finite number, or a string that holds one as JSON writes it.
pub(super) fn finite(json: &str) -> Option<f64> {
    // Parsed as JSON, so `inf`, `+1` and ` 1` are none, and no number beyond the range becomes infinite.
    let text = number_text(json)?;
    let starts_as_number = text.starts_with(|ch: char| ch == '-' || ch.is_ascii_digit());
    let ends_as_number = text.ends_with(|ch: char| ch.is_ascii_digit());
    (starts_as_number && ends_as_number).then(|| serde_json::from_str(&text).ok())?
}

/// Parses a whole number of at least 0 without rounding, however it is spelled.
pub(super) fn whole(json: &str) -> Option<u64> {
    let text = number_text(json)?;
    finite(&text).filter(|_| !text.starts_with('-'))?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse().ok()?;
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // The number is `significant * 10^power`.
    let n_zeros = (digits.len() - significant.len()) as i64;
    let power = exponent.checked_sub(fraction.len() as i64)?.checked_add(n_zeros)?;
    let factor = 10_u64.checked_pow(u32::try_from(power).ok()?)?;
    significant.trim_start_matches('0').parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_exact_in_every_spelling() {
        for text in ["15", "15.0", "1.5e1", "1.5E+1", "150e-1", "15.000", "0.15e2", "\"15\"", "\"15.0\"", "\"1.5e1\""] {
            assert_eq!(whole(text), Some(15), "{text}");
        }
        let max = u64::MAX.to_string();
        assert_eq!(whole(&max), Some(u64::MAX));
        assert_eq!(whole(&format!("\"{max}.0\"")), Some(u64::MAX));
        assert_eq!(whole("9007199254740993.0"), Some(9_007_199_254_740_993));
        assert_eq!(
            (whole("0"), whole("0.0"), whole("0e9"), whole("100"), whole("1e3")),
            (Some(0), Some(0), Some(0), Some(100), Some(1000))
        );
        let none = [
            "15.5",
            "1.5",
            "-1",
            "\"-0\"",
            "18446744073709551616",
            "1e20",
            "1e400",
            "1e99999999999999999999",
            "1e-1",
            "NaN",
            "\"\"",
            "\" 15\"",
            "\"15 \"",
            "\"+15\"",
            "\"015\"",
            "\"0x0f\"",
            "\"1,5\"",
            "\"1_0\"",
            "true",
            "null",
            "[15]",
            "{}",
            r#""\"15\"""#,
        ];
        for text in none {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_in_a_string_is_that_number() {
        assert_eq!(
            (finite("45.75"), finite("\"45.75\""), finite("\"-1e-3\"")),
            (Some(45.75), Some(45.75), Some(-0.001))
        );
        for text in [
            "\"\"",
            "\"NaN\"",
            "\"inf\"",
            "\"1e400\"",
            "1e400",
            "\"45,75\"",
            "\"45.\"",
            "\" 1\"",
            "\"1\\n\"",
            "true",
            "\"true\"",
            "[1]",
            "null",
            "NaN",
        ] {
            assert_eq!(finite(text), None, "{text}");
        }
    }
}

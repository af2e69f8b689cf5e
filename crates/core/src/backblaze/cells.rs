//! Cells of a table that may have passed through a spreadsheet, pandas, R or a database. A cell is read where its
//! meaning is certain, and refused with the reason where it is not.

use time::{Date, Month};

use crate::timestamp::Timestamp;

/// Texts by which programs write a missing value.
const MISSING: [&str; 12] = ["", "na", "n/a", "#n/a", "<na>", "nan", "null", "(null)", "\\n", "none", "nil", "-"];

/// Returns the trimmed text of a cell; `None` if it is a missing value.
pub(super) fn present(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_missing = MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(text));
    (!is_missing).then_some(text)
}

/// Parses a flag.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" => Some(true),
        "false" | "f" => Some(false),
        number => match number.parse::<f64>() {
            Ok(0.0) => Some(false),
            Ok(1.0) => Some(true),
            _ => None,
        },
    }
}

/// Parses a number. A comma groups thousands in a table that commas delimit: there a decimal comma would be a delimiter.
pub(super) fn number(text: &str, delimiter: u8) -> Result<f64, &'static str> {
    if text.contains(',') {
        let groups = text.strip_prefix('-').unwrap_or(text).split('.').next().unwrap_or_default();
        return match (has_groups(groups), groups.matches(',').count()) {
            (true, 1) if delimiter != b',' => Err("a comma may group thousands or begin decimals: write it without"),
            (true, _) => plain(&text.replace(',', "")),
            (false, _) => Err("expected a number; a comma here is not between thousands"),
        };
    }
    if delimiter == b';' && has_one_group_after_a_point(text) {
        return Err("a point may group thousands or begin decimals: write it without");
    }
    if is_rounded(text) {
        return Err("a spreadsheet rounded it and its digits are lost: save the column as a number without exponent");
    }
    plain(text)
}

fn plain(text: &str) -> Result<f64, &'static str> {
    text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or("expected a finite number")
}

/// Returns `true` for groups of three digits after a first one of one to three.
fn has_groups(text: &str) -> bool {
    let mut groups = text.split(',');
    let is_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len()) && is_digits(first) && groups.all(|group| group.len() == 3 && is_digits(group))
}

/// Returns `true` for `30.500`. Programs whose lists semicolons delimit group thousands by points.
fn has_one_group_after_a_point(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    text.matches('.').count() == 1 && !text.starts_with("0.") && has_groups(&text.replace('.', ","))
}

/// Returns `true` for the form of a spreadsheet, such as `2.35E+08`, with fewer digits than the number has. Others write
/// `2.35e8` or `2.35E8`, and write all digits.
pub(super) fn is_rounded(text: &str) -> bool {
    let Some((digits, exponent)) = text.split_once("E+") else { return false };
    let n_decimals = digits.split_once(['.', ',']).map_or(0, |(_, decimals)| decimals.len());
    exponent.parse::<usize>().is_ok_and(|exponent| exponent > n_decimals)
}

/// Returns the reason for which a serial number may have lost digits.
pub(super) fn damaged_serial(text: &str) -> Option<&'static str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_rounded(text) && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'E' | b'+')) {
        return Some("a spreadsheet rounded it and its digits are lost: import the column as text");
    }
    if text.strip_suffix(".0").is_some_and(is_number) {
        return Some("it was read as a number and may have lost leading zeros: import the column as text");
    }
    None
}

/// Returns the text of an identifier that was a whole number before it was read as a float.
pub(super) fn without_fraction(text: &str) -> &str {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    if !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit()) { whole } else { text }
}

const EXPECTED: &str = "expected a day such as 2013-04-10, or an RFC 3339 time, in the years 1677 to 2262";

/// Parses a day (its start in UTC) or an instant.
pub(super) fn time(text: &str) -> Result<Timestamp, &'static str> {
    let (day, rest) = match text.find(['T', ' ']) {
        Some(index) if index >= 8 => (&text[..index], text[index + 1..].trim()),
        _ => (text, ""),
    };
    let date = date(day)?;
    let (clock, zone) = match rest.find(['Z', 'z', '+', '-', 'U']) {
        Some(index) => (rest[..index].trim_end(), &rest[index..]),
        None => (rest, ""),
    };
    let is_midnight = !clock.bytes().any(|byte| !matches!(byte, b'0' | b':' | b'.'));
    let zone = match (zone, is_midnight) {
        ("" | "Z" | "z" | "UTC" | "+00" | "+0000", true) => return at(date, "00:00:00", "Z").ok_or(EXPECTED),
        ("", false) => return Err("the time of day has no zone: write Z for UTC, or a day"),
        ("z" | "UTC" | "+00" | "+0000", false) => "Z",
        (zone, _) => zone,
    };
    at(date, clock, zone).ok_or(EXPECTED)
}

fn at(date: Date, clock: &str, zone: &str) -> Option<Timestamp> {
    let (year, month, day) = date.to_calendar_date();
    Timestamp::parse(&format!("{year:04}-{:02}-{day:02}T{clock}{zone}", u8::from(month))).ok()
}

/// Parses `2023-01-13`, `20230113`, and forms with the year last in which day and month cannot be mistaken.
fn date(text: &str) -> Result<Date, &'static str> {
    let parts: Vec<&str> = text.split(['-', '/']).collect();
    match parts[..] {
        [digits] if digits.len() == 8 && digits.is_ascii() => {
            match (whole(&digits[..4], 4..=4), whole(&digits[4..6], 2..=2), whole(&digits[6..], 2..=2)) {
                (Some(year), Some(month), Some(day)) => valid(year, month, day),
                _ => Err(EXPECTED),
            }
        }
        [digits] if digits.parse::<f64>().is_ok_and(|number| (10_000.0..100_000.0).contains(&number)) => {
            Err("it is a spreadsheet's number of a day, which counts from 1900 or 1904: format the column as a date")
        }
        [year, month, day] if whole(year, 4..=4).is_some() => {
            match (whole(year, 4..=4), whole(month, 1..=2).or_else(|| month_number(month)), whole(day, 1..=2)) {
                (Some(year), Some(month), Some(day)) => valid(year, month, day),
                _ => Err(EXPECTED),
            }
        }
        [first, second, year] => {
            let Some(year) = whole(year, 4..=4) else {
                return Err("the year has two digits, or is missing: write it as 2013-04-10");
            };
            match (whole(first, 1..=2), whole(second, 1..=2), month_number(second)) {
                (Some(day), None, Some(month)) => valid(year, month, day),
                (Some(one), Some(other), _) if one == other => valid(year, one, other),
                (Some(month), Some(day @ 13..), _) => valid(year, month, day),
                (Some(day @ 13..), Some(month), _) => valid(year, month, day),
                (Some(_), Some(_), _) => Err("the day and the month cannot be told apart: write it as 2013-04-10"),
                _ => Err(EXPECTED),
            }
        }
        _ => Err(EXPECTED),
    }
}

/// Parses digits, if their number is in a range.
fn whole(text: &str, n_digits: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let is_whole = n_digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| text.parse().ok()).flatten()
}

fn valid(year: u16, month: u16, day: u16) -> Result<Date, &'static str> {
    let month = u8::try_from(month).ok().and_then(|month| Month::try_from(month).ok()).ok_or(EXPECTED)?;
    let day = u8::try_from(day).map_err(|_| EXPECTED)?;
    Date::from_calendar_date(i32::from(year), month, day).map_err(|_| EXPECTED)
}

/// Returns the number of a month by its English name or the first three letters of it.
fn month_number(text: &str) -> Option<u16> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let text = text.to_ascii_lowercase();
    let index = NAMES.iter().position(|name| text == *name || text == name[..3])?;
    Some(index as u16 + 1)
}

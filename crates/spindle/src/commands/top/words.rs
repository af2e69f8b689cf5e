//! Numbers, times and names as people read them; the same words as those of the live page (`web/src/words.ts`). Pure:
//! the present is an argument.

use std::collections::BTreeMap;

use spindle_core::Timestamp;
use time::{Date, Month, OffsetDateTime};

use crate::output;

/// Space that no line breaks at: between thousands, and between a number and its unit.
const GAP: char = '\u{a0}';
const SMALL: [&str; 13] =
    ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
const DAY_SECONDS: u64 = 86_400;

/// Returns a count for a sentence: a word up to twelve.
pub(super) fn count(n: usize) -> String {
    SMALL.get(n).map_or_else(|| whole(n as u64), |word| (*word).to_owned())
}

/// Returns a count with its noun: "three drives", "one drive".
pub(super) fn counted(n: usize, noun: &str) -> String {
    format!("{} {}", count(n), if n == 1 { noun.to_owned() } else { plural(noun) })
}

pub(super) fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.is_empty() && !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Returns a whole number, with its thousands apart from five digits on.
pub(super) fn whole(n: u64) -> String {
    let digits = n.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(GAP);
        }
        text.push(digit);
    }
    text
}

/// Returns a duration in at most two units.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let pair = |unit: u64, name: &str, part: u64, part_name: &str| match (seconds / unit, seconds % unit / part) {
        (n, 0) => format!("{n}{GAP}{name}"),
        (n, rest) => format!("{n}{GAP}{name} {rest}{GAP}{part_name}").replace(' ', &GAP.to_string()),
    };
    match seconds {
        0..60 => format!("{seconds}{GAP}s"),
        60..3600 => format!("{}{GAP}min", seconds / 60),
        3600..DAY_SECONDS => pair(3600, "h", 60, "min"),
        _ if seconds < 30 * DAY_SECONDS => pair(DAY_SECONDS, "d", 3600, "h"),
        _ if seconds < 365 * DAY_SECONDS => format!("{}{GAP}d", seconds / DAY_SECONDS),
        _ => pair(365 * DAY_SECONDS, "y", 30 * DAY_SECONDS, "mon"),
    }
}

/// Returns a time of day in UTC, with its day unless that is today.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (utc(at), utc(now));
    let time = format!("{:02}:{:02}", at.hour(), at.minute());
    match (now.date() - at.date()).whole_days() {
        0 => time,
        1 => format!("yesterday {time}"),
        _ if at.year() == now.year() => format!("{} {time}", day(at.date())),
        _ => format!("{} {}", day(at.date()), at.year()),
    }
}

/// Returns a time of day in UTC with seconds.
pub(super) fn clock_seconds(at: Timestamp) -> String {
    let at = utc(at);
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}

/// Returns the time of an event: with seconds if that is today, else with its day.
pub(super) fn event_clock(at: Timestamp, now: Timestamp) -> String {
    if utc(at).date() == utc(now).date() { clock_seconds(at) } else { clock(at, now) }
}

fn day(date: Date) -> String {
    format!("{} {}", date.day(), month(date.month()))
}

fn month(month: Month) -> &'static str {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS[usize::from(u8::from(month)) - 1]
}

fn utc(at: Timestamp) -> OffsetDateTime {
    let known = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.as_ns()));
    known.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Returns a name from the bus in one line that the terminal does not obey.
pub(super) fn name(text: &str) -> String {
    output::safe(text)
}

/// Returns a reason without the event type and the time that stand beside it anyway.
pub(super) fn reason(text: &str) -> String {
    name(without_start(text).unwrap_or(text))
}

/// Cuts `DataCorruption at 2026-11-30T20:38:12Z: ` off a reason.
fn without_start(text: &str) -> Option<&str> {
    let (event_type, rest) = text.split_once(" at ")?;
    let (time, rest) = rest.split_once("Z: ")?;
    let is_name = event_type.starts_with(|ch: char| ch.is_ascii_alphabetic())
        && event_type.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_');
    let is_time = time.contains('T') && time.chars().all(|ch| ch.is_ascii_digit() || "-T:.".contains(ch));
    (is_name && is_time).then_some(rest)
}

/// Returns a place by its labels: "enclosure-02, bay 17", else the host.
pub(super) fn place(labels: &BTreeMap<String, String>) -> String {
    let label = |key: &str| labels.get(key).filter(|text| !text.is_empty()).map(|text| name(text));
    let parts: Vec<_> =
        [label("enclosure"), label("bay").map(|bay| format!("bay {bay}"))].into_iter().flatten().collect();
    if parts.is_empty() { label("host").unwrap_or_default() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaps as plain spaces.
    fn plain(text: String) -> String {
        text.replace(GAP, " ")
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn counts_are_words_up_to_twelve() {
        let said = [(1, "drive"), (12, "array"), (13, "device"), (2, "battery")].map(|(n, noun)| counted(n, noun));
        assert_eq!(said, ["one drive", "twelve arrays", "13 devices", "two batteries"]);
        assert_eq!([1240, 12_400, 1_234_567].map(|n| plain(whole(n))), ["1240", "12 400", "1 234 567"]);
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let said = [0, 42, 2460, 26_820, 86_400, 1_051_200, 40_000_000].map(|n: u32| plain(duration(f64::from(n))));
        assert_eq!(said, ["0 s", "42 s", "41 min", "7 h 27 min", "1 d", "12 d 4 h", "1 y 3 mon"]);
    }

    #[test]
    fn a_time_has_its_day_unless_that_is_today() {
        let now = at("2026-11-30T09:41:20Z");
        let times = ["2026-11-30T02:14:00Z", "2026-11-29T19:41:00Z", "2026-11-12T08:00:00Z", "2024-10-21T08:00:00Z"];
        let said = times.map(|time| clock(at(time), now));
        assert_eq!(said, ["02:14", "yesterday 19:41", "12 Nov 08:00", "21 Oct 2024"]);
        assert_eq!(event_clock(at("2026-11-30T02:14:07Z"), now), "02:14:07");
    }

    #[test]
    fn a_reason_does_not_repeat_its_type_and_time() {
        assert_eq!(reason("DataCorruption at 2026-11-30T20:38:12Z: checksum mismatch"), "checksum mismatch");
        let said = "unreadable sectors: PendingSectors is 65, limit 1";
        assert_eq!(reason(said), said);
        assert_eq!(reason("a\u{1b}[2J at noonZ: b"), "a\\u{1b}[2J at noonZ: b");
    }
}

//! Raw values of ATA SMART attributes: 48 bits (56 with the reserved byte) whose layout is the vendor's. The layouts
//! are those that smartmontools documents for its output formats.

use super::{Reading, Unclear, all_ones, celsius, unclear};

/// Largest raw value: seven bytes.
const MAX_RAW: f64 = 72_057_594_037_927_935.0;
/// Full 16-bit word: a saturated counter, an unsigned -1, or "no reading".
const FULL_WORD: u64 = 0xFFFF;
/// Unsigned -1 of each width that drives use.
const ALL_ONES: [u64; 4] = [0xFFFF, 0xFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF];
/// Raw temperatures that mean "no reading": zero, the smallest signed value and -1 of each width.
const NO_TEMPERATURE: [u64; 7] = [0, 0x80, 0x8000, 0xFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF];
/// Smallest lifetime maximum, in °C, in a layout that packs bytes without a gap. Tenths of a degree and Kelvin would
/// otherwise pass for one.
const MIN_PACKED_MAXIMUM: i64 = 15;
/// Longest plausible time in operation, in hours: 23 years. Larger values count minutes or seconds.
const MAX_HOURS: u64 = 200_000;

/// Layout of a raw value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Current temperature in the lowest byte or word, with minimum and maximum above it.
    Temperature,
    /// Count in 16 bits. `packs` is true if other numbers may lie above it, so that the low word is the count.
    Count { packs: bool },
    /// Three counts of 16 bits; the first is the total.
    Triple,
    /// Hours in 24 bits, with fractions of an hour above them.
    Hours,
    /// Milliseconds in 16 bits, with their mean above them.
    Milliseconds,
    /// Operations in 32 bits with errors in the 16 above (Seagate), or a plain rate (others).
    ErrorRate,
    /// One number.
    Plain,
}

fn layout(id: u8) -> Layout {
    match id {
        1 | 7 | 195 => Layout::ErrorRate,
        3 => Layout::Milliseconds,
        5 | 196 => Layout::Count { packs: true },
        187 | 197 | 198 | 199 => Layout::Count { packs: false },
        9 | 240 => Layout::Hours,
        188 => Layout::Triple,
        190 | 194 => Layout::Temperature,
        _ => Layout::Plain,
    }
}

/// Returns the attribute of a metric type `smart_<id>_raw`.
pub(super) fn raw_id(metric_type: &str) -> Option<u8> {
    metric_type.strip_prefix("smart_")?.strip_suffix("_raw")?.parse().ok()
}

/// Returns `true` for an unsigned -1 of any width.
pub(super) fn is_all_ones(value: f64) -> bool {
    ALL_ONES.iter().any(|ones| *ones as f64 == value)
}

/// Decodes a finite raw value.
pub(super) fn read(id: u8, stored: f64) -> Reading {
    let layout = layout(id);
    if layout == Layout::Temperature && stored == -1.0 {
        return Reading::Absent;
    }
    if stored.fract() != 0.0 || !(0.0..=MAX_RAW).contains(&stored) {
        return not_raw(layout, stored);
    }
    let raw = stored as u64;
    match layout {
        Layout::Temperature => temperature(raw),
        Layout::Count { packs } => count(raw, packs),
        Layout::Triple => triple(raw),
        Layout::Hours => hours(raw),
        Layout::Milliseconds => Reading::Value((raw & FULL_WORD) as f64),
        Layout::ErrorRate => error_rate(raw),
        Layout::Plain if raw > FULL_WORD && ALL_ONES.contains(&raw) => unclear(all_ones(stored)),
        Layout::Plain => Reading::Value(stored),
    }
}

/// Reads a number that no drive reports as a raw value: decoded or averaged by its sender, or wrong.
fn not_raw(layout: Layout, value: f64) -> Reading {
    match layout {
        Layout::Temperature => celsius(value),
        _ if (0.0..FULL_WORD as f64).contains(&value) => Reading::Value(value),
        _ => unclear(format!("is {value}, not a raw value of SMART")),
    }
}

fn word(raw: u64, index: u32) -> u64 {
    (raw >> (16 * index)) & FULL_WORD
}

fn temperature(raw: u64) -> Reading {
    if NO_TEMPERATURE.contains(&raw) {
        return Reading::Absent;
    }
    // The low word holds the current temperature alone, with a sign in 8 or 16 bits; extremes lie above it.
    let low = word(raw, 0);
    let current = match low {
        0..=0x7F => Some(low as i64),
        0x80..=0xFF => Some(low as i64 - 0x100),
        0xFF80..=0xFFFF => Some(low as i64 - 0x1_0000),
        _ => None,
    };
    if let Some(current) = current {
        return celsius(current as f64);
    }
    // Current temperature and two extremes in the three lowest bytes.
    let byte = |index: u32| (raw >> (8 * index)) as u8 as i8 as i64;
    let (current, min, max) = (byte(0), byte(1).min(byte(2)), byte(1).max(byte(2)));
    if raw < 1 << 24 && (min..=max).contains(&current) && max >= MIN_PACKED_MAXIMUM {
        return celsius(current as f64);
    }
    unclear(format!("is {raw}: no known layout of a temperature"))
}

fn count(raw: u64, packs: bool) -> Reading {
    if raw < FULL_WORD {
        return Reading::Value(raw as f64);
    }
    if ALL_ONES.contains(&raw) {
        return unclear(all_ones(raw as f64));
    }
    let low = word(raw, 0);
    let at_least = (packs && low != FULL_WORD).then_some(low as f64);
    let reason = format!("is {raw}, more than a drive counts: several numbers packed into one");
    Reading::Unclear(Unclear { reason, at_least })
}

fn triple(raw: u64) -> Reading {
    let words = [word(raw, 0), word(raw, 1), word(raw, 2)];
    match words.iter().max() {
        Some(largest) if *largest < FULL_WORD && raw >> 48 == 0 => Reading::Value(*largest as f64),
        _ => unclear(format!("is {raw}: not three counts of 16 bits")),
    }
}

fn hours(raw: u64) -> Reading {
    let hours = raw & 0xFF_FFFF;
    if ALL_ONES.contains(&raw) && raw > FULL_WORD {
        return unclear(all_ones(raw as f64));
    }
    if hours > MAX_HOURS {
        return unclear(format!("is {raw}: more hours than a drive can have, so its unit is another"));
    }
    Reading::Value(hours as f64)
}

fn error_rate(raw: u64) -> Reading {
    match raw {
        _ if ALL_ONES.contains(&raw) => unclear(all_ones(raw as f64)),
        0..=FULL_WORD => Reading::Value(raw as f64),
        0x1_0000..=0xFFFF_FFFF => unclear(format!("is {raw}: a count of operations or of errors, by vendor")),
        _ => Reading::Value((raw >> 32) as f64),
    }
}

//! Renders untrusted payloads for the terminal; control characters are escaped.

use spindle_core::Timestamp;

use crate::output::escaped;

/// Maximum length of text printed; `--raw` writes the rest.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Maximum number of binary bytes printed: 256 lines.
const MAX_DUMP_BYTES: usize = 4 << 10;
const BYTES_PER_LINE: usize = 16;

/// Renders bytes: UTF-8 text as text, anything else as a dump.
pub(super) fn payload(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(no bytes)\n".to_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => as_text(text),
        Err(_) => dump(bytes),
    }
}

fn as_text(text: &str) -> String {
    let printed = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
    let mut lines = escaped(printed, |ch| ch == '\n' || ch == '\t');
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    lines + &rest(text.len() - printed.len())
}

/// `00000010  7b 22 …  |{"…|`, as hexdump writes it.
fn dump(bytes: &[u8]) -> String {
    let printed = &bytes[..bytes.len().min(MAX_DUMP_BYTES)];
    let mut lines = "(not UTF-8 text; --raw writes the bytes themselves)\n".to_owned();
    for (number, line) in printed.chunks(BYTES_PER_LINE).enumerate() {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii: String = line
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        lines += &format!("{:08x}  {:<47}  |{ascii}|\n", number * BYTES_PER_LINE, hex.join(" "));
    }
    lines + &rest(bytes.len() - printed.len())
}

fn rest(n_bytes: usize) -> String {
    if n_bytes == 0 { String::new() } else { format!("(and {n_bytes} more bytes: --raw writes all)\n") }
}

/// Formats a time to the millisecond.
pub(super) fn short_time(time: Timestamp) -> String {
    const NS_PER_MS: i64 = 1_000_000;
    Timestamp::from_ns(time.as_ns().div_euclid(NS_PER_MS) * NS_PER_MS).to_string()
}

pub(super) fn shortened(text: &str, max_chars: usize) -> String {
    let mut short: String = text.chars().take(max_chars).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_lines() {
        assert_eq!(payload("a\n\tb\u{1b}c".as_bytes()), "a\n\tb\\u{1b}c\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_dumped() {
        let bytes: Vec<u8> = (0..=255).collect();
        let printed = payload(&bytes);
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines.len(), 17);
        assert_eq!(lines[3], "00000020  20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f  | !\"#$%&'()*+,-./|");
        assert_eq!(payload(b"\xff\x41").lines().nth(1).unwrap().find('|'), lines[1].find('|'));
        assert_eq!(payload(b""), "(no bytes)\n");
    }

    #[test]
    fn what_is_long_is_cut_where_a_letter_ends_and_said_so() {
        let text = "ü".repeat(MAX_TEXT_BYTES / 2 + 10);
        let printed = payload(format!("x{text}").as_bytes());
        assert!(printed.ends_with("ü\n(and 22 more bytes: --raw writes all)\n"), "{}", &printed[printed.len() - 60..]);
        let printed = payload(&[0xff; MAX_DUMP_BYTES + 3]);
        assert!(printed.ends_with("(and 3 more bytes: --raw writes all)\n"));
        assert_eq!(shortened("äöü", 2), "äö…");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}

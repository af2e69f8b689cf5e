//! Text of sysfs files. Drives report arbitrary bytes about themselves; what leaves this module is printable.

use std::fs;
use std::path::Path;

use spindle_core::wire::MAX_LABEL_BYTES;

/// Reads the text of a sysfs file; `None` if it is absent or empty.
pub(super) fn attribute(path: &Path, name: &str) -> Option<String> {
    printable(&fs::read(path.join(name)).ok()?)
}

/// Lists the names in a directory, sorted; empty if it cannot be read.
pub(super) fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Turns bytes into text that fits a label, if any is left.
pub(super) fn printable(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    for ch in String::from_utf8_lossy(bytes).trim_matches(|ch: char| ch.is_whitespace() || ch == '\0').chars() {
        if text.len() + ch.len_utf8() > MAX_LABEL_BYTES {
            break;
        }
        if !ch.is_control() {
            text.push(ch);
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drive_says_of_itself_becomes_a_label() {
        assert_eq!(printable(b"  ST8000NM0055-1RM   \n"), Some("ST8000NM0055-1RM".into()));
        assert_eq!(printable(b"\0\0  \n"), None);
        assert_eq!(printable(b"a\x1b[2Jb\xff").as_deref(), Some("a[2Jb\u{fffd}"));
        assert_eq!(printable("ü".repeat(200).as_bytes()).map(|text| text.len()), Some(256));
    }
}

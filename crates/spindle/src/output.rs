//! What a command prints: data on stdout, talk on stderr.

use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Result, bail};

/// Data, to the last byte. A reader that went away (`| head`) is no fault; a full disk is.
pub(crate) fn data(bytes: &[u8]) -> Result<()> {
    let mut stdout = stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(fault) if fault.kind() != ErrorKind::BrokenPipe => bail!("cannot write to standard output: {fault}"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A line of talk. Where it cannot be said, there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// One line that others wrote: control characters, and those that reorder or hide what is shown, become visible
/// escapes. A terminal must not obey it.
pub(crate) fn safe(text: &str) -> String {
    escaped(text, |_| false)
}

/// As [`safe`], but for what is kept.
pub(crate) fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if !is_kept(letter) && (letter.is_control() || is_deceptive(letter)) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Marks that turn the direction of writing, have no width, or end a line in some programs.
fn is_deceptive(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_reaches_the_terminal_that_it_would_obey() {
        let check = |input: &str, expected: &str| assert_eq!(safe(input), expected, "{input:?}");
        check("Grüße 日本 \"{}\" \\", "Grüße 日本 \"{}\" \\");
        check("\u{1b}[2J\r\n\t\0\u{7f}", r"\u{1b}[2J\u{d}\u{a}\u{9}\u{0}\u{7f}");
        check("\u{9b}31m\u{202e}abc\u{200b}\u{feff}", r"\u{9b}31m\u{202e}abc\u{200b}\u{feff}");
        check("a\u{ad}\u{61c}b\u{e0041}", r"a\u{ad}\u{61c}b\u{e0041}");
        let everything: String = ('\0'..='\u{10ffff}').collect();
        assert!(!safe(&everything).chars().any(|letter| letter.is_control() || is_deceptive(letter)));
    }
}

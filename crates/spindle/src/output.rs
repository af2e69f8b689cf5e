//! Output of commands: data to stdout, everything else to stderr.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Result, bail};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use crate::config;

/// Longest wait for a stderr that nobody drains, when the process is about to end.
const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes data to stdout, to the last byte. A reader that went away (`| head`) is not an error; a full disk is.
pub(crate) fn data(bytes: &[u8]) -> Result<()> {
    let mut stdout = stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => bail!("cannot write to standard output: {error}"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a line to stderr; a write error is ignored.
pub(crate) fn message(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// Writes a line to stderr as [`message`] does, and gives up after a while.
pub(crate) fn last_message(line: &str) {
    let line = line.to_owned();
    let (written, is_written) = sync_channel(1);
    let write = move || {
        message(&line);
        let _ = written.send(());
    };
    if std::thread::Builder::new().spawn(write).is_ok() {
        let _ = is_written.recv_timeout(LAST_MESSAGE_TIMEOUT);
    }
}

/// Returns a number with its noun: `1 disk`, `2 disks`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Renders a table for the terminal on stdout; without rows it is `none`.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() { "none\n".to_owned() } else { table_of_width(header, rows, width()) }
}

/// Returns the columns of the terminal on stdout; `None` if stdout is a file or a program, which need whole lines.
pub(crate) fn width() -> Option<u16> {
    let of_terminal = || rustix::termios::tcgetwinsize(stdout()).ok().map(|size| size.ws_col);
    let width = config::columns().or_else(|| if stdout().is_terminal() { of_terminal() } else { None });
    width.filter(|width| *width > 0)
}

fn table_of_width(header: &[&str], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let numeric: Vec<_> = (0..rows.first().map_or(0, Vec::len))
        .filter(|index| {
            let cells = || rows.iter().filter_map(|row| row.get(*index));
            cells().any(|text| is_number(text)) && cells().all(|text| is_number(text) || text == "-")
        })
        .collect();
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    let longest =
        |index: usize| rows.iter().filter_map(|row| row.get(index)).map(|text| text.chars().count()).max().unwrap_or(0);
    let (first, second) = (longest(0), longest(1));
    table.add_rows(rows);
    let n_columns = table.column_count();
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((1, u16::from(index + 1 == n_columns)));
    }
    // The first columns name the row and are not wrapped, unless that leaves too little for the rest.
    for (index, taken) in [(0, first), (1, first + second)] {
        if let Some(column) = table.column_mut(index)
            && width.is_some_and(|width| taken <= usize::from(width) / 2)
        {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for index in numeric {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// Escapes an untrusted line for the terminal: control characters, and those that reorder or hide text, become
/// visible.
pub(crate) fn safe(text: &str) -> String {
    escaped(text, |_| false)
}

/// As [`safe`], except for the characters that `is_kept` accepts.
pub(crate) fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for ch in text.chars() {
        if !is_kept(ch) && (ch.is_control() || is_deceptive(ch)) {
            escaped.extend(ch.escape_unicode());
        } else {
            escaped.push(ch);
        }
    }
    escaped
}

/// Returns `true` for marks that change the writing direction, have no width, or end a line in some programs.
fn is_deceptive(ch: char) -> bool {
    matches!(ch,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_its_terminal_and_numbers_end_in_one_column() {
        let rows = || vec![vec!["a".to_owned(), "7".to_owned()], vec!["word ".repeat(40), "-".to_owned()]];
        let wide = table_of_width(&["name", "count"], rows(), None);
        let widths = |text: &str| text.lines().map(|line| line.chars().count()).collect::<Vec<_>>();
        assert!(widths(&wide).iter().all(|width| *width > 200), "{wide}");
        let narrow = table_of_width(&["name", "count"], rows(), Some(80));
        assert!(widths(&narrow).iter().all(|width| *width <= 80), "{narrow}");
        assert!(narrow.contains("    7"), "{narrow}");
        let names = vec![vec!["DiskUnit-0001".to_owned(), "word ".repeat(40), "word ".repeat(40)]];
        assert!(table_of_width(&["name", "a", "b"], names, Some(40)).contains("DiskUnit-0001"));
        assert_eq!(table(&["name"], Vec::new()), "none\n");
    }

    #[test]
    fn no_byte_reaches_the_terminal_that_it_would_obey() {
        let check = |input: &str, expected: &str| assert_eq!(safe(input), expected, "{input:?}");
        check("Grüße 日本 \"{}\" \\", "Grüße 日本 \"{}\" \\");
        check("\u{1b}[2J\r\n\t\0\u{7f}", r"\u{1b}[2J\u{d}\u{a}\u{9}\u{0}\u{7f}");
        check("\u{9b}31m\u{202e}abc\u{200b}\u{feff}", r"\u{9b}31m\u{202e}abc\u{200b}\u{feff}");
        check("a\u{ad}\u{61c}b\u{e0041}", r"a\u{ad}\u{61c}b\u{e0041}");
        let everything: String = ('\0'..='\u{10ffff}').collect();
        assert!(!safe(&everything).chars().any(|ch| ch.is_control() || is_deceptive(ch)));
    }
}

//! Text in cells: width, cutting and breaking of lines. Pure.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Returns the number of cells.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Cuts a text to a number of cells, with an ellipsis.
pub(super) fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut kept = String::new();
    for ch in text.chars() {
        kept.push(ch);
        if width(&kept) >= cells {
            kept.pop();
            break;
        }
    }
    if cells == 0 { String::new() } else { kept + "…" }
}

/// Cuts or fills a text to a number of cells.
pub(super) fn padded(text: &str, cells: usize) -> String {
    let text = cut(text, cells);
    let missing = cells.saturating_sub(width(&text));
    text + &" ".repeat(missing)
}

/// Breaks styled text at spaces into at most `n_lines` lines; what does not fit ends in an ellipsis.
pub(super) fn wrapped(parts: &[(String, Style)], cells: usize, n_lines: usize) -> Vec<Line<'static>> {
    let mut words = parts
        .iter()
        .flat_map(|(text, style)| text.split(' ').filter(|word| !word.is_empty()).map(|word| (word, *style)));
    let mut lines: Vec<Vec<(String, Style)>> = vec![Vec::new()];
    let mut used = 0;
    while let Some((word, style)) = words.next() {
        let needed = width(word) + usize::from(used > 0);
        if used + needed <= cells {
            push(&mut lines, word, style);
            used += needed;
        } else if lines.len() < n_lines && used > 0 {
            lines.push(vec![(cut(word, cells), style)]);
            used = width(word).min(cells);
        } else {
            let rest: Vec<_> = std::iter::once(word).chain(words.by_ref().map(|(word, _)| word)).collect();
            let room = cells.saturating_sub(used + usize::from(used > 0));
            push(&mut lines, &cut(&rest.join(" "), room.max(1)), style);
        }
    }
    let line =
        |words: Vec<(String, Style)>| Line::from_iter(words.into_iter().map(|(text, style)| Span::styled(text, style)));
    lines.into_iter().filter(|words| !words.is_empty()).map(line).collect()
}

/// Appends a word to the last line.
fn push(lines: &mut [Vec<(String, Style)>], word: &str, style: Style) {
    let Some(line) = lines.last_mut() else { return };
    match line.last_mut() {
        Some((text, known)) if *known == style => *text = format!("{text} {word}"),
        Some(_) => line.push((format!(" {word}"), style)),
        None => line.push((word.to_owned(), style)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_broken_by_cells() {
        assert_eq!(cut("enclosure-02", 12), "enclosure-02");
        assert_eq!(cut("enclosure-02", 6), "enclo…");
        assert_eq!(cut("日本語日本語", 5), "日本…");
        assert_eq!([cut("abc", 1), cut("abc", 0), padded("ab", 4)], ["…", "", "ab  "]);
        for cells in 0..20 {
            assert!(width(&cut("日a本b語c日d本e語", cells)) <= cells);
        }
        let lines = |n_lines| -> Vec<String> {
            let parts = [
                ("One drive is".to_owned(), Style::new()),
                ("failing: enclosure-02".to_owned(), super::super::look::STRONG),
            ];
            wrapped(&parts, 14, n_lines).iter().map(ToString::to_string).collect()
        };
        assert_eq!(lines(9), ["One drive is", "failing:", "enclosure-02"]);
        assert_eq!(lines(2), ["One drive is", "failing: encl…"]);
        assert_eq!(lines(1), ["One drive is f…".replace(" f…", " …")]);
    }
}

//! The picture as SVG.

use std::fmt::Write;

use super::{Bar, HEIGHT, Picture, Text, WIDTH};

pub(super) fn of(picture: &Picture) -> String {
    let title = picture.texts.iter().find(|text| text.is_title).map_or("", |text| &text.content);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<title>{}</title>
<rect width="100%" height="100%" fill="#fff"/>
"##,
        escaped(title)
    );
    for (id, bars, color, is_joined) in [
        ("expected", &picture.expected, "#cfe3f7", false),
        ("alarms", &picture.alarms, "#d62728", false),
        ("values", &picture.values, "#1f4e79", true),
        ("scores", &picture.scores, "#ff7f0e", false),
    ] {
        let path = path(bars, is_joined);
        let _ = writeln!(svg, r#"<path id="{id}" d="{path}" stroke="{color}" fill="none"/>"#);
    }
    for Text { x, y, content, is_title, ends_here } in &picture.texts {
        let size = if *is_title { r#" font-size="15""# } else { "" };
        let anchor = if *ends_here { r#" text-anchor="end""# } else { "" };
        let _ = writeln!(svg, r#"<text x="{x}" y="{y}"{size}{anchor}>{}</text>"#, escaped(content));
    }
    svg + "</svg>\n"
}

fn path(bars: &[Bar], is_joined: bool) -> String {
    let mut path = String::new();
    for Bar { x, from, to } in bars {
        let pen = if is_joined && !path.is_empty() { 'L' } else { 'M' };
        let _ = write!(path, "{pen}{x:.0} {from:.1}V{to:.1}");
    }
    path
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

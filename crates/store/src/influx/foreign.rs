//! Responses to a query that no InfluxDB sends: a page of a proxy or a portal, a redirection, a document of other make.
//! No result is built from them: an empty list would be an untrue answer.

use super::write_outcome::{NOT_INFLUXDB, brief};

/// Returns whether a body is a page, and not a message of the server. InfluxDB's messages are JSON or plain text.
pub(super) fn is_page(content_type: &str, body: &str) -> bool {
    content_type.to_ascii_lowercase().contains("html") || body.trim_start().starts_with('<')
}

/// Describes such a response: status, content type, target of a redirection, and its first words.
pub(super) fn description(status: u16, content_type: &str, location: &str, body: &str) -> String {
    let mut words = status.to_string();
    for text in [content_type, location].into_iter().filter(|text| !text.is_empty()) {
        words += &format!(" {}", brief(text));
    }
    format!("{words} '{}' to a query: {NOT_INFLUXDB}", title(body))
}

/// Returns the first words of a page, without its tags.
pub(super) fn title(page: &str) -> String {
    let mut is_tag = false;
    let plain = |ch: char| {
        let was_tag = is_tag;
        is_tag = (is_tag || ch == '<') && ch != '>';
        if was_tag || is_tag || ch.is_control() { ' ' } else { ch }
    };
    let text: String = page.chars().map(plain).collect();
    text.split_whitespace().take(8).collect::<Vec<_>>().join(" ").chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_its_first_words() {
        assert_eq!(
            title("<h2>Single-node VictoriaMetrics</h2></br>See docs at <a href='x'>"),
            "Single-node VictoriaMetrics See docs at"
        );
        assert_eq!(title("\n plain\r\ntext\u{7} "), "plain text");
        assert_eq!(title(&"x".repeat(500)).len(), 80);
    }

    #[test]
    fn a_page_is_told_from_a_message() {
        assert!(is_page("text/html; charset=utf-8", "Sign in") && is_page("", " \n<!doctype html>"));
        assert!(!is_page("application/json", "{\"error\":\"<b>\"}") && !is_page("text/plain", "database not found"));
        assert_eq!(
            description(302, "", "https://sso/login", ""),
            format!("302 https://sso/login '' to a query: {NOT_INFLUXDB}")
        );
    }
}

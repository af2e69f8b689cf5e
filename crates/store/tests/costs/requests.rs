//! Counts the rows that a store reads.

use spindle_testkit::InfluxFacade;

/// Runs the queries of the facade's record from `start` once more, and counts the rows of their responses.
pub(crate) fn rows_read(facade: &InfluxFacade, start: usize) -> (usize, usize) {
    let texts: Vec<String> =
        facade.record_of("/query")[start..].iter().filter_map(|request| form_value(&request.text(), "q")).collect();
    let mut n_rows = 0;
    let mut largest = 0;
    for text in &texts {
        let response = facade.server().query("fleet", text).unwrap();
        let rows: usize = response["results"].as_array().unwrap().iter().map(rows_of).sum();
        n_rows += rows;
        largest = largest.max(rows);
    }
    (n_rows, largest)
}

fn rows_of(result: &serde_json::Value) -> usize {
    let series = result["series"].as_array().into_iter().flatten();
    series.map(|series| series["values"].as_array().map_or(0, Vec::len)).sum()
}

/// Decodes a value of a form.
fn form_value(form: &str, name: &str) -> Option<String> {
    let encoded = form.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    let bytes = encoded.replace('+', " ").into_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            decoded.push(u8::from_str_radix(std::str::from_utf8(&bytes[at + 1..at + 3]).ok()?, 16).ok()?);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

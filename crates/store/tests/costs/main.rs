//! The cost of queries and of late events: it depends on what they ask for, and not on what else is stored. The steps
//! of the embedded store are counted in its own tests (`embedded::steps`), with the queries of this folder.
#![allow(clippy::unwrap_used)]

mod history;
mod late_events;
mod limits;
mod queries;
mod requests;

use queries::*;
use spindle_store::{InfluxSettings, Store};
use spindle_testkit::InfluxFacade;

fn open_influx(host: String, database: &str) -> Store {
    let settings = InfluxSettings {
        host,
        database: database.to_owned(),
        token: Some(spindle_testkit::InfluxFacade::TOKEN.to_owned()),
        org: Some(spindle_testkit::InfluxFacade::ORG.to_owned()),
        ..InfluxSettings::default()
    };
    Store::open_influx(settings).unwrap()
}

/// Returns the texts of the queries that the facade has received from number `start` on.
fn texts_of(facade: &InfluxFacade, start: usize) -> Vec<String> {
    facade.record_of("/query")[start..].iter().filter_map(|request| form_value(&request.text(), "q")).collect()
}

/// Runs a query, and counts the rows of the response.
fn n_rows(facade: &InfluxFacade, text: &str) -> usize {
    let response = facade.server().query("fleet", text).unwrap();
    response["results"].as_array().unwrap().iter().map(rows_of).sum()
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

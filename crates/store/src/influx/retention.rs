//! Retention that the server has of its own. Version 3 drops older points in silence, so they must be known before they
//! are sent; versions 1 and 2 report them as well (`write_outcome`).

use std::time::Duration;

use super::client::InfluxClient;
use super::response::SeriesPart;
use crate::StoreError;

/// Asks the server for its retention. `None` if it has none or reports none.
pub(super) async fn ask(client: &InfluxClient) -> Result<Option<Duration>, StoreError> {
    let text = format!("SHOW RETENTION POLICIES ON \"{}\"", client.settings.database);
    let mut rows = client.query(&text).await?;
    let mut found = None;
    loop {
        let series = rows.next().await?;
        if series.is_empty() {
            return Ok(found);
        }
        found = found.or_else(|| series.iter().find_map(default_policy));
    }
}

/// Reads the duration of the default policy; version 3 has one policy, and does not call it the default.
fn default_policy(series: &SeriesPart) -> Option<Duration> {
    let duration = series.column("duration")?;
    let is_default = |row: &&Vec<serde_json::Value>| {
        series.column("default").is_none_or(|column| row.get(column).is_some_and(|value| value == true))
    };
    let row = series.values.iter().find(is_default)?;
    parse(row.get(duration)?.as_str()?).filter(|retention| !retention.is_zero())
}

/// Parses a duration as Go prints it: `720h0m0s`, `1h30m0s`, `0s`.
fn parse(text: &str) -> Option<Duration> {
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|ch: char| !ch.is_ascii_digit())?);
        let unit = match after.as_bytes().first()? {
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = &after[1..];
    }
    Some(Duration::from_secs(seconds)).filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_prints_them() {
        for (text, seconds) in [
            ("720h0m0s", Some(2_592_000)),
            ("1h30m0s", Some(5_400)),
            ("30s", Some(30)),
            ("0s", Some(0)),
            ("", None),
            ("infinite", None),
            ("1h2", None),
            ("1.5h", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_default_policy_counts() {
        let read = |text: &str| default_policy(&serde_json::from_str::<SeriesPart>(text).unwrap());
        let hour = Some(Duration::from_secs(3_600));
        let v1 = r#"{"columns":["name","duration","shardGroupDuration","replicaN","default"],"values":[["a","2h0m0s","1h0m0s",1,false],["b","1h0m0s","1h0m0s",1,true]]}"#;
        assert_eq!(read(v1), hour);
        let v3 = r#"{"columns":["iox::database","name","duration"],"values":[["x","autogen","1h0m0s"]]}"#;
        assert_eq!(read(v3), hour);
        assert_eq!(read(r#"{"columns":["name","duration","default"],"values":[["a","0s",true]]}"#), None);
        assert_eq!(read(r#"{"columns":["name","default"],"values":[["a",true]]}"#), None);
        assert_eq!(read(r#"{"columns":["name","duration","default"],"values":[["a"],[]]}"#), None);
    }
}

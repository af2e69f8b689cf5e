//! Rows and headers of Drive Stats, good and bad.

use super::*;
use crate::wire;

const HEADER: [&str; 9] = [
    "smart_197_raw",
    "failure",
    "date",
    "serial_number",
    "model",
    "capacity_bytes",
    "smart_5_normalized",
    "smart_5_raw",
    "datacenter",
];

fn columns() -> Columns {
    Columns::from_header(&HEADER).unwrap()
}

/// Parses a good row; returns its batch and its rejected values.
fn read(row: &[&str]) -> (Batch, Vec<BackblazeError>) {
    let mut refused = Vec::new();
    let batch = columns().read(row, &mut refused).unwrap();
    (batch, refused)
}

fn refusal(row: &[&str]) -> String {
    columns().read(row, &mut Vec::new()).unwrap_err().to_string()
}

#[test]
fn a_row_becomes_metrics_by_the_columns_names_in_any_order() {
    let (batch, refused) = read(&["4.0", "0", "2013-04-10", "S1", "ST31500341AS", "1500301910016", "", "16", "dc1"]);
    assert!(refused.is_empty() && batch.events.is_empty());
    let values: Vec<_> = batch.metrics.iter().map(|metric| (metric.metric_type.as_str(), metric.value)).collect();
    assert_eq!(values, [("smart_197_raw", 4.0), ("smart_5_raw", 16.0)]);
    assert_eq!(batch.metrics[0].timestamp.to_string(), "2013-04-10T00:00:00Z");
    assert_eq!(batch.metrics[0].source_device.as_str(), "S1");
    let labels = batch.metrics[0].labels.as_ref().unwrap();
    assert_eq!(
        (labels["model"].as_str(), labels["capacity_bytes"].as_str(), labels["serial"].as_str()),
        ("ST31500341AS", "1500301910016", "S1")
    );
    assert!(batch.metrics[1].labels.is_none());
}

#[test]
fn a_failure_is_one_event_however_often_it_is_read() {
    let row = ["1", "1", "2013-04-10", "S1", "M", "1", "", "4094", ""];
    let event = read(&row).0.events.remove(0);
    assert_eq!((event.criticality.level(), event.event_type.as_str()), (10, "DriveFailure"));
    assert_eq!(
        event.event_message.as_deref(),
        Some("drive failed: serial S1, model M, smart_197_raw 1, smart_5_raw 4094")
    );
    assert_eq!(wire::decode_events(&wire::encode_event(&event)).items, std::slice::from_ref(&event));
    let exact = read(&["9", "1.0", "2013-04-10T02:00:00+02:00", "S1", "M", "1", "", "4094", ""]).0;
    assert_eq!(exact.events[0].id, event.id, "the same drive and instant");
    let next_day = read(&["1", "1", "2013-04-11", "S1", "M", "1", "", "4094", ""]).0;
    assert_ne!(next_day.events[0].id, event.id);
}

#[test]
fn a_failure_without_smart_values_is_still_an_event() {
    let (batch, _) = read(&["", "1", "2013-04-10", "S1", "", "-1", "", "", ""]);
    assert!(batch.metrics.is_empty());
    let labels = batch.events[0].labels.as_ref().unwrap();
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["serial"], "no empty model, no negative capacity");
}

#[test]
fn a_bad_value_is_refused_alone() {
    let (batch, refused) = read(&["inf", "0", "2013-04-10", "S1", "M", "600332565813390450", "100", "-7", ""]);
    assert_eq!(batch.metrics.len(), 1);
    assert_eq!(batch.metrics[0].metric_type.as_str(), "smart_5_normalized");
    assert!(!batch.metrics[0].labels.as_ref().unwrap().contains_key("capacity_bytes"));
    let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused[0], "column 'smart_197_raw' holds 'inf': expected a finite number");
    assert!(refused[1].starts_with("column 'smart_5_raw' holds '-7': expected a number from 0 to"), "{refused:?}");
    assert_eq!(read(&["281474976710655", "0", "2013-04-10", "S", "M", "1", "", "1e400", ""]).0.metrics.len(), 1);
}

#[test]
fn a_bad_row_names_column_and_value() {
    let check = |row: &[&str], expected: &str| assert!(refusal(row).starts_with(expected), "{}", refusal(row));
    check(&["1", "0", "10.04.2013", "S", "M", "1", "", "", ""], "column 'date' holds '10.04.2013'");
    check(&["1", "0", "", "S", "M", "1", "", "", ""], "column 'date' holds ''");
    check(&["1", "0", "2013-04-10", "", "M", "1", "", "", ""], "column 'serial_number' holds '': is empty");
    check(&["1", "yes", "2013-04-10", "S", "M", "1", "", "", ""], "column 'failure' holds 'yes'");
    check(&["1", "0", "2013-04-10"], "row has 3 fields, the header has 9");
}

#[test]
fn a_header_needs_its_columns_once() {
    assert_eq!(Columns::from_header(&["date", "model"]), Err(BackblazeError::MissingColumn("serial_number")));
    let twice: Vec<&str> = HEADER.iter().copied().chain(["smart_5_raw"]).collect();
    assert_eq!(Columns::from_header(&twice), Err(BackblazeError::DuplicateColumn("smart_5_raw".to_owned())));
    let odd = [&HEADER[..], &["smart_x_raw", "smart_256_raw", "smart_5_cooked", "smart_05_raw"]].concat();
    assert_eq!(Columns::from_header(&odd).unwrap().smart.len(), 3);
}

/// One row, as several programs write it.
#[test]
fn a_row_is_read_as_other_programs_write_it() {
    let expected = read(&["4", "1", "2023-01-13", "S1", "M", "4000787030016", "", "16", "dc1"]).0;
    for row in [
        ["4.0", "True", "2023-01-13 00:00:00", "S1", "M", "4000787030016.0", "NaN", "16.0", "dc1"],
        ["4", "TRUE", "1/13/2023", "S1", "M", "4,000,787,030,016", "#N/A", "16", "dc1"],
        ["4", "t", "2023-01-13 00:00:00+00", "S1", "M", "4000787030016", "\\N", "16", "dc1"],
        ["4", "1.0", "2023/01/13", "S1", "M", "4.000787030016E12", "NULL", "1.6E1", "dc1"],
        ["4", "1", "20230113", "S1", "M", "4.000787030016e+12", "NA", "1.6e+01", "dc1"],
        ["4", "true", "2023-01-13T00:00:00", "S1", "M", "4000787030016", "None", "16", "dc1"],
        ["4", "1", "13-JAN-2023", "S1", "M", "4000787030016", "<NA>", "16", "dc1"],
        ["4", "1", "13/1/2023", "S1", "M", "4000787030016", "", "16", "dc1"],
        ["4", "1", "2023-01-13 00:00:00.000000 UTC", "S1", "M", "4000787030016", "", "16", "dc1"],
    ] {
        assert_eq!(read(&row), (expected.clone(), vec![]), "{row:?}");
    }
}

#[test]
fn what_may_mean_two_things_is_refused_with_the_reason() {
    let date = |date: &str| refusal(&["4", "0", date, "S1", "M", "1", "", "16", ""]);
    for (text, reason) in [
        ("1/2/2023", "cannot be told apart"),
        ("01-02-2023", "cannot be told apart"),
        ("1/13/23", "two digits"),
        ("44939", "a spreadsheet's number of a day"),
        ("2023-01-13 13:45:00", "no zone"),
        ("2023-02-30", "expected a day"),
        ("32/13/2023", "expected a day"),
        ("NaT", "expected a day"),
    ] {
        assert!(date(text).contains(reason), "{text}: {}", date(text));
    }
    let serial = |serial: &str| refusal(&["4", "0", "2023-01-13", serial, "M", "1", "", "16", ""]);
    for (text, reason) in
        [("1.23E+11", "rounded"), ("12345.0", "leading zeros"), ("NA", "is empty"), ("nan", "is empty")]
    {
        assert!(serial(text).contains(reason), "{text}: {}", serial(text));
    }
    for failure in ["", "NA", "yes", "2", "-1", "0.5"] {
        assert!(
            refusal(&["4", failure, "2023-01-13", "S1", "M", "1", "", "16", ""]).contains("'failure'"),
            "{failure}"
        );
    }
    let value = |text: &str, delimiter| {
        let columns = Columns::with_delimiter(&HEADER, delimiter).unwrap();
        let mut refused = Vec::new();
        let batch = columns.read(&["4", "0", "2023-01-13", "S1", "M", "1", "", text, ""], &mut refused).unwrap();
        (batch.metrics.len() - 1, refused.pop().map_or_else(String::new, |refused| refused.to_string()))
    };
    assert!(value("2.35E+08", b',').1.contains("its digits are lost"));
    assert_eq!(value("1.2345E+04", b',').0, 1, "all digits are there");
    assert_eq!((value("12,345", b',').0, value("1,234,567", b';').0), (1, 1));
    for text in ["12,345", "30.500", "-1.100"] {
        let reason = value(text, b';').1;
        assert!(reason.contains("may group thousands or begin decimals"), "{text}: {reason}");
    }
    for (text, delimiter) in [("30.500", b','), ("0.125", b';'), ("30.5", b';'), ("1234.500", b';')] {
        assert_eq!(value(text, delimiter).0, 1, "{text}");
    }
    assert!(
        value("1,5", b';').1.contains("not between thousands") && value("1.234.567", b';').1.contains("finite number")
    );
}

#[test]
fn columns_of_later_years_become_labels() {
    let header = [
        "Unnamed: 0",
        "DATE",
        "Serial_Number",
        "model",
        "capacity_bytes",
        "failure",
        "datacenter",
        "cluster_id",
        "vault_id",
        "pod_id",
        "pod_slot_num",
        "is_legacy_format",
        "SMART_5_RAW",
    ];
    let columns = Columns::with_delimiter(&header, b'\t').unwrap();
    let row = ["17", "2023-01-13", "S1", "M", "1", "0", "phx1", "0", "1034.0", "25", "NaN", "False", "3"];
    let batch = columns.read(&row, &mut Vec::new()).unwrap();
    let labels = batch.metrics[0].labels.as_ref().unwrap();
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let expected = [
        "capacity_bytes=1",
        "cluster_id=0",
        "datacenter=phx1",
        "is_legacy_format=false",
        "model=M",
        "pod_id=25",
        "serial=S1",
        "vault_id=1034",
    ];
    assert_eq!(labels, expected);
    assert_eq!(batch.metrics[0].metric_type.as_str(), "smart_5_raw");
    let twice = [&header[..], &["datacenter"]].concat();
    assert_eq!(Columns::from_header(&twice), Err(BackblazeError::DuplicateColumn("datacenter".to_owned())));
}

#[test]
fn derived_ids_depend_on_every_part_and_its_place() {
    let id = derived_id(&[b"ab", b"c"]);
    assert_eq!(id.to_string(), derived_id(&[b"ab", b"c"]).to_string());
    assert_eq!(id.as_uuid().unwrap().get_version_num(), 8);
    assert_ne!(id, derived_id(&[b"a", b"bc"]));
    assert_ne!(id, derived_id(&[b"ab", b"d"]));
}

proptest::proptest! {
    /// No header and no row causes a panic, and the wire format accepts everything parsed.
    #[test]
    fn any_row_is_read_or_refused(names in ".*", fields in proptest::collection::vec("[0-9.eE+-]{0,20}|.{0,9}", 9)) {
        let _ = Columns::from_header(&names.split(',').collect::<Vec<_>>());
        let mut row: Vec<&str> = fields.iter().map(String::as_str).collect();
        let _ = columns().read(&row, &mut Vec::new());
        (row[1], row[2]) = ("1", "2013-04-10");
        if let Ok(batch) = columns().read(&row, &mut Vec::new()) {
            for metric in &batch.metrics {
                let sent = wire::encode_metrics(std::slice::from_ref(metric));
                proptest::prop_assert_eq!(&wire::decode_metrics(&sent).items[0], metric);
            }
            proptest::prop_assert_eq!(&wire::decode_events(&wire::encode_event(&batch.events[0])).items[0], &batch.events[0]);
        }
    }
}

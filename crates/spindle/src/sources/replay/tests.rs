//! Replays of real files: the batches, and the errors of bad records.

use std::io::Write;

use spindle_core::Criticality;
use tempfile::NamedTempFile;

use super::*;

const METRIC: &str = r#"{"timestamp":"2025-06-06T12:00:00Z","sourceDevice":"d1","metricType":"DiskTemp","value":40.5}"#;
const LATER: &str = r#"{"timestamp":"2025-06-06T12:00:10Z","sourceDevice":"d1","metricType":"DiskTemp","value":41}"#;
const EVENT: &str = r#"{"id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","criticality":8,"timestamp":"2025-06-06T12:00:00Z","sourceDevice":"d1","eventType":"UnauthorizedAccess"}"#;
const HEADER: &str = "date,serial_number,model,capacity_bytes,failure,smart_5_raw";

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn open(file: &NamedTempFile, options: Options) -> Replay {
    Replay::open(file.path(), options).unwrap()
}

/// Each batch as `time: n metrics + n events`, each bad record as `line kind`.
fn replayed(content: &[u8]) -> Vec<String> {
    let file = file(content);
    let mut replay = open(&file, Options::default());
    let mut found = Vec::new();
    while let Some(next) = replay.next_batch() {
        found.push(match next {
            Ok((time, batch)) => format!("{time}: {} + {}", batch.metrics.len(), batch.events.len()),
            Err(bad) => format!("{} {}", bad.line, bad.kind),
        });
    }
    found
}

fn refusal(content: &[u8]) -> String {
    let file = file(content);
    let error = format!("{:#}", Replay::open(file.path(), Options::default()).unwrap_err());
    assert!(error.contains(&file.path().display().to_string()), "{error}");
    error
}

#[test]
fn lines_of_one_time_are_one_batch() {
    let content = format!("\u{feff}{METRIC}\r\n\r\n[{METRIC},{EVENT}, {LATER}]\r\n{LATER}");
    assert_eq!(replayed(content.as_bytes()), ["2025-06-06T12:00:00Z: 2 + 1", "2025-06-06T12:00:10Z: 2 + 0"]);
}

#[test]
fn a_bad_record_harms_no_other_and_keeps_its_place() {
    let hot = METRIC.replace("40.5", "4000");
    let content = [
        METRIC.as_bytes(),
        b"\n[",
        EVENT.as_bytes(),
        b",{\"a\":1},",
        METRIC.as_bytes(),
        b",7]\n\xff\xfe{\n",
        hot.as_bytes(),
        b"\n",
        EVENT.replace(":8,", ":11,").as_bytes(),
        b"\n[]\n",
        LATER.as_bytes(),
        &LATER.as_bytes()[..30],
    ]
    .concat();
    assert_eq!(
        replayed(&content),
        [
            "2025-06-06T12:00:00Z: 1 + 1",
            "2 missing_field",
            "2025-06-06T12:00:00Z: 1 + 0",
            "2 bad_shape",
            "3 bad_json",
            "4 bad_field",
            "5 bad_field",
            "7 bad_json",
        ]
    );
}

#[test]
fn a_bad_record_shows_file_line_reason_and_bytes() {
    let file = file(format!("{METRIC}\n{}\n", METRIC.replace("40.5", "\"warm\"")).as_bytes());
    let mut replay = open(&file, Options::default());
    replay.next_batch().unwrap().unwrap();
    let bad = replay.next_batch().unwrap().unwrap_err();
    assert_eq!(
        bad.to_string(),
        format!("{}:2: field 'value' is \"warm\": expected a finite number", file.path().display())
    );
    assert!(bad.bytes.starts_with(b"{\"timestamp\""));
    assert!(replay.next_batch().is_none());
}

#[test]
fn backblaze_rows_and_their_faults() {
    let content = format!(
        "{HEADER}\r\n2013-04-10,S1,M,1,0,16\r\n2013-04-10,\"S,2\",M,1,1,\r\n2013-04-11,S1,M,1,0,x\r\n2013-04-11,S2,M,1,2,5\n2013-04-11,S3,M\n2013-04-11,S4,M,1,0,7"
    );
    assert_eq!(
        replayed(content.as_bytes()),
        ["2013-04-10T00:00:00Z: 1 + 1", "4 bad_field", "5 bad_field", "6 bad_row", "2013-04-11T00:00:00Z: 1 + 0"]
    );
    assert!(replayed(format!("{HEADER}\n").as_bytes()).is_empty());
}

#[test]
fn batches_are_bounded() {
    let line = format!("[{METRIC}{}]\n", format!(",{METRIC}").repeat(6_999));
    let sizes = ["5000 + 0", "5000 + 0", "4000 + 0"].map(|size| format!("2025-06-06T12:00:00Z: {size}"));
    assert_eq!(replayed(line.repeat(2).as_bytes()), sizes);
}

#[test]
fn an_endless_line_is_one_bad_record() {
    let content = format!("{METRIC}\n[{}\n{LATER}\n", METRIC.repeat(100_000));
    assert_eq!(
        replayed(content.as_bytes()),
        ["2025-06-06T12:00:00Z: 1 + 0", "2 too_large", "2025-06-06T12:00:10Z: 1 + 0"]
    );
}

#[test]
fn a_shift_moves_all_times_alike_and_renews_event_ids() {
    let file = file(format!("{METRIC}\n{EVENT}\n{LATER}\n").as_bytes());
    let play = |shift: Option<&str>| {
        let shift = shift.map(|text| Timestamp::parse(text).unwrap());
        let mut replay = open(&file, Options { shift });
        let first = replay.next_batch().unwrap().unwrap();
        (first, replay.next_batch().unwrap().unwrap())
    };
    let (plain, _) = play(None);
    let ((recorded, first), (_, second)) = play(Some("2026-01-01T00:00:00Z"));
    assert_eq!(recorded.to_string(), "2025-06-06T12:00:00Z", "pace follows the recording");
    assert_eq!(first.metrics[0].timestamp.to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(second.metrics[0].timestamp.to_string(), "2026-01-01T00:00:10Z");
    assert_eq!(
        (first.events[0].criticality, first.events[0].timestamp),
        (Criticality::new(8).unwrap(), first.metrics[0].timestamp)
    );

    let id = first.events[0].id.clone();
    assert_ne!(id, plain.1.events[0].id);
    assert_eq!(id, play(Some("2026-01-01T00:00:00Z")).0.1.events[0].id, "the same shift, the same event");
    assert_ne!(id, play(Some("2026-01-02T00:00:00Z")).0.1.events[0].id);
    assert_eq!(play(Some("2025-06-06T12:00:00Z")).0, plain, "no offset, no change");
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_way_out() {
    let check = |content: &[u8], expected: &str| assert!(refusal(content).contains(expected), "{}", refusal(content));
    check(b"", "the file is empty: expected NDJSON");
    check(b"\n\r\n", "the file is empty: expected NDJSON");
    check(b"hello\n", "line 1: of unknown format: expected NDJSON of Spindle's wire format");
    check(b"timestamp,value\n1,2\n", "of unknown format");
    check(b"\n[\n  {}\n]\n", "line 2: looks like JSON over several lines");
    check(b"\x1f\x8b\x08\0", "gunzip");
    check(b"PK\x03\x04", "unzip");
    check(b"\xff\xfe{\0", "of unknown format");
    check(b"date,serial_number,model,failure\n", "column 'capacity_bytes' is missing");
    check(&vec![b'x'; 9 << 20], "its first line is 9437184 bytes long");

    let directory = tempfile::tempdir().unwrap();
    let refused = |path: &Path| format!("{:#}", Replay::open(path, Options::default()).unwrap_err());
    assert!(refused(directory.path()).contains("it is a directory"));
    assert!(refused(Path::new("/dev/zero")).contains("it is a device"), "it has no end");
    let missing = refused(&directory.path().join("none.csv"));
    assert!(missing.contains("none.csv") && missing.contains("check the path"), "{missing}");
}

#[test]
fn an_array_of_fields_is_no_record() {
    let content = format!("{METRIC}\n[[null,{EVENT}],{EVENT}]\n");
    assert_eq!(
        replayed(content.as_bytes()),
        ["2025-06-06T12:00:00Z: 1 + 0", "2 bad_shape", "2025-06-06T12:00:00Z: 0 + 1"]
    );
}

/// The last of two equal keys counts, as on the wire.
#[test]
fn an_event_with_a_key_twice_is_read_as_on_the_wire() {
    let twice = EVENT.replace("\"eventType\"", "\"eventType\":\"FanFailure\",\"eventType\"");
    assert_eq!(replayed(twice.as_bytes()), ["2025-06-06T12:00:00Z: 0 + 1"]);
}

/// A small file with the columns of the real files: every value is replayed, no record is bad.
#[test]
fn a_small_fleet_is_replayed_whole() {
    let rows = replayed(include_bytes!("../../../../core/tests/golden/drive_stats.csv"));
    assert_eq!(rows, ["2021-02-28T00:00:00Z: 38 + 1", "2021-02-28T04:30:00Z: 12 + 1", "2021-03-01T00:00:00Z: 14 + 0",]);
}

/// The real files, if present: every value is replayed, no record is bad.
#[test]
fn the_real_fleet_is_replayed_whole() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/backblaze");
    for (name, n_metrics, n_events) in
        [("2013-04-10.csv", 105_975, 1), ("ST8000NM0055-last-day-2019.csv", 308_259, 221)]
    {
        let path = Path::new(data).join(name);
        if !path.exists() {
            eprintln!("NOT CHECKED, the real data is absent: {}", path.display());
            continue;
        }
        let mut replay = Replay::open(&path, Options::default()).unwrap();
        let (mut metrics, mut events) = (0, 0);
        while let Some(next) = replay.next_batch() {
            let (time, batch) = next.unwrap();
            assert!(batch.len() <= MAX_BATCH && batch.metrics.iter().all(|metric| metric.timestamp == time));
            metrics += batch.metrics.len();
            events += batch.events.len();
        }
        assert_eq!((metrics, events), (n_metrics, n_events), "{name}");
    }
}

//! Replays of real files: the batches, and the errors of bad records.

use std::io::Write;

use spindle_core::Criticality;
use tempfile::NamedTempFile;

use super::*;

const METRIC: &str = r#"{"timestamp":"2025-06-06T12:00:00Z","sourceDevice":"d1","metricType":"DiskTemp","value":40.5}"#;
const LATER: &str = r#"{"timestamp":"2025-06-06T12:00:10Z","sourceDevice":"d1","metricType":"DiskTemp","value":41}"#;
const EVENT: &str = r#"{"id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","criticality":8,"timestamp":"2025-06-06T12:00:00Z","sourceDevice":"d1","eventType":"UnauthorizedAccess"}"#;
const HEADER: &str = "date,serial_number,model,capacity_bytes,failure,smart_5_raw";

/// [`METRIC`] and a line feed, packed by gzip, bzip2, xz and zstd.
const PACKED_FILES: [&[u8]; 4] = [
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xabV*\xc9\xccM-.I\xcc-P\xb2R2202\xd550\x03\xa2\x10C#+\x03\x03 \x8aR\xd2Q*\xce/-JNuI-\xcbLN\x05\xaaJ1\x04\x8a\xe5\xa6\x96\x14e&\x87T\x16\x80D\x5c2\x8b\xb3CR\x81F\xe8(\x95%\xe6\x94\x02\x85L\x0c\xf4Lk\xb9\x00\xda\x1e\xdag^\x00\x00\x00",
    b"BZh91AY&SY\xf4\xd1\xf8\xc0\x00\x00._\x80\x00\x10\x10\x07w\x10\x04\x00\x04\x10..\xdf* \x00TE\x1bP\xf2&F\x83@mO(@\x84\xf54\x1e(\x00\x06\x94F\xe1K10\xac(S\x16ut\x07`\x88i\x94\xe0\xc8\x98\xc4$03R\xb7me\xf7\xbd\x82\x1d\x09m\x9a\x07\xa5\x08\x0a\xa4c1\xb9\xe0\xd2y\x99\x93\x9c\xac#\x93W\xf1w$S\x85\x09\x0fM\x1f\x8c\x00",
    b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\xe0\x00]\x00X]\x00=\x88\x8a\x86\xd4\x15\xf8\xe4\xe0\xe8\x1b\x9a\xca)O\xfe\xc7\xad\xffbR\x1fbas_\x01\x5c\xcb\xce\x0b9\x8e\xf6\xd3Z\xe9C\x00\x11|{`\xcb\xa6T\x0e\x19\xfc\xee\xe67;\xdd\x91\xc0W\x82\x1b\xfa\x09\xed\xf2yU\x81#\x91Z\xae\x11\xd12TN\xa0\x13X\xb7\xbc\x04\x8b}\x18\xc0\xfc\x00\x00\x00Lq\xef~\xda\x07\xfa\xc1\x00\x01t^*u\x06\xe7\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ",
    b"(\xb5/\xfd\x04X\xb5\x02\x00\xe2\x85\x14\x1a\x90\xb79\x98e\xb6\xcd\xa2\x11*xR-nF\x94\xe8\x86C\x92\xb1\xd9X\xc6\xc4\x01E\xe2\x008\x80=SP\x9a\x9e6vEp\x99\x14\xfbvP+\x97w\xd6ScP\xecW6O\xbe\x16\xc6\xe0z*\xb0\xd1\xc6d(\xc4\x081:\x92S\xb1\x8d)\xcf\x9d\xe5+\x22\x00\x8c\xc0\x81\xcb",
];

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
    check(b"", "the file is empty: expected metrics and events");
    check(b"\n\r\n", "the file is empty: expected metrics and events");
    check(b"hello\n", "line 1: of unknown format: expected metrics and events in Spindle's wire format");
    check(b"timestamp,value\n1,2\n", "of unknown format");
    check(b"\x1f\x8b\x08\0", "cannot unpack it (gzip)");
    check(b"PK\x03\x04", "unzip");
    check(b"7z\xBC\xAF\x27\x1C", "7z x");
    check(b"PAR1\x15\x04", "Parquet");
    check(b"\xff\xfeh\0i\0", "of unknown format");
    check(b"\xff\xfe\0\0h\0\0\0", "iconv");
    check(b"serial_number;date;model;failure\n", "column 'capacity_bytes' is missing");
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

/// JSON in the layouts of `json.dump`, `jq` and hand.
#[test]
fn json_is_read_in_any_layout() {
    let whole = ["2025-06-06T12:00:00Z: 1 + 1", "2025-06-06T12:00:10Z: 1 + 0"];
    let pretty = |text: &str| text.replace('{', "{\n  ").replace(",\"", ",\n  \"").replace('}', "\n}");
    for content in [
        format!("[{METRIC}, {EVENT},\n{LATER}]"),
        format!("[\n  {METRIC},\n  {EVENT},\n  {LATER}\n]\n"),
        format!("\u{feff}[\r\n{METRIC},\r\n{EVENT},\r\n{LATER}\r\n]"),
        format!("{}\n{}\n{}", pretty(METRIC), pretty(EVENT), pretty(LATER)),
        format!("[{}, {}, {}]", pretty(METRIC), pretty(EVENT), pretty(LATER)),
        format!("[\n[{METRIC},{EVENT}],\n[{LATER}]\n]"),
    ] {
        assert_eq!(replayed(content.as_bytes()), whole, "{content}");
    }
    let cut = format!("[\n{METRIC},\n{{\"a\":1\n{EVENT},\n7,\n{LATER}\n");
    assert_eq!(
        replayed(cut.as_bytes()),
        [
            "2025-06-06T12:00:00Z: 1 + 0",
            "3 bad_json",
            "2025-06-06T12:00:00Z: 0 + 1",
            "5 bad_shape",
            whole[1],
            "7 bad_json"
        ]
    );
}

/// One line of 18 MB is as good as many of them.
#[test]
fn an_array_longer_than_any_line_may_be_is_read_piece_by_piece() {
    let line = format!("[{METRIC}{}]", format!(",{METRIC}").repeat(199_999));
    assert!(line.len() > 2 * spindle_core::wire::MAX_PAYLOAD_BYTES);
    let batches = replayed(line.as_bytes());
    assert_eq!((batches.len(), batches[0].as_str()), (40, "2025-06-06T12:00:00Z: 5000 + 0"));
}

#[test]
fn tables_of_other_programs_are_read() {
    let rows = ["2013-04-10: 1 + 0", "2013-04-11: 1 + 1"].map(|row| row.replace(':', "T00:00:00Z:"));
    let table = format!("{HEADER}\n2013-04-10,S1,M,1,0,16\n2013-04-11,S1,M,1,1,17\n");
    let utf_16 = |mark: &[u8], encode: fn(u16) -> [u8; 2]| {
        [mark, &table.encode_utf16().flat_map(encode).collect::<Vec<_>>()].concat()
    };
    for content in [
        table.replace('\n', "\r").into_bytes(),
        table.replace('\n', "\r\n").into_bytes(),
        format!("\u{feff}{table}").into_bytes(),
        table.replace(',', ";").into_bytes(),
        table.replace(',', "\t").into_bytes(),
        format!("sep=;\r\n{}", table.replace(',', ";").replace('\n', "\r\n")).into_bytes(),
        format!("\"{}\"\n", table.trim().replace(',', "\",\"").replace('\n', "\"\n\"")).into_bytes(),
        utf_16(b"\xFF\xFE", u16::to_le_bytes),
        utf_16(b"\xFE\xFF", u16::to_be_bytes),
        utf_16(b"", u16::to_le_bytes),
    ] {
        assert_eq!(replayed(&content), rows, "{}", String::from_utf8_lossy(&content));
    }
    let ambiguous = format!("{HEADER}\r1/2/2013,S1,M,1,0,16\r1/13/2013,S1,M,1,0,16\r");
    assert_eq!(replayed(ambiguous.as_bytes()), ["2 bad_field", "2013-01-13T00:00:00Z: 1 + 0"]);
}

/// Compressed by the programs themselves.
#[test]
fn compressed_recordings_are_unpacked_as_they_are_read() {
    let content = format!("{METRIC}\n").repeat(3_000) + LATER;
    let whole = replayed(content.as_bytes());
    for packer in ["gzip", "bzip2", "xz", "zstd"] {
        let piped = std::process::Stdio::piped;
        let mut child = match std::process::Command::new(packer).arg("-c").stdin(piped()).stdout(piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                spindle_testkit::missing_tool(packer, &error).unwrap();
                continue;
            }
        };
        child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
        let packed = child.wait_with_output().unwrap().stdout;
        assert_eq!(replayed(&packed), whole, "{packer}");
        let half = &packed[..packed.len() / 2];
        let cut = Replay::open(file(half).path(), Options::default());
        let told =
            cut.map_or_else(|_| true, |mut cut| std::iter::from_fn(|| cut.next_batch()).any(|next| next.is_err()));
        assert!(told, "{packer}: a cut file is not a whole one");
        let twice = [&packed[..], &packed[..]].concat();
        let n_records = replayed(&twice).len();
        assert!(n_records > whole.len(), "{packer}: the second part is read too");
    }
}

/// Files packed once, so that every format is checked everywhere.
#[test]
fn a_packed_file_of_each_kind_is_read() {
    for packed in PACKED_FILES {
        assert_eq!(replayed(packed), ["2025-06-06T12:00:00Z: 1 + 0"]);
    }
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
            spindle_testkit::not_checked(&format!("the real fleet, {} is absent", path.display()));
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

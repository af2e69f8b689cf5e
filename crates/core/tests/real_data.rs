//! Every value of Backblaze's published files survives the wire format. The files are large and not ours, so they lie
//! beside the workspace (`../shared/data/backblaze`) or are absent; the test then reports that and checks nothing. The
//! unit tests of `backblaze` always check a small file with the same columns.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::fs;
use std::path::Path;

use spindle_core::backblaze::Columns;
use spindle_core::wire;

/// The counts are those of the files: rows, values, failures.
const FILES: [(&str, usize, usize, usize); 2] =
    [("2013-04-10.csv", 21_195, 105_975, 1), ("ST8000NM0055-last-day-2019.csv", 14_679, 308_259, 221)];

#[test]
fn the_real_fleet_goes_through_the_wire_without_loss() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/backblaze");
    for (file, n_rows, n_values, n_failures) in FILES {
        let path = data.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => assert_eq!(through_the_wire(&text), (n_rows, n_values, n_failures), "{file}"),
            Err(error) => eprintln!("NOT CHECKED: the real fleet, {} is absent: {error}", path.display()),
        }
    }
}

/// Invented rows with the same columns, for a check without the real data.
#[test]
fn a_small_file_goes_through_the_wire_without_loss() {
    assert_eq!(through_the_wire(include_str!("golden/drive_stats.csv")), (6, 64, 2));
}

/// Numbers of rows, metrics and events that came back unchanged. No field of these files is quoted.
fn through_the_wire(text: &str) -> (usize, usize, usize) {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let columns = Columns::from_header(&lines.next().unwrap()).unwrap();
    let (mut n_rows, mut n_metrics, mut n_events) = (0, 0, 0);
    let mut refused = Vec::new();
    for row in lines {
        let batch = columns.read(&row, &mut refused).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(wire::decode_metrics(&wire::encode_metrics(&batch.metrics)).items, batch.metrics);
        for event in &batch.events {
            assert_eq!(wire::decode_events(&wire::encode_event(event)).items[0], *event);
        }
        n_rows += 1;
        n_metrics += batch.metrics.len();
        n_events += batch.events.len();
    }
    (n_rows, n_metrics, n_events)
}

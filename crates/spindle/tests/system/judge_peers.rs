//! `spindle judge` on latencies in the wire format, and cohorts on a real cluster. The cluster's data is not ours and
//! lies beside the workspace; without it the test reports that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use spindle_core::cohort::{Cohorts, PeerSample, PeerSamples};
use spindle_core::{DeviceName, Timestamp};

use crate::harness::spindle;

/// Returns a line of the wire format: the latency of a drive in a minute of 2024-03-01.
fn metric(shelf: &str, slot: usize, minute: usize, latency_ms: f64) -> String {
    let (hour, minute) = (minute / 60, minute % 60);
    format!(
        "{{\"timestamp\":\"2024-03-01T{hour:02}:{minute:02}:00Z\",\"sourceDevice\":\"{shelf}/disk{slot}\",\
         \"metricType\":\"Latency\",\"value\":{latency_ms:.4},\"labels\":{{\"enclosure\":\"{shelf}\"}}}}\n"
    )
}

/// Returns four hours of two shelves with eight drives; a scrub slows shelf `a` from 02:00 on, and b/disk3 is slow then.
fn shelves() -> String {
    let mut lines = String::new();
    for minute in 0..240 {
        for slot in 0..8 {
            let wobble = 1.0 + 0.1 * ((minute * 7 + slot * 13) % 17) as f64 / 17.0;
            let late = minute >= 120;
            lines += &metric("a", slot, minute, if late { 4.0 } else { 1.0 } * 5.0 * wobble);
            lines += &metric("b", slot, minute, if late && slot == 3 { 2.0 } else { 1.0 } * 5.0 * wobble);
        }
    }
    lines
}

#[test]
fn the_slow_drive_of_a_shelf_is_scored_and_a_scrub_is_not() {
    const MIDNIGHT: i64 = 1_709_251_200;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics.ndjson");
    std::fs::write(&file, shelves()).unwrap();
    let output = spindle(folder.path()).arg("judge").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("device,ts,score,alarm"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 240 * 16);
    assert!(rows.is_sorted_by_key(|row| row[1].parse::<i64>().unwrap()));
    assert_eq!(rows[0][1].parse(), Ok(MIDNIGHT));
    let alarmed: BTreeSet<&str> = rows.iter().filter(|row| row[3] == "1").map(|row| row[0]).collect();
    assert_eq!(Vec::from_iter(alarmed), ["b/disk3"]);
    let first = rows.iter().find(|row| row[3] == "1").unwrap()[1].parse::<i64>().unwrap();
    assert!((0..5 * 60).contains(&(first - MIDNIGHT - 120 * 60)), "alarm at {first}");

    // A row uses itself and earlier rows alone.
    let head: String = shelves().lines().take(150 * 16).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, head).unwrap();
    let cut = spindle(folder.path()).arg("judge").arg(&file).output().unwrap();
    assert!(text.starts_with(&*String::from_utf8_lossy(&cut.stdout)), "later rows changed earlier scores");
}

#[test]
fn late_metrics_and_devices_without_peers_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics.ndjson");
    let lines = [metric("a", 0, 5, 5.0), metric("a", 1, 4, 5.0), "no metric\n".to_owned()];
    std::fs::write(&file, lines.concat()).unwrap();
    let output = spindle(folder.path()).arg("judge").arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "device,ts,score,alarm\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in
        ["earlier than a minute already judged", "nothing judged: no device has 3 peers", "2 records not judged"]
    {
        assert!(stderr.contains(part), "{stderr}");
    }
}

/// Minutes of a cluster: time in seconds, and the samples.
fn cluster(table: &str) -> BTreeMap<i64, PeerSamples> {
    let mut minutes: BTreeMap<i64, PeerSamples> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let device = DeviceName::new(&format!("{}/disk{}", cells[1], cells[2])).unwrap();
        let sample = PeerSample { cohort: cells[1].to_owned(), value: cells[4].parse().unwrap() };
        minutes.entry(cells[0].parse().unwrap()).or_default().insert(device, sample);
    }
    minutes
}

/// Returns the minutes from `from` to the first alarm of each device, counted in values of the device.
fn first_alarms(minutes: &BTreeMap<i64, PeerSamples>, from: i64) -> BTreeMap<String, usize> {
    let mut cohorts = Cohorts::default();
    let mut n_values: BTreeMap<DeviceName, usize> = BTreeMap::new();
    let mut first = BTreeMap::new();
    for (seconds, samples) in minutes {
        for verdict in cohorts.push(Timestamp::from_seconds(*seconds), samples) {
            let n_before = n_values.entry(verdict.device.clone()).or_default();
            if verdict.alarm {
                first.entry(verdict.device.to_string()).or_insert(*n_before);
            }
            *n_before += usize::from(*seconds >= from);
        }
    }
    first
}

#[test]
fn slow_drives_of_a_real_cluster_are_found_within_minutes_and_no_others_accused() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/failslow");
    let (Ok(packed), Ok(truth)) = (
        std::fs::File::open(data.join("cluster_A_hosts_11-30.csv.xz")),
        std::fs::read_to_string(data.join("truth.csv")),
    ) else {
        spindle_testkit::not_checked(&format!("slow drives of a real cluster, {} is incomplete", data.display()));
        return;
    };
    let mut table = String::new();
    lzma_rust2::XzReader::new(packed, true).read_to_string(&mut table).unwrap();
    let mut minutes = cluster(&table);
    let fourth_day = *minutes.keys().nth(3 * 180).unwrap();
    let _ = minutes.split_off(&fourth_day);
    let slow: BTreeSet<&str> = truth.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    let found = first_alarms(&minutes, 0);
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), slow);
    assert!(found.values().all(|after| *after <= 15), "{found:?}");

    // One healthy drive of each host becomes slower in the second day.
    let from = *minutes.keys().nth(180 + 40).unwrap();
    let hosts: BTreeSet<String> = minutes.values().flatten().map(|(_, sample)| sample.cohort.clone()).collect();
    let injected: BTreeMap<String, f64> = hosts
        .iter()
        .enumerate()
        .map(|(k, host)| (format!("{host}/disk{}", 1 + k % 7), [1.5, 2.0][k % 2]))
        .filter(|(device, _)| !slow.contains(device.as_str()))
        .collect();
    for (_, samples) in minutes.range_mut(from..) {
        for (device, sample) in samples {
            sample.value *= injected.get(device.as_str()).unwrap_or(&1.0);
        }
    }
    let found = first_alarms(&minutes, from);
    assert!(found.keys().all(|device| injected.contains_key(device) || slow.contains(device.as_str())), "{found:?}");
    for (factor, within) in [(2.0, 5), (1.5, 10)] {
        let mut waits: Vec<usize> = injected
            .iter()
            .filter(|(_, injected)| **injected == factor)
            .map(|(device, _)| *found.get(device).unwrap_or(&usize::MAX))
            .collect();
        waits.sort_unstable();
        assert!(waits[waits.len() / 2] <= within && waits[waits.len() - 1] < 60, "x{factor}: {waits:?}");
    }
}

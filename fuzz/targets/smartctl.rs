//! Arbitrary bytes as the output of smartctl: a report that the wire format accepts, or an error of one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spindle_core::smart::{parse, parse_scan};
use spindle_core::{DeviceMetric, DeviceName, Timestamp, metric, wire};
use spindle_fuzz::is_one_line;

fuzz_target!(|output: &[u8]| {
    if let Ok(targets) = parse_scan(output) {
        assert!(targets.iter().all(|target| target.path.starts_with('/')));
    }
    let report = match parse(output) {
        Ok(report) => report,
        Err(error) => return drop(is_one_line(error.to_string())),
    };
    if let Some(name) = report.identity.name() {
        assert!(name.chars().all(|ch| !ch.is_control()), "{name:?}");
    }
    assert!(!report.is_asleep() || report.values.is_empty());
    for (metric_type, value) in report.values {
        if metric::lookup(&metric_type).is_some_and(|kind| !(kind.min..=kind.max).contains(&value)) {
            continue;
        }
        let sent = DeviceMetric {
            timestamp: Timestamp::from_ns(1),
            source_device: DeviceName::new("d").expect("a letter is a name"),
            metric_type,
            value,
            seq: None,
            labels: None,
        };
        let decoded = wire::decode_metrics(&wire::encode_metrics(std::slice::from_ref(&sent)));
        assert_eq!(decoded.items, [sent], "the wire format accepts every value");
    }
});

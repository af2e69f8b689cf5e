//! Logs of self-tests. A failed test counts until a later one of the same or a longer kind passes.

use serde_json::Value;

use super::SmartReport;
use super::fields::{number, rows, text_at};

/// Entries of a SCSI log.
const N_SCSI: usize = 20;

/// Result of one test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// Aborted, interrupted, in progress or not known.
    Open,
}

struct SelfTest {
    outcome: Outcome,
    is_short: bool,
    description: String,
}

/// Adds the number of failed tests that no later one clears, if the drive keeps a log, and describes the newest.
pub(super) fn add(report: &mut SmartReport, document: &Value) {
    let Some(tests) = ata(document).or_else(|| nvme(document)).or_else(|| scsi(document)) else { return };
    let (mut is_short_passed, mut is_long_passed, mut n_failed) = (false, false, 0_u32);
    for test in tests {
        match test.outcome {
            Outcome::Passed if test.is_short => is_short_passed = true,
            Outcome::Passed => is_long_passed = true,
            Outcome::Failed if !(is_long_passed || test.is_short && is_short_passed) => {
                n_failed += 1;
                report.failed_self_test.get_or_insert(test.description);
            }
            Outcome::Failed | Outcome::Open => {}
        }
    }
    report.add("smart_self_tests_failed", f64::from(n_failed));
}

/// Reads the log of an ATA drive, newest first.
fn ata(document: &Value) -> Option<Vec<SelfTest>> {
    let log = ["/ata_smart_self_test_log/extended", "/ata_smart_self_test_log/standard"];
    let log = log.iter().find_map(|pointer| document.pointer(pointer))?;
    let tests = rows(log, "/table").map(|row| {
        // The high half is the result, the low half the part that remains.
        let outcome = match row.pointer("/status/value").and_then(Value::as_u64).map(|value| value >> 4) {
            Some(0) => Outcome::Passed,
            Some(3..=8) => Outcome::Failed,
            _ => Outcome::Open,
        };
        let kind = row.pointer("/type/value").and_then(Value::as_u64).map(|kind| kind & 0x7F);
        let is_short = kind == Some(1);
        SelfTest { outcome, is_short, description: describe(row, "/type/string", "/status/string", "/lifetime_hours") }
    });
    Some(tests.collect())
}

/// Reads the log of an NVMe drive, newest first.
fn nvme(document: &Value) -> Option<Vec<SelfTest>> {
    let log = document.pointer("/nvme_self_test_log")?;
    let tests = rows(log, "/table").map(|row| {
        let outcome = match row.pointer("/self_test_result/value").and_then(Value::as_u64) {
            Some(0) => Outcome::Passed,
            Some(5..=7) => Outcome::Failed,
            _ => Outcome::Open,
        };
        let is_short = row.pointer("/self_test_code/value").and_then(Value::as_u64) == Some(1);
        let description = describe(row, "/self_test_code/string", "/self_test_result/string", "/power_on_hours");
        SelfTest { outcome, is_short, description }
    });
    Some(tests.collect())
}

/// Reads the log of a SCSI drive, newest first: numbered fields.
fn scsi(document: &Value) -> Option<Vec<SelfTest>> {
    document.get("scsi_self_test_0")?;
    let rows = (0..N_SCSI).map_while(|index| document.get(format!("scsi_self_test_{index}")));
    let tests = rows.map(|row| {
        let outcome = match row.pointer("/result/value").and_then(Value::as_u64) {
            Some(0) => Outcome::Passed,
            Some(3..=7) => Outcome::Failed,
            _ => Outcome::Open,
        };
        // Background and foreground short tests.
        let is_short = matches!(row.pointer("/code/value").and_then(Value::as_u64), Some(1 | 5));
        let description = describe(row, "/code/string", "/result/string", "/power_on_time/hours");
        SelfTest { outcome, is_short, description }
    });
    Some(tests.collect())
}

fn describe(row: &Value, kind: &str, result: &str, hours: &str) -> String {
    let part = |pointer: &str| text_at(row, pointer).unwrap_or_else(|| "unknown".to_owned());
    let at = row.pointer(hours).and_then(number).map(|hours| format!(" at {hours} h")).unwrap_or_default();
    format!("{}: {}{at}", part(kind), part(result))
}

//! Advice: one imperative sentence for each finding, with the reason and who found it. The only place that says what to
//! do; verdicts and incidents take their sentences from here.

/// Finding about a device that has an advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// Sectors replaced by spares.
    Reallocated,
    /// Reads that failed after all corrections.
    Uncorrectable,
    /// Sectors that could not be read and wait for a write.
    Pending,
    /// Data damaged between interface and medium.
    EndToEnd,
    /// Starts of the spindle motor that had to be repeated.
    SpinRetries,
    /// Commands given up for lack of time.
    CommandTimeouts,
    /// Transfers with a wrong checksum.
    LinkErrors,
    /// Warmer than its peers, or than specified.
    Hot,
    /// Flash at the end of its rated writes.
    Worn,
    /// Drive that reports its own failure.
    SelfReported,
    /// Failure reported by the host, the array or the vendor's tool.
    Failed,
    /// Slower than its peers.
    Slow,
    /// Filling up.
    Full,
    /// Damaged data found by a scrub.
    Corrupt,
    /// Model that fails more often than the fleet.
    FailingModel,
    /// No data.
    Silent,
    /// Values that fit no known layout.
    NotUnderstood,
    /// Another drive under the same name.
    Replaced,
    /// Several devices of one enclosure at the same time.
    Together,
    /// Several metrics odd at the same time.
    Odd,
}

/// Advice for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Finding.
    pub finding: Finding,
    /// Action, as one imperative sentence.
    pub sentence: &'static str,
    /// Reason for the action.
    pub why: &'static str,
    /// Publications that support it.
    pub sources: &'static [&'static str],
}

const PINHEIRO: &str = "Pinheiro et al., Failure Trends in a Large Disk Drive Population, FAST 2007";
const BACKBLAZE: &str = "Backblaze, What SMART Stats Tell Us About Hard Drives, 2016";
const MA: &str = "Ma et al., RAIDShield, FAST 2015";
const BAIRAVASUNDARAM: &str = "Bairavasundaram et al., An Analysis of Data Corruption in the Storage Stack, FAST 2008";
const SMARTMONTOOLS: &str = "smartmontools, smartctl(8) and its FAQ";
const GUNAWI: &str = "Gunawi et al., Fail-Slow at Scale, FAST 2018";
const SCHROEDER: &str = "Schroeder et al., Flash Reliability in Production, FAST 2016";
const EL_SAYED: &str = "El-Sayed et al., Temperature Management in Data Centers, SIGMETRICS 2012";
const JIANG: &str = "Jiang et al., Are Disks the Dominant Contributor for Storage Failures?, FAST 2008";
const LU: &str = "Lu et al., Making Disk Failure Predictions SMARTer!, FAST 2020";
const NVME: &str = "NVM Express base specification, SMART / Health Information log";

/// All advice, in the order of [`Finding`].
pub const ADVICE: [Advice; 20] = [
    advice(
        Finding::Reallocated,
        "Copy the data off this drive and replace it.",
        "failure within 60 days is 14 times as likely after the first reallocation, and likelier with each more",
        &[PINHEIRO, MA],
    ),
    advice(
        Finding::Uncorrectable,
        "Copy the data off this drive and replace it.",
        "Backblaze replaces a drive as soon as it reports an uncorrectable read",
        &[BACKBLAZE, PINHEIRO],
    ),
    advice(
        Finding::Pending,
        "Scrub the array so that these sectors are rewritten, and replace the drive if the count rises again.",
        "a rewrite heals or remaps a pending sector; failure within 60 days is 16 times as likely after the first",
        &[PINHEIRO, SMARTMONTOOLS],
    ),
    advice(
        Finding::EndToEnd,
        "Check the data on this drive against a copy and replace the drive.",
        "data changed inside the drive, between its interface and its medium",
        &[BACKBLAZE],
    ),
    advice(
        Finding::SpinRetries,
        "Check the power supply of the drive and do not power it off before its data is copied.",
        "a motor that hardly starts may not start again",
        &[SMARTMONTOOLS],
    ),
    advice(
        Finding::CommandTimeouts,
        "Check power and cabling of the drive, then its controller.",
        "time-outs come from a weak supply or link more often than from the medium",
        &[BACKBLAZE],
    ),
    advice(
        Finding::LinkErrors,
        "Reseat or replace the cable of the drive.",
        "the checksum covers the way between drive and controller, so the medium is not at fault",
        &[SMARTMONTOOLS],
    ),
    advice(
        Finding::Hot,
        "Check fans, filters and air flow at the place of the drive.",
        "heat above the range of the data sheet, or swings of it, shortens the life of a drive",
        &[EL_SAYED, PINHEIRO],
    ),
    advice(
        Finding::Worn,
        "Plan the replacement of this drive.",
        "the vendor rates no writes beyond this point; most drives last longer, without a warranty",
        &[SCHROEDER, NVME],
    ),
    advice(
        Finding::SelfReported,
        "Copy the data off this drive now and replace it.",
        "the drive itself predicts its failure, which few do before it is near",
        &[SMARTMONTOOLS],
    ),
    advice(Finding::Failed, "Replace the drive and rebuild the array.", "it has failed", &[BACKBLAZE]),
    advice(
        Finding::Slow,
        "Take the drive out of service if it stays slower than its peers, and test it.",
        "one slow drive slows the whole array, and many such drives fail later",
        &[GUNAWI],
    ),
    advice(Finding::Full, "Free space or add capacity.", "a file system slows down and then refuses writes", &[GUNAWI]),
    advice(
        Finding::Corrupt,
        "Scrub the array and compare the damaged data with a copy.",
        "one damaged block makes further ones on the same drive likelier",
        &[BAIRAVASUNDARAM],
    ),
    advice(
        Finding::FailingModel,
        "Keep spares of this model at hand and check the backups of its drives.",
        "models differ in their failure rate by more than ten times",
        &[BACKBLAZE],
    ),
    advice(
        Finding::Silent,
        "Check that the device is powered, connected and still collected.",
        "a drive that stops answering has often failed, and no data is no sign of health",
        &[GUNAWI],
    ),
    advice(
        Finding::NotUnderstood,
        "Read the attributes with the tool of the vendor.",
        "vendors pack raw values in layouts of their own, and a guess could hide a failure",
        &[SMARTMONTOOLS],
    ),
    advice(
        Finding::Replaced,
        "Confirm that the drive was replaced on purpose.",
        "the history of the old drive says nothing about the new one",
        &[BACKBLAZE],
    ),
    advice(
        Finding::Together,
        "Check power, cabling and expander of the enclosure before any of its drives.",
        "failures of one shelf come together, and its interconnect causes more of them than many think",
        &[JIANG],
    ),
    advice(
        Finding::Odd,
        "Look for a change of load, place or cooling, and test the drive if there is none.",
        "latency and throughput beside SMART foretell failures that SMART alone misses",
        &[LU],
    ),
];

/// Returns the advice for a finding.
pub fn for_finding(finding: Finding) -> &'static Advice {
    &ADVICE[finding as usize]
}

/// Findings by the metric type beyond its limit, or the type of the event.
const BY_NAME: [(&str, Finding); 34] = [
    ("AnomaliesAgree", Finding::Odd),
    ("CapacityUsed", Finding::Full),
    ("DataCorruption", Finding::Corrupt),
    ("DiskTemp", Finding::Hot),
    ("DeviceSlow", Finding::Slow),
    ("DriveFailure", Finding::Failed),
    ("DriveReplaced", Finding::Replaced),
    ("FailurePredicted", Finding::SelfReported),
    ("FailureRiskRaised", Finding::Reallocated),
    ("FanFailure", Finding::Hot),
    ("Latency", Finding::Slow),
    ("LatencyRaised", Finding::Odd),
    ("PendingSectors", Finding::Pending),
    ("ReallocatedSectors", Finding::Reallocated),
    ("SelfTestFailed", Finding::SelfReported),
    ("ShelfOffline", Finding::Silent),
    ("SmartFailed", Finding::SelfReported),
    ("nvme_media_errors", Finding::Uncorrectable),
    ("nvme_percentage_used", Finding::Worn),
    ("scsi_grown_defects", Finding::Reallocated),
    ("scsi_pending_defects", Finding::Pending),
    ("scsi_percentage_used_endurance_indicator", Finding::Worn),
    ("scsi_read_total_uncorrected_errors", Finding::Uncorrectable),
    ("scsi_verify_total_uncorrected_errors", Finding::Uncorrectable),
    ("scsi_write_total_uncorrected_errors", Finding::Uncorrectable),
    ("smart_190_raw", Finding::Hot),
    ("smart_194_raw", Finding::Hot),
    ("smart_197_raw", Finding::Pending),
    ("smart_198_raw", Finding::Pending),
    ("smart_5_raw", Finding::Reallocated),
    ("smart_failed", Finding::SelfReported),
    ("smart_self_tests_failed", Finding::SelfReported),
    ("smart_stat_percentage_used", Finding::Worn),
    ("smart_usage_at_threshold", Finding::SelfReported),
];

/// Returns the advice for a metric type beyond its limit, or for an event type; `None` if there is none.
pub fn for_name(name: &str) -> Option<&'static Advice> {
    BY_NAME.iter().find(|(known, _)| *known == name).map(|(_, finding)| for_finding(*finding))
}

const fn advice(
    finding: Finding,
    sentence: &'static str,
    why: &'static str,
    sources: &'static [&'static str],
) -> Advice {
    Advice { finding, sentence, why, sources }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::METRICS;

    #[test]
    fn each_metric_with_a_limit_has_an_advice() {
        for kind in METRICS.iter().filter(|kind| kind.limits.is_some()) {
            assert!(for_name(kind.name).is_some(), "{}", kind.name);
        }
        assert_eq!(for_name("DriveFailure").unwrap().finding, Finding::Failed);
        assert_eq!(for_name("IOPs"), None);
    }

    #[test]
    fn each_finding_has_one_imperative_sentence_with_a_source() {
        for (index, advice) in ADVICE.iter().enumerate() {
            assert_eq!(advice.finding as usize, index, "{advice:?}");
            assert_eq!(for_finding(advice.finding), advice);
            let sentence = advice.sentence;
            assert!(sentence.ends_with('.') && sentence.matches('.').count() == 1, "{sentence}");
            assert!(sentence.starts_with(|first: char| first.is_ascii_uppercase()), "{sentence}");
            assert!(!advice.sources.is_empty() && !advice.why.is_empty(), "{advice:?}");
        }
    }
}

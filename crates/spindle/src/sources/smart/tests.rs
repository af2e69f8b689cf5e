//! The source with a `smartctl` made of a few lines of shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Longer than any script needs, unless it hangs.
const PATIENT: Duration = Duration::from_secs(30);
const HASTY: Duration = Duration::from_millis(300);

/// A directory with a `smartctl` and the state of the source.
struct Fake {
    directory: TempDir,
}

impl Fake {
    /// `reading` is the shell that answers for the device `$device`.
    fn new(devices: &[&str], reading: &str) -> Self {
        let fake = Self { directory: tempfile::tempdir().unwrap() };
        let listed: Vec<_> = devices.iter().map(|name| format!(r#"{{"name":"{name}","type":"sat"}}"#)).collect();
        let scan = format!(r#"{{"smartctl":{{"exit_status":0}},"devices":[{}]}}"#, listed.join(","));
        fake.write("scan.json", &scan);
        fake.write("version", "");
        fake.set(reading);
        fake
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn set(&self, reading: &str) {
        let here = self.path().display();
        let script = format!(
            "#!/bin/sh\ncd {here}\nfor device; do :; done\ncase \"$*\" in *--version*) cat version; exit 0;; *--scan*) cat scan.json; \
             exit 0;; esac\nname=$(basename \"$device\")\necho \"$*\" >>calls\n{reading}\n"
        );
        // Replaced, not overwritten: a script that runs cannot be written to.
        self.write("draft", &script);
        fs::set_permissions(self.path().join("draft"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(self.path().join("draft"), self.path().join("smartctl")).unwrap();
    }

    fn options(&self, timeout: Duration) -> SmartOptions {
        SmartOptions {
            program: self.path().join("smartctl"),
            targets: Vec::new(),
            is_scanning: true,
            timeout,
            hostname: "box".to_owned(),
            roots: Roots { proc: "/nowhere".into(), sys: "/nowhere".into(), run: "/nowhere".into() },
            register: None,
            states: Some(self.path().join("states.json")),
        }
    }

    fn source(&self, timeout: Duration) -> Smart {
        Smart::new(self.options(timeout))
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path().join("calls")).unwrap_or_default()
    }
}

/// A drive named after its device that says `passed`, in shell.
fn drive(passed: bool, exit_status: u8) -> String {
    format!(
        r#"echo "{{\"smartctl\":{{\"exit_status\":{exit_status}}},\"device\":{{}},\"model_name\":\"ACME 1\",\"serial_number\":\"ZQ1004$name\",\"smart_status\":{{\"passed\":{passed}}},\"temperature\":{{\"current\":30}}}}"; exit {exit_status}"#
    )
}

fn said(text: &str) -> String {
    format!(
        r#"echo '{{"smartctl":{{"exit_status":2,"messages":[{{"string":"{text}","severity":"error"}}]}},"device":{{}}}}'; exit 2"#
    )
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn devices(batch: &Batch) -> BTreeSet<&str> {
    batch.metrics.iter().map(|metric| metric.source_device.as_str()).collect()
}

fn kinds(batch: &Batch) -> Vec<&str> {
    batch.events.iter().map(|event| event.event_type.as_str()).collect()
}

fn values<'a>(batch: &'a Batch, metric: &str) -> Vec<(&'a str, f64)> {
    let of_type = batch.metrics.iter().filter(|found| found.metric_type.as_str() == metric);
    of_type.map(|found| (found.source_device.as_str(), found.value)).collect()
}

#[tokio::test]
async fn drives_are_read_under_their_names_with_their_labels() {
    let fake = Fake::new(&["/dev/sda", "/dev/sdb"], &drive(true, 64));
    let mut source = fake.source(PATIENT);
    let batch = source.poll(at(1)).await;
    assert_eq!(devices(&batch), BTreeSet::from(["ACME_1_ZQ1004sda", "ACME_1_ZQ1004sdb"]));
    assert_eq!(values(&batch, "smart_failed"), [("ACME_1_ZQ1004sda", 0.0), ("ACME_1_ZQ1004sdb", 0.0)]);
    let labels = batch.metrics[0].labels.as_ref().unwrap();
    assert_eq!((labels["host"].as_str(), labels["name"].as_str(), labels["model"].as_str()), ("box", "sda", "ACME 1"));
    assert_eq!((batch.events.len(), source.problems().n_total(), source.counts()), (0, 0, (2, 0)));
    assert!(fake.calls().contains("--nocheck=standby --device=sat /dev/sda"), "{}", fake.calls());
}

#[tokio::test]
async fn the_farm_log_is_read_by_a_smartctl_that_knows_it() {
    for (version, is_read) in [
        ("", false),
        ("smartctl 7.3 2022-02-28 r5338 [x86_64-linux-6.1] (local build)\n", false),
        ("smartctl 7.4 2023-08-01 r5530 [x86_64-linux-6.12] (local build)\n", true),
        ("smartctl 8.0 2027-01-01\n", true),
        ("smartctl pre-7.5\n", false),
    ] {
        let fake = Fake::new(&["/dev/sda"], &drive(true, 0));
        fake.write("version", version);
        fake.source(PATIENT).poll(at(1)).await;
        assert_eq!(fake.calls().contains(" --log=farm "), is_read, "{version}: {}", fake.calls());
        assert!(fake.calls().contains("--log=devstat"), "{}", fake.calls());
    }
}

#[tokio::test]
async fn a_failure_is_an_event_once_also_over_restarts() {
    let fake = Fake::new(&["/dev/sda"], &drive(false, 8));
    let mut source = fake.source(PATIENT);
    let first = source.poll(at(1)).await;
    assert_eq!(kinds(&first), ["SmartFailed"]);
    assert_eq!(first.events[0].criticality.level(), 9);
    // A kill before the events are handed on: the same ones again.
    drop(source);
    let mut source = fake.source(PATIENT);
    assert_eq!(source.unconfirmed_events(), first.events);
    assert_eq!(kinds(&source.poll(at(2)).await), [""; 0]);
    assert_eq!(fake.source(PATIENT).unconfirmed_events(), []);
    // An unreadable drive is no good news.
    fake.set(&said("Smartctl open device: /dev/sda failed: No such device"));
    assert_eq!(kinds(&source.poll(at(3)).await), [""; 0]);
    fake.set(&drive(true, 0));
    assert_eq!(kinds(&source.poll(at(4)).await), ["SmartRecovered"]);
    assert_eq!(kinds(&source.poll(at(5)).await), [""; 0]);
}

#[tokio::test]
async fn a_drive_that_hangs_holds_up_no_other_and_is_left_alone() {
    let hang = format!("[ $name = sdb ] && {{ sleep 1000; exit; }}\n{}", drive(true, 0));
    let fake = Fake::new(&["/dev/sda", "/dev/sdb"], &hang);
    let mut source = fake.source(HASTY);
    for poll in 1..=2 {
        assert_eq!(devices(&source.poll(at(poll)).await), BTreeSet::from(["ACME_1_ZQ1004sda"]));
    }
    let n_hung = fake.calls().matches("/dev/sdb").count();
    assert_eq!(n_hung, 1, "left alone in the second poll: {}", fake.calls());
    let lines = source.take_log_lines();
    assert!(lines.iter().any(|(kind, line)| *kind == ProblemKind::NoAnswer && line.contains("/dev/sdb")), "{lines:?}");
    fake.set(&drive(true, 0));
    let mut n_polls = 3;
    while devices(&source.poll(at(n_polls)).await).len() < 2 {
        n_polls += 1;
        assert!(n_polls < 50_000, "it answers again");
    }
}

#[tokio::test]
async fn a_slow_drive_is_read() {
    let fake = Fake::new(&["/dev/sda"], &format!("sleep 0.4\n{}", drive(true, 0)));
    assert_eq!(devices(&fake.source(PATIENT).poll(at(1)).await).len(), 1);
}

#[tokio::test]
async fn a_drive_in_standby_is_asleep_under_its_name() {
    let fake = Fake::new(&["/dev/sda"], &drive(true, 0));
    let mut source = fake.source(PATIENT);
    assert_eq!(values(&source.poll(at(1)).await, "smart_standby"), [("ACME_1_ZQ1004sda", 0.0)]);
    fake.set(&said("Device is in STANDBY mode, exit(2)"));
    let batch = source.poll(at(2)).await;
    assert_eq!(values(&batch, "smart_standby"), [("ACME_1_ZQ1004sda", 1.0)]);
    assert_eq!((batch.metrics.len(), source.counts(), source.problems().n_total()), (1, (0, 1), 0));
}

#[tokio::test]
async fn every_problem_is_one_line_that_says_what_to_do() {
    for (reading, kind, text) in [
        ("echo '{'".to_owned(), ProblemKind::Unparsable, "smartctl 7.0 or newer"),
        ("echo usage: smartctl".to_owned(), ProblemKind::Unparsable, "smartctl 7.0 or newer"),
        (said("Smartctl open device: /dev/sda failed: Permission denied"), ProblemKind::NoRights, "run as root"),
        (said("Smartctl open device: /dev/sda failed: No such device"), ProblemKind::Unreadable, "No such device"),
        ("yes".to_owned(), ProblemKind::Unparsable, "not JSON"),
    ] {
        let fake = Fake::new(&["/dev/sda"], &reading);
        let mut source = fake.source(PATIENT);
        for poll in 1..=3 {
            assert_eq!(source.poll(at(poll)).await, Batch::default(), "{reading}");
        }
        let lines = source.take_log_lines();
        assert_eq!(lines.len(), 1, "{reading}: {lines:?}");
        assert!(lines[0].0 == kind && lines[0].1.contains(text) && !lines[0].1.contains('\n'), "{lines:?}");
    }
    let fake = Fake::new(&[], "");
    let missing = SmartOptions { program: "no-such-smartctl".into(), ..fake.options(PATIENT) };
    let mut source = Smart::new(missing);
    source.poll(at(1)).await;
    source.poll(at(2)).await;
    let lines = source.take_log_lines();
    assert!(lines.len() == 1 && lines[0].1.contains("install smartmontools"), "{lines:?}");
    let mut nothing = fake.source(PATIENT);
    nothing.poll(at(1)).await;
    assert_eq!(nothing.take_log_lines()[0].0, ProblemKind::NoDisk);
}

#[tokio::test]
async fn drives_behind_a_controller_are_listed_by_type() {
    let fake = Fake::new(&["/dev/sda"], &drive(true, 4));
    let target = |kind: &str| SmartTarget { path: "/dev/bus/0".to_owned(), device_type: Some(kind.to_owned()) };
    let options = SmartOptions {
        targets: vec![target("megaraid,0"), target("megaraid,1")],
        is_scanning: false,
        ..fake.options(PATIENT)
    };
    // Both say that they are the same drive.
    let mut source = Smart::new(options);
    let batch = source.poll(at(1)).await;
    assert_eq!(devices(&batch).len(), 1);
    assert!(fake.calls().contains("--device=megaraid,1 /dev/bus/0"), "{}", fake.calls());
    let lines = source.take_log_lines();
    assert!(lines.iter().all(|(kind, _)| kind.is_notice()), "{lines:?}");
    assert!(lines.iter().any(|(_, line)| line.contains("another way to ACME_1_ZQ10040")), "{lines:?}");
}

#[tokio::test]
async fn a_device_that_vanishes_harms_no_other() {
    let fake = Fake::new(&["/dev/sda", "/dev/sdb"], &drive(true, 0));
    let mut source = fake.source(PATIENT);
    assert_eq!(devices(&source.poll(at(1)).await).len(), 2);
    let gone = format!("[ $name = sdb ] && {{ kill -9 $$; }}\n{}", drive(true, 0));
    fake.set(&gone);
    assert_eq!(devices(&source.poll(at(2)).await).len(), 1);
    fake.write("scan.json", r#"{"smartctl":{},"devices":[{"name":"/dev/sda","type":"sat"}]}"#);
    assert_eq!(devices(&source.poll(at(3)).await).len(), 1);
}

/// Both sources of this machine must report one device.
#[tokio::test]
async fn a_drive_that_the_kernel_shows_has_the_name_of_the_host_source() {
    let fake = Fake::new(&["/dev/sdq", "/dev/nvme7"], &drive(true, 0));
    let block = |name: &str, files: &[(&str, &str)]| {
        let directory = fake.path().join("sys/block").join(name);
        fs::create_dir_all(directory.join("device")).unwrap();
        fs::write(directory.join("size"), "2048\n").unwrap();
        files.iter().for_each(|(file, text)| fs::write(directory.join(file), text).unwrap());
    };
    // The kernel's serial number of a USB bridge is another than that of the drive in it.
    block("sdq", &[("device/model", "Bridge"), ("device/serial", "USB47110815")]);
    block("nvme3n1", &[("nsid", "1"), ("device/model", "ACME NV"), ("device/serial", "ZQ1004nvme7")]);
    let roots = Roots { sys: fake.path().join("sys"), ..fake.options(PATIENT).roots };
    let register = fake.path().join("host-devices.json");
    super::super::host::Host::new(roots.clone(), "box", Some(register.clone())).sample(at(1));
    let mut source = Smart::new(SmartOptions { roots, ..fake.options(PATIENT) });
    let batch = source.poll(at(1)).await;
    assert_eq!(devices(&batch), BTreeSet::from(["Bridge_USB47110815", "ACME_NV_ZQ1004nvme7"]));
    let known = fs::read_to_string(register).unwrap();
    assert!(devices(&batch).iter().all(|name| known.contains(&format!("\"{name}\":"))), "{known}");
}

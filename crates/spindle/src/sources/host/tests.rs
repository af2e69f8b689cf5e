//! The host source over a made-up machine in a temporary directory, and once over this one.

mod activity;
mod block;
mod file_systems;
mod identity;
mod moves;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use spindle_core::wire;
use tempfile::TempDir;

use super::*;

const IDLE: &str = "100 0 800 50 20 0 160 30 0 60 80 0 0 0 0 0 0";

/// A machine whose kernel views are files written by the test.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap() };
        for directory in ["proc/self", "sys/block", "sys/class/block", "sys/class/hwmon"] {
            fs::create_dir_all(machine.path(directory)).unwrap();
        }
        machine.write("proc/self/mountinfo", "");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, from: &str, to: &str) {
        fs::create_dir_all(self.path(from).parent().unwrap()).unwrap();
        let _ = fs::remove_file(self.path(from));
        symlink(self.path(to), self.path(from)).unwrap();
    }

    /// A disk of 1 MiB below `device`, as sysfs lays it out.
    fn disk(&self, name: &str, device: &str) {
        let block = format!("{device}/block/{name}");
        self.write(&format!("{block}/size"), "2048\n");
        self.write(&format!("{block}/stat"), IDLE);
        self.link(&format!("{block}/device"), device);
        self.link(&format!("sys/block/{name}"), &block);
        self.link(&format!("sys/class/block/{name}"), &block);
    }

    /// Removes a disk from the kernel's lists, as when it is unplugged.
    fn unplug(&self, name: &str) {
        for class in ["block", "class/block"] {
            fs::remove_file(self.path("sys").join(class).join(name)).unwrap();
        }
    }

    fn stat(&self, name: &str, content: &str) {
        fs::write(self.path("sys/block").join(name).join("stat"), content).unwrap();
    }

    fn host(&self) -> Host {
        self.host_with_register(None)
    }

    fn host_with_register(&self, register: Option<PathBuf>) -> Host {
        let roots = Roots { proc: self.path("proc"), sys: self.path("sys"), run: self.path("run") };
        Host::new(roots, "vm1", register)
    }
}

/// Samples at `seconds` after the start: `device metric value`.
fn sample(host: &mut Host, seconds: u64) -> Vec<String> {
    let batch = host.sample_at(Timestamp::from_seconds(1_000), Duration::from_secs(seconds));
    assert_eq!(wire::decode_metrics(&wire::encode_metrics(&batch.metrics)).items, batch.metrics);
    batch
        .metrics
        .iter()
        .map(|metric| format!("{} {} {}", metric.source_device, metric.metric_type, metric.value))
        .collect()
}

fn problems(host: &Host) -> Vec<(&'static str, u64)> {
    host.problems().iter().map(|(kind, n_problems, _)| (kind.as_str(), n_problems)).collect()
}

#[test]
fn rates_come_with_the_second_sample() {
    let machine = Machine::new();
    machine.disk("vda", "sys/devices/virtio1");
    let mut host = machine.host();
    assert_eq!(sample(&mut host, 0), Vec::<String>::new());
    machine.stat("vda", "130 0 2800 110 30 0 660 170 0 5060 2080");
    let rates =
        ["IOPs 4", "ReadThroughput 102400", "WriteThroughput 25600", "Utilization 50", "QueueDepth 0.2", "Latency 5"];
    assert_eq!(sample(&mut host, 10), rates.map(|rate| format!("vm1:vda {rate}")));
    assert!(!sample(&mut host, 20).iter().any(|line| line.contains("Latency")), "nothing completed");
    assert!(sample(&mut host, 20).is_empty(), "no rates without an interval");
    assert_eq!((host.n_drives, host.problems().n_total()), (Some(1), 0));
}

#[test]
fn fallen_counters_and_another_disk_give_no_rates() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.write("sys/devices/0:0:0:0/block/sda/diskseq", "7\n");
    let mut host = machine.host();
    sample(&mut host, 0);
    machine.stat("sda", "1 0 8 1 0 0 0 0 0 1 1");
    assert!(sample(&mut host, 10).is_empty());
    assert_eq!(problems(&host), [("counters_fell", 1)]);
    assert_eq!(sample(&mut host, 20).len(), 5, "the next interval counts again");

    machine.write("sys/devices/0:0:0:0/block/sda/diskseq", "8\n");
    machine.stat("sda", "900000 0 900000 9 9 9 9 9 0 9 9");
    assert!(sample(&mut host, 30).is_empty(), "a busier disk under the same name");
    assert_eq!(sample(&mut host, 40).len(), 5);
    assert_eq!(host.problems().n_total(), 1);
}

#[test]
fn a_sick_disk_harms_no_other() {
    let machine = Machine::new();
    for name in ["sda", "sdb", "sdc", "sdd", "sde"] {
        machine.disk(name, &format!("sys/devices/{name}"));
    }
    let mut host = machine.host();
    sample(&mut host, 0);
    fs::remove_file(machine.path("sys/block/sda/stat")).unwrap();
    machine.stat("sdb", "what?");
    fs::remove_file(machine.path("sys/block/sdc")).unwrap();
    machine.stat("sdd", "100 0 18446744073709551615 50 20 0 160 30 0 60 80");
    let lines = sample(&mut host, 10);
    assert_eq!(lines.iter().filter(|line| line.starts_with("vm1:sde")).count(), 5, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("vm1:sdd")).count(), 4, "all but the value out of range");
    assert_eq!(lines.len(), 9);
    assert_eq!(problems(&host), [("unreadable", 1), ("unparsable", 1), ("out_of_range", 1)]);
    let named: Vec<_> = host.take_log_lines().into_iter().map(|(_, message)| message).collect();
    for bad in ["sda/stat", "sdb/stat", "vm1:sdd"] {
        assert_eq!(named.iter().filter(|line| line.contains(bad)).count(), 1, "{named:?}");
    }
    sample(&mut host, 15);
    assert!(host.take_log_lines().is_empty(), "named once");
    assert_eq!(host.n_drives, Some(4));

    machine.stat("sdb", IDLE);
    assert!(!sample(&mut host, 20).iter().any(|line| line.starts_with("vm1:sdb")), "back, but its counters start over");
}

#[test]
fn temperatures_find_their_disks() {
    let machine = Machine::new();
    let sensor = |hwmon: &str, driver: &str, device: &str, input: &str| {
        machine.write(&format!("sys/class/hwmon/{hwmon}/name"), format!("{driver}\n"));
        machine.link(&format!("sys/class/hwmon/{hwmon}/device"), device);
        machine.write(&format!("sys/class/hwmon/{hwmon}/temp1_input"), input);
    };
    for (name, device) in
        [("sda", "sys/devices/0:0:0:0"), ("sdb", "sys/devices/1:0:0:0"), ("sdc", "sys/devices/2:0:0:0")]
    {
        machine.disk(name, device);
    }
    machine.disk("nvme0n1", "sys/devices/pci1/nvme/nvme0");
    machine.disk("nvme1n1", "sys/devices/nvme-subsystem/nvme-subsys1");
    machine.write("sys/devices/pci2/nvme/nvme1/model", "x");
    machine.link("sys/devices/nvme-subsystem/nvme-subsys1/nvme1", "sys/devices/pci2/nvme/nvme1");
    sensor("hwmon0", "drivetemp", "sys/devices/0:0:0:0", "31000\n");
    sensor("hwmon1", "drivetemp", "sys/devices/1:0:0:0", "127000\n");
    sensor("hwmon2", "drivetemp", "sys/devices/2:0:0:0", "hot\n");
    sensor("hwmon3", "nvme", "sys/devices/pci1", "41850\n");
    sensor("hwmon4", "nvme", "sys/devices/pci2/nvme/nvme1", "-5000\n");
    sensor("hwmon5", "coretemp", "sys/devices", "70000\n");
    let mut host = machine.host();
    assert_eq!(sample(&mut host, 0), ["vm1:nvme0n1 DiskTemp 41.85", "vm1:nvme1n1 DiskTemp -5", "vm1:sda DiskTemp 31"]);
    assert_eq!(problems(&host), [("unparsable", 1), ("not_kept", 1)]);
    sample(&mut host, 10);
    assert_eq!(problems(&host), [("unparsable", 2), ("not_kept", 1)], "a sentinel is named once");
}

#[test]
fn the_limits_of_a_drive_are_stated_twice_a_minute() {
    let machine = Machine::new();
    for (name, hwmon, rotational) in [("nvme0n1", "hwmon0", "0\n"), ("sda", "hwmon1", "1\n")] {
        machine.disk(name, &format!("sys/devices/{name}"));
        machine.write(&format!("sys/block/{name}/queue/rotational"), rotational);
        machine.write(&format!("sys/class/hwmon/{hwmon}/name"), "drivetemp\n");
        machine.link(&format!("sys/class/hwmon/{hwmon}/device"), &format!("sys/devices/{name}"));
        machine.write(&format!("sys/class/hwmon/{hwmon}/temp1_input"), "31000\n");
    }
    // A drive that has no limit reports 65,261 °C or -1 °C.
    for (limit, millidegrees) in
        [("0/temp1_max", 81_850), ("0/temp1_crit", 84_850), ("1/temp1_max", 65_261_850), ("1/temp1_crit", -1000)]
    {
        machine.write(&format!("sys/class/hwmon/hwmon{limit}"), format!("{millidegrees}\n"));
    }
    let mut host = machine.host();
    let stated =
        ["nvme0n1 DiskTempCritical 84.85", "nvme0n1 DiskTempWarning 81.85", "nvme0n1 IsFlash 1", "sda IsFlash 0"];
    for (second, expected) in [(0, &stated[..]), (29, &[]), (30, &stated), (31, &[])] {
        let lines = sample(&mut host, second);
        let of_limits: Vec<_> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("vm1:"))
            .filter(|line| line.contains("DiskTempC") || line.contains("DiskTempW") || line.contains("IsFlash"))
            .collect();
        assert_eq!(of_limits, expected, "{second}");
        assert_eq!(lines.iter().filter(|line| line.ends_with(" DiskTemp 31")).count(), 2, "{lines:?}");
    }
    assert_eq!(problems(&host), []);
}

#[test]
fn a_machine_without_disks_says_so_once() {
    let mut empty = Machine::new().host();
    let nowhere = Path::new("/nonexistent");
    empty.roots = Roots { proc: nowhere.into(), sys: nowhere.into(), run: nowhere.into() };
    assert!(sample(&mut empty, 0).is_empty());
    assert_eq!(problems(&empty), [("unreadable", 2), ("no_disk", 1)]);

    let machine = Machine::new();
    let mut host = machine.host();
    assert!(sample(&mut host, 0).is_empty());
    assert!(sample(&mut host, 10).is_empty());
    assert_eq!(problems(&host), [("no_disk", 1)], "counted once");
    assert!(host.is_bare());
    machine.disk("sda", "sys/devices/0:0:0:0");
    sample(&mut host, 20);
    assert!(!host.is_bare());
    fs::remove_file(machine.path("sys/block/sda")).unwrap();
    sample(&mut host, 30);
    assert_eq!(problems(&host), [("no_disk", 2)], "counted again when the last one vanishes");
}

#[test]
fn a_host_name_that_is_none_is_counted() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    let mut host = machine.host();
    host.hostname = "line\nbreak".to_owned();
    assert!(sample(&mut host, 0).is_empty());
    assert_eq!(problems(&host), [("bad_name", 1)]);
}

/// The machine that runs the tests: the wire format accepts its metrics, whatever they are.
#[test]
fn this_machine_says_something_sensible() {
    let mut host = Host::new(Roots::default(), "here", None);
    let first = sample(&mut host, 0);
    if host.n_drives == Some(0) {
        spindle_testkit::not_checked("this machine, it has no disk");
        return;
    }
    let second = sample(&mut host, 10);
    let n_active = second.iter().filter(|line| line.contains("IOPs")).count();
    let n_unknown = host.take_log_lines().iter().filter(|(_, message)| message.starts_with(ACTIVITY)).count();
    assert_eq!(Some(n_active + n_unknown), host.n_drives, "{second:?} {:?}", host.problems());
    assert!(
        first.iter().all(|line| ["CapacityUsed", "DiskTemp", "IsFlash"].iter().any(|kind| line.contains(kind))),
        "{first:?}"
    );
}

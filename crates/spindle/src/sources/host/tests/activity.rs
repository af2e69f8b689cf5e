//! Counters that the kernel keeps only in part, or not at all: the value is absent and that is said once.

use super::*;

fn metrics(host: &mut Host, seconds: u64) -> Vec<String> {
    sample(host, seconds).into_iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

/// A multipath NVMe disk with hidden paths.
fn nvme(machine: &Machine, paths: &[&str]) {
    machine.disk("nvme0n1", "sys/devices/nvme-subsystem/nvme-subsys0");
    for path in paths {
        machine.disk(path, &format!("sys/devices/{path}"));
        machine.write(&format!("sys/devices/{path}/block/{path}/hidden"), "1\n");
    }
}

#[test]
fn a_busy_path_of_a_silent_nvme_head_is_the_disk() {
    for head in [IDLE, "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"] {
        let machine = Machine::new();
        nvme(&machine, &["nvme0c0n1", "nvme0c1n1"]);
        machine.stat("nvme0n1", head);
        let mut host = machine.host();
        metrics(&mut host, 0);
        machine.stat("nvme0c1n1", "130 0 2800 110 30 0 660 170 0 5060 2080");
        let rates = [
            "IOPs 4",
            "ReadThroughput 102400",
            "WriteThroughput 25600",
            "Utilization 50",
            "QueueDepth 0.2",
            "Latency 5",
        ];
        assert_eq!(metrics(&mut host, 10), rates, "one path is busy");
        assert!(!problems(&host).iter().any(|(kind, _)| *kind == "not_kept"));

        machine.stat("nvme0c0n1", "200 0 2800 150 30 0 660 130 0 4060 1080");
        machine.stat("nvme0c1n1", "230 0 2800 210 30 0 660 170 0 9060 3080");
        let both = metrics(&mut host, 20);
        assert!(both.contains(&"IOPs 21".to_owned()), "{both:?}");
        assert!(!both.iter().any(|line| line.starts_with("Utilization")), "the busy times of two paths overlap");
        assert_eq!(metrics(&mut host, 30).len(), 5, "idle, as the paths say");
    }
}

#[test]
fn a_path_that_is_not_counted_makes_the_sum_unknown_and_a_standby_path_does_not() {
    let machine = Machine::new();
    nvme(&machine, &["nvme0c0n1", "nvme0c1n1"]);
    machine.stat("nvme0n1", "0 0 0 0 0 0 0 0 0 0 0");
    machine.stat("nvme0c1n1", "0 0 0 0 0 0 0 0 0 0 0");
    let mut host = machine.host();
    metrics(&mut host, 0);
    machine.stat("nvme0c0n1", "130 0 2800 110 30 0 660 170 0 5060 2080");
    assert!(metrics(&mut host, 10).contains(&"IOPs 4".to_owned()), "the other path is on standby");
    machine.write("sys/block/nvme0c1n1/queue/iostats", "0\n");
    machine.stat("nvme0c1n1", "1 0 8 1 0 0 0 0 0 1 1");
    fs::create_dir_all(machine.path("sys/block/nvme0c1n1/mq")).unwrap();
    assert!(metrics(&mut host, 20).is_empty(), "half of the requests are not the drive's");
    assert!(problems(&host).contains(&("not_kept", 1)), "said once; the hidden paths are named as such");
}

#[test]
fn a_head_that_counts_is_believed() {
    let machine = Machine::new();
    nvme(&machine, &["nvme0c0n1"]);
    let mut host = machine.host();
    metrics(&mut host, 0);
    machine.stat("nvme0n1", "130 0 2800 110 30 0 660 170 0 5060 2080");
    machine.stat("nvme0c0n1", "131 0 2800 110 30 0 660 170 0 5060 2080");
    assert!(metrics(&mut host, 10).contains(&"IOPs 4".to_owned()));
}

#[test]
fn a_disk_whose_counters_never_moved_has_no_rates() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.stat("sda", "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
    let mut host = machine.host();
    for seconds in [0, 10, 20] {
        assert!(metrics(&mut host, seconds).is_empty());
    }
    assert_eq!(problems(&host), [("not_kept", 1)]);
    let lines = host.take_log_lines();
    assert!(lines[0].1.contains("vm1:sda") && lines[0].0.is_notice(), "{lines:?}");
    machine.stat("sda", "9 0 72 9 0 0 0 0 0 9 9");
    assert!(metrics(&mut host, 30).contains(&"IOPs 0.9".to_owned()), "once they move, they count");
}

#[test]
fn switched_off_statistics_are_no_idle_disk() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.write("sys/block/sda/queue/iostats", "0\n");
    fs::create_dir_all(machine.path("sys/block/sda/mq")).unwrap();
    let mut host = machine.host();
    metrics(&mut host, 0);
    assert!(metrics(&mut host, 10).is_empty());
    machine.stat("sda", "101 0 808 51 20 0 160 30 0 61 81");
    assert!(metrics(&mut host, 20).is_empty(), "a request in flight while they were switched off");
    machine.write("sys/block/sda/queue/iostats", "1\n");
    machine.stat("sda", "111 0 888 61 20 0 160 30 0 71 91");
    assert!(metrics(&mut host, 30).is_empty(), "switched on within the interval");
    assert_eq!(metrics(&mut host, 40).len(), 5);
    assert_eq!(problems(&host), [("not_kept", 1)]);
}

#[test]
fn a_driver_without_queues_may_count_by_itself() {
    let machine = Machine::new();
    machine.write("sys/block/md0/size", "2048");
    machine.write("sys/block/md0/stat", IDLE);
    machine.write("sys/block/md0/queue/iostats", "0\n");
    let mut host = machine.host();
    metrics(&mut host, 0);
    assert!(metrics(&mut host, 10).is_empty(), "it may be idle, or not counted");
    machine.stat("md0", "110 0 880 60 20 0 160 30 0 70 90");
    assert!(metrics(&mut host, 20).contains(&"IOPs 1".to_owned()));
    assert!(metrics(&mut host, 30).contains(&"IOPs 0".to_owned()), "known to count: it is idle");
}

#[test]
fn times_that_are_not_kept_are_absent() {
    let machine = Machine::new();
    machine.write("sys/block/md0/size", "2048");
    machine.write("sys/block/md0/stat", "100 0 800 0 20 0 160 0 0 0 0");
    let mut host = machine.host();
    metrics(&mut host, 0);
    for (seconds, reads) in [(10, 200), (20, 300)] {
        machine.stat("md0", &format!("{reads} 0 800 0 20 0 160 0 0 0 0"));
        assert_eq!(metrics(&mut host, seconds), ["IOPs 10", "ReadThroughput 0", "WriteThroughput 0"]);
    }
    assert_eq!(problems(&host), [("not_kept", 1)]);
    assert!(host.take_log_lines()[0].1.contains("Latency, Utilization and QueueDepth"));

    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.stat("sda", "9 0 72 0 0 0 0 0 0 0 0");
    sample(&mut host, 30);
    machine.stat("sda", "19 0 152 0 0 0 0 0 0 0 0");
    let lines = sample(&mut host, 40);
    assert_eq!(lines.iter().filter(|line| line.starts_with("vm1:sda")).count(), 3, "below a millisecond is not 0");
    assert_eq!(problems(&host), [("not_kept", 1)], "and is no proof");
}

#[test]
fn a_single_time_that_stands_still_costs_only_itself() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    let mut host = machine.host();
    metrics(&mut host, 0);
    machine.stat("sda", "1100 0 9600 5050 20 0 160 30 0 60 5080");
    let found = metrics(&mut host, 10);
    assert!(!found.iter().any(|line| line.starts_with("Utilization")), "a thousand requests take time: {found:?}");
    assert!(found.contains(&"Latency 5".to_owned()) && found.contains(&"QueueDepth 0.5".to_owned()), "{found:?}");
}

#[test]
fn requests_that_hang_are_not_idleness() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.stat("sda", "100 0 800 50 20 0 160 30 4 60 80");
    let mut host = machine.host();
    metrics(&mut host, 0);
    assert_eq!(metrics(&mut host, 10), ["IOPs 0", "ReadThroughput 0", "WriteThroughput 0"]);
    machine.stat("sda", "100 0 800 50 20 0 160 30 4 10060 80");
    assert!(metrics(&mut host, 20).contains(&"Utilization 100".to_owned()), "since 5.18 the kernel adds busy time");
}

#[test]
fn wraps_and_odd_fields_cost_no_disk() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.stat("sda", "100 0 800 4294967290 20 0 160 30 0 60 4294967000");
    let mut host = machine.host();
    metrics(&mut host, 0);
    machine.stat("sda", "110 0 700 44 20 0 160 30 0 x 704");
    let found = metrics(&mut host, 10);
    assert_eq!(found, ["IOPs 1", "WriteThroughput 0", "QueueDepth 0.1", "Latency 5"]);
    assert_eq!(problems(&host), [("unparsable", 1), ("counters_fell", 1)]);
}

//! File systems that are measured, and those left out.

use super::*;

/// Mounts directories of the machine: number, path in the machine, type, source.
fn mount(machine: &Machine, mounts: &[(&str, &str, &str, &str)]) {
    let line = |(index, (number, path, kind, source)): (usize, &(&str, &str, &str, &str))| {
        let target = machine.path(path).display().to_string().replace(' ', "\\040");
        format!("{} 1 {number} / {target} rw - {kind} {source} rw\n", index + 10)
    };
    machine.write("proc/self/mountinfo", mounts.iter().enumerate().map(line).collect::<String>());
}

fn measured(machine: &Machine, host: &mut Host) -> Vec<String> {
    let batch = host.sample_at(Timestamp::from_seconds(1), Duration::ZERO);
    assert!(batch.metrics.iter().all(|metric| metric.metric_type.as_str() == "CapacityUsed" && metric.value > 0.0));
    let root = format!("vm1:{}/", machine.root.path().display());
    batch.metrics.iter().map(|metric| metric.source_device.strip_prefix(&root).unwrap().to_owned()).collect()
}

#[test]
fn each_file_system_is_measured_once_without_device_nodes() {
    let machine = Machine::new();
    machine.write("file", "bound into a container");
    for directory in ["mnt/my disk", "mnt/again", "mnt/data", "mnt/tank", "mnt/tank2", "mnt/btrfs", "mnt/nfs"] {
        fs::create_dir_all(machine.path(directory)).unwrap();
    }
    machine.disk("vda", "sys/devices/virtio1");
    machine.write("sys/devices/virtio1/block/vda/vda1/partition", "1\n");
    machine.link("sys/class/block/vda1", "sys/devices/virtio1/block/vda/vda1");
    machine.link("sys/dev/block/254:1", "sys/devices/virtio1/block/vda/vda1");
    machine.disk("vdb", "sys/devices/virtio2");
    machine.write("sys/devices/virtual/dm-0/dm/name", "vg-data\n");
    machine.link("sys/devices/virtual/dm-0/slaves/vdb", "sys/class/block/vdb");
    machine.link("sys/class/block/dm-0", "sys/devices/virtual/dm-0");
    mount(
        &machine,
        &[
            ("0:50", "mnt/nfs", "nfs4", "server:/export"),
            ("254:1", "file", "ext4", "/dev/vda1"),
            ("254:1", "mnt/my disk", "ext4", "/dev/vda1"),
            ("254:1", "mnt/again", "ext4", "/dev/vda1"),
            ("0:60", "mnt/data", "btrfs", "/dev/mapper/vg-data"),
            ("0:60", "mnt/btrfs", "btrfs", "/dev/mapper/vg-data"),
            ("0:61", "mnt/tank", "zfs", "tank/data"),
            ("0:62", "mnt/tank2", "zfs", "tank/home"),
            ("8:99", "mnt/missing", "ext4", "/dev/sdx"),
        ],
    );
    let mut host = machine.host();
    sample(&mut host, 0);
    let batch = host.sample_at(Timestamp::from_seconds(1), Duration::ZERO);
    let labels: Vec<_> = batch.metrics.iter().map(|metric| metric.labels.clone().unwrap()).collect();
    let label = |index: usize, key: &str| labels[index].get(key).map(String::as_str);
    assert_eq!((label(0, "disk"), label(0, "fs"), label(0, "class")), (Some("vda"), Some("ext4"), Some("FileSystem")));
    assert_eq!((label(1, "disk"), label(1, "host")), (Some("vdb"), Some("vm1")));
    assert_eq!((label(2, "disk"), label(2, "origin")), (None, Some("tank/data")));
    assert_eq!(
        measured(&machine, &mut host),
        ["mnt/my disk", "mnt/data", "mnt/tank", "mnt/tank2", "mnt/nfs"],
        "remote ones are asked last"
    );
    let lines: Vec<_> = host.take_log_lines().into_iter().map(|(_, message)| message).collect();
    assert_eq!(lines.iter().filter(|line| line.contains("mnt/missing")).count(), 1, "{lines:?}");
}

#[test]
fn what_is_not_storage_is_left_out_and_said_once() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("a")).unwrap();
    machine.write("hosts", "");
    mount(
        &machine,
        &[
            ("0:1", "a", "tmpfs", "tmpfs"),
            ("0:2", "a", "overlay", "overlay"),
            ("0:3", "a", "squashfs", "/dev/loop0"),
            ("0:4", "a", "autofs", "systemd-1"),
            ("8:1", "hosts", "ext4", "/dev/sda1"),
        ],
    );
    let mut host = machine.host();
    assert!(measured(&machine, &mut host).is_empty());
    let lines: Vec<_> = host.take_log_lines().into_iter().map(|(_, message)| message).collect();
    for said in ["tmpfs (memory)", "overlay (views of other", "squashfs (read-only images)", "autofs", "single files"] {
        assert_eq!(lines.iter().filter(|line| line.contains(said)).count(), 1, "{said}: {lines:#?}");
    }
    measured(&machine, &mut host);
    assert!(host.take_log_lines().is_empty());
}

#[test]
fn a_mount_over_another_hides_it() {
    let machine = Machine::new();
    for directory in ["a/b", "c"] {
        fs::create_dir_all(machine.path(directory)).unwrap();
    }
    mount(
        &machine,
        &[("8:1", "a/b", "ext4", "/dev/sda1"), ("0:9", "a", "tmpfs", "tmpfs"), ("8:2", "c", "xfs", "/dev/sdb1")],
    );
    assert_eq!(measured(&machine, &mut machine.host()), ["c"]);
}

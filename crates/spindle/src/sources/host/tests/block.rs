//! Block devices that are disks, and those that are not.

use super::*;

fn disks(host: &mut Host) -> Vec<String> {
    sample(host, 0);
    sample(host, 10).iter().filter(|line| line.contains("IOPs")).cloned().collect()
}

#[test]
fn only_real_disks_count() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.disk("cciss!c0d0", "sys/devices/cciss0");
    machine.disk("mmcblk0", "sys/devices/mmc0:0001");
    for name in ["fd0", "sr0", "sr1", "sdz", "nvme0c0n1", "mtdblock0", "mmcblk0boot0", "mmcblk0rpmb", "mmcblk0gp1"] {
        machine.disk(name, &format!("sys/devices/{name}"));
    }
    machine.write("sys/devices/sr0/block/sr0/size", "0\n");
    machine.write("sys/devices/sdz/block/sdz/size", "0\n");
    machine.write("sys/devices/nvme0c0n1/block/nvme0c0n1/hidden", "1\n");
    for (name, size) in [("loop0", 9), ("zram0", 9), ("ram1", 9), ("nullb0", 9), ("zd0", 9), ("drbd0", 9), ("nbd1", 0)]
    {
        machine.write(&format!("sys/block/{name}/size"), size.to_string());
        machine.write(&format!("sys/block/{name}/stat"), IDLE);
    }
    for name in ["md0", "nbd0", "dm-0", "bcache0"] {
        machine.write(&format!("sys/block/{name}/size"), "2048");
        machine.write(&format!("sys/block/{name}/stat"), IDLE);
    }
    for name in ["md0", "dm-0", "bcache0"] {
        machine.write(&format!("sys/block/{name}/slaves/sda"), "");
    }
    let mut host = machine.host();
    let expected = ["cciss/c0d0", "md0", "mmcblk0", "nbd0", "sda"].map(|name| format!("vm1:{name} IOPs 0"));
    assert_eq!(disks(&mut host), expected);
    let said: Vec<_> = host.take_log_lines().into_iter().map(|(_, message)| message).collect();
    for name in ["loop0", "sr0", "sdz", "nvme0c0n1", "mmcblk0rpmb", "dm-0", "zd0", "nbd1"] {
        assert_eq!(said.iter().filter(|line| line.contains(name)).count(), 1, "{name}: {said:#?}");
    }
    sample(&mut host, 20);
    assert!(host.take_log_lines().is_empty(), "said once");
}

#[test]
fn an_optical_drive_is_known_by_its_type_and_an_area_by_its_parent() {
    let machine = Machine::new();
    machine.disk("sda", "sys/devices/0:0:0:0");
    machine.disk("sdb", "sys/devices/1:0:0:0");
    machine.write("sys/devices/1:0:0:0/type", "5\n");
    fs::create_dir_all(machine.path("sys/block/sda/queue")).unwrap();
    machine.write("sys/devices/part/size", "2048");
    machine.write("sys/devices/part/stat", IDLE);
    machine.link("sys/devices/part/device", "sys/block/sda");
    machine.link("sys/block/area", "sys/devices/part");
    assert_eq!(disks(&mut machine.host()), ["vm1:sda IOPs 0"]);
}

//! Names of drives: what identifies them, and what only seems to.

use super::*;

fn devices(host: &mut Host) -> Vec<String> {
    sample(host, 0);
    sample(host, 10)
        .iter()
        .filter(|line| line.contains("IOPs"))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

fn scsi(machine: &Machine, name: &str, model: &str, serial: &str, wwid: &str) {
    let device = format!("sys/devices/{name}");
    machine.disk(name, &device);
    machine.write(&format!("{device}/model"), format!("{model}\n"));
    if !serial.is_empty() {
        machine.write(&format!("{device}/vpd_pg80"), [b"\0\x80\0\x08", serial.as_bytes()].concat());
    }
    if !wwid.is_empty() {
        machine.write(&format!("{device}/wwid"), format!("{wwid}\n"));
    }
}

#[test]
fn a_drive_is_named_by_model_and_serial_and_described_by_labels() {
    let machine = Machine::new();
    scsi(&machine, "sda", "ST8000NM0055-1RM ", "ZA101R30", "naa.5000c500a1b2c3d4");
    machine.write("sys/devices/sda/vendor", "ATA     \n");
    machine.write("sys/devices/sda/block/sda/queue/rotational", "1\n");
    let page = format!("ATA     {:40}{:>20}", "ST8000NM0055-1RM112", "ZA101R30");
    let header = [0, 0x83, 0, 72, 2, 1, 0, 68];
    machine.write("sys/devices/sda/vpd_pg83", [&header[..], page.as_bytes()].concat());
    machine.write("sys/devices/enclosure/id", "0x500304801234567f\n");
    fs::create_dir_all(machine.path("sys/devices/enclosure/Slot 07")).unwrap();
    machine.link("sys/devices/sda/enclosure_device:Slot 07", "sys/devices/enclosure/Slot 07");
    let mut host = machine.host();
    host.sample_at(Timestamp::default(), Duration::ZERO);
    let batch = host.sample_at(Timestamp::default(), Duration::from_secs(1));
    let labels: Vec<_> =
        batch.metrics[0].labels.as_ref().unwrap().iter().map(|(key, value)| format!("{key}={value}")).collect();
    let expected = [
        "bay=Slot 07",
        "capacity_bytes=1048576",
        "class=BlockDevice",
        "enclosure=0x500304801234567f",
        "host=vm1",
        "model=ST8000NM0055-1RM112",
        "name=sda",
        "rotational=true",
        "serial=ZA101R30",
        "wwn=0x5000c500a1b2c3d4",
    ];
    assert_eq!(labels, expected);
    assert_eq!(batch.metrics[0].source_device.as_str(), "ST8000NM0055-1RM112_ZA101R30");
    assert!(batch.metrics[1..].iter().all(|metric| metric.labels.is_none()));
}

#[test]
fn each_kind_of_disk_has_its_source_of_identity() {
    let machine = Machine::new();
    machine.disk("nvme0n1", "sys/devices/nvme0");
    machine.disk("nvme0n2", "sys/devices/nvme0");
    for (file, text) in [("model", "Samsung SSD 980 PRO 1TB   "), ("serial", "S5GXNF0R123456X")] {
        machine.write(&format!("sys/devices/nvme0/{file}"), text);
    }
    machine.write("sys/block/nvme0n1/nsid", "1\n");
    machine.write("sys/block/nvme0n2/nsid", "2\n");
    machine.disk("vdb", "sys/devices/virtio2");
    machine.write("sys/block/vdb/serial", "d3f0c9a2-61b7-4d2e-9");
    machine.disk("mmcblk0", "sys/devices/mmc0:0001");
    machine.write("sys/devices/mmc0:0001/name", "SL16G\n");
    machine.write("sys/devices/mmc0:0001/serial", "0x2f3a1b4c\n");
    machine.write("sys/block/md127/size", "2048");
    machine.write("sys/block/md127/stat", IDLE);
    machine.write("sys/block/md127/md/uuid", "7dc3f4f5-2e1a-4a6b-9c8d-0123456789ab\n");
    machine.disk("sdu", "sys/devices/usb1/1-1/host8/8:0:0:1");
    machine.write("sys/devices/usb1/1-1/idVendor", "0781\n");
    machine.write("sys/devices/usb1/1-1/serial", "4C530001230412118411\n");
    machine.write("sys/devices/usb1/1-1/host8/8:0:0:1/model", "Ultra Fit\n");
    scsi(&machine, "sdw", "PERC H730", "", "naa.6d0946606c1d2e0020a1b2c3d4e5f607");
    machine.disk("sdv", "sys/devices/sdv");
    machine.write("sys/block/sdv/dev", "8:80\n");
    machine.write("run/udev/data/b8:80", "S:disk/by-id/x\nE:ID_MODEL=OLD_DISK\nE:ID_SERIAL_SHORT=K12345678\n");
    let expected = [
        "7dc3f4f5",
        "SL16G_0x2f3a1b4c",
        "Samsung_SSD_980_PRO_1TB_S5GXNF0R123456X",
        "Samsung_SSD_980_PRO_1TB_S5GXNF0R123456X_2",
        "Ultra_Fit_4C530001230412118411_lun1",
        "OLD_DISK_K12345678",
        "d3f0c9a2-61b7-4d2e-9",
        "wwn-0x6d0946606c1d2e0020a1b2c3d4e5f607",
    ];
    let found = devices(&mut machine.host());
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for name in expected {
        assert!(
            found.iter().any(|device| device.trim_start_matches("md-uuid-").starts_with(name)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn a_serial_that_names_no_drive_is_passed_over_and_said_once() {
    let machine = Machine::new();
    scsi(&machine, "sda", "USB 3.0", "000000000000", "");
    scsi(&machine, "sdb", "USB 3.0", "0123456789ABCDEF", "naa.5000c500a1b2c3d5");
    scsi(&machine, "sdc", "HARDDISK", "QM00001", "naa.5000000000000000");
    let mut host = machine.host();
    assert_eq!(devices(&mut host), ["vm1:sda", "wwn-0x5000c500a1b2c3d5", "vm1:sdc"]);
    assert_eq!(problems(&host), [("not_unique", 3)]);
    assert_eq!(host.take_log_lines().len(), 3);
}

#[test]
fn two_drives_with_one_serial_take_the_next_form_even_alone() {
    let machine = Machine::new();
    scsi(&machine, "sda", "USB", "20181234567F", "");
    scsi(&machine, "sdb", "USB", "20181234567F", "naa.5000c500a1b2c3d5");
    let register = machine.path("register.json");
    let mut host = machine.host_with_register(Some(register.clone()));
    assert_eq!(devices(&mut host), ["vm1:sda", "wwn-0x5000c500a1b2c3d5"]);
    assert_eq!(problems(&host), [("not_unique", 2)]);
    machine.unplug("sda");
    assert_eq!(devices(&mut machine.host_with_register(Some(register))), ["wwn-0x5000c500a1b2c3d5"]);
}

#[test]
fn two_paths_of_one_drive_are_one_drive() {
    let machine = Machine::new();
    for name in ["sda", "sdc"] {
        scsi(&machine, name, "MZILT960", "S5G1NE0R1234", "naa.5002538b11223344");
    }
    scsi(&machine, "sdb", "LUN", "", "");
    scsi(&machine, "sdd", "LUN", "", "");
    machine.write("sys/devices/dm-0/dm/uuid", "mpath-3600a098000a1b2c3\n");
    for name in ["sdb", "sdd"] {
        machine.link(&format!("sys/block/{name}/holders/dm-0"), "sys/devices/dm-0");
    }
    let mut host = machine.host();
    sample(&mut host, 0);
    machine.stat("sda", "110 0 880 60 20 0 160 30 0 70 90");
    machine.stat("sdc", "120 0 960 70 20 0 160 30 0 80 90");
    let lines = sample(&mut host, 10);
    assert!(lines.contains(&"MZILT960_S5G1NE0R1234 IOPs 3".to_owned()), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("IOPs")).count(), 2, "{lines:?}");
    assert!(lines.contains(&"vm1:sdb IOPs 0".to_owned()));
}

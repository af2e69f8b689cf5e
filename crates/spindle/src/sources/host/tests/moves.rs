//! Moves and replacements of drives, while running and over restarts.

use spindle_core::wire::Event;

use super::*;

/// A drive in a slot of the machine.
fn drive(machine: &Machine, name: &str, slot: &str, serial: &str) {
    let device = format!("sys/devices/pci0000:00/0000:00:1f.2/{slot}/host0/0:0:0:0");
    machine.disk(name, &device);
    machine.write(&format!("{device}/model"), "ST8000\n");
    machine.write(&format!("{device}/vpd_pg80"), [b"\0\x80\0\x08", serial.as_bytes()].concat());
}

fn events(host: &mut Host) -> Vec<Event> {
    let batch = host.sample_at(Timestamp::from_seconds(1_000), Duration::ZERO);
    for event in &batch.events {
        assert_eq!(wire::decode_events(&wire::encode_event(event)).items, std::slice::from_ref(event));
    }
    batch.events
}

fn summaries(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        format!("{} {} {}", event.event_type, event.source_device, event.event_message.as_deref().unwrap())
    };
    events.iter().map(line).collect()
}

#[test]
fn a_swap_over_a_restart_keeps_the_series_and_is_two_moves() {
    let machine = Machine::new();
    let register = Some(machine.path("register.json"));
    drive(&machine, "sda", "ata1", "ZA101R30");
    drive(&machine, "sdb", "ata2", "ZA101R31");
    assert!(events(&mut machine.host_with_register(register.clone())).is_empty(), "the baseline");
    assert!(events(&mut machine.host_with_register(register.clone())).is_empty(), "nothing changed");

    let machine_after = Machine::new();
    drive(&machine_after, "sdb", "ata1", "ZA101R30");
    drive(&machine_after, "sda", "ata2", "ZA101R31");
    let mut host = machine_after.host_with_register(register.clone());
    let found = events(&mut host);
    let expected = ["ZA101R30 moved from vm1:sda to vm1:sdb", "ZA101R31 moved from vm1:sdb to vm1:sda"];
    let mut lines = summaries(&found);
    lines.sort();
    assert_eq!(lines, expected.map(|line| format!("DeviceMoved ST8000_{line}")));
    let labels = found.iter().find(|event| event.source_device.ends_with("30")).unwrap().labels.as_ref().unwrap();
    assert_eq!((labels["name"].as_str(), labels["previous_name"].as_str()), ("sdb", "sda"));
    assert!(events(&mut host).is_empty() && events(&mut machine_after.host_with_register(register)).is_empty());
}

/// A crash before or after the events were handed on: they come again as they were.
#[test]
fn a_crash_repeats_the_same_events_and_no_others() {
    let machine = Machine::new();
    let register = Some(machine.path("register.json"));
    for (name, slot, serial) in [("sda", "ata1", "ZA101R30"), ("sdb", "ata2", "ZA101R31"), ("sdc", "ata3", "ZA101R32")]
    {
        drive(&machine, name, slot, serial);
    }
    let mut host = machine.host_with_register(register.clone());
    assert!(host.unconfirmed_events().is_empty() && events(&mut host).is_empty());
    for name in ["sda", "sdb", "sdc"] {
        machine.unplug(name);
    }
    drive(&machine, "sdb", "ata1", "ZA101R30");
    drive(&machine, "sda", "ata2", "ZA101R31");
    drive(&machine, "sdc", "ata3", "ZA10NEW9");
    let found = events(&mut host);
    assert_eq!(found.len(), 3);
    drop(host);
    for seconds in [2_000, 3_000] {
        let host = machine.host_with_register(register.clone());
        assert_eq!(host.unconfirmed_events(), found, "killed again at {seconds} s");
    }
    let mut host = machine.host_with_register(register.clone());
    let later = host.sample_at(Timestamp::from_seconds(4_000), Duration::ZERO);
    assert!(later.events.is_empty(), "{:?}", later.events);
    assert!(machine.host_with_register(register).unconfirmed_events().is_empty());
}

#[test]
fn a_swap_while_running_mixes_no_rates() {
    let machine = Machine::new();
    drive(&machine, "sda", "ata1", "ZA101R30");
    drive(&machine, "sdb", "ata2", "ZA101R31");
    let mut host = machine.host();
    sample(&mut host, 0);
    for name in ["sda", "sdb"] {
        machine.unplug(name);
    }
    for (name, slot) in [("sda", "ata2"), ("sdb", "ata1")] {
        drive(&machine, name, slot, if slot == "ata1" { "ZA101R30" } else { "ZA101R31" });
        machine.stat(name, "999999 0 800 50 20 0 160 30 0 60 80");
    }
    let batch = host.sample_at(Timestamp::from_seconds(1_010), Duration::from_secs(10));
    assert_eq!(batch.events.len(), 2);
    assert!(batch.metrics.is_empty(), "their counters start over: {:?}", batch.metrics);
}

#[test]
fn a_new_drive_in_an_old_place_ends_the_fault_of_the_old_one() {
    let machine = Machine::new();
    let register = Some(machine.path("register.json"));
    drive(&machine, "sda", "ata1", "ZA101R30");
    drive(&machine, "sdb", "ata2", "ZA101R31");
    let mut host = machine.host_with_register(register.clone());
    events(&mut host);
    machine.unplug("sda");
    assert!(events(&mut host).is_empty(), "gone is not replaced");
    drop(host);
    drive(&machine, "sdc", "ata1", "ZA10NEW9");
    let mut host = machine.host_with_register(register);
    let found = events(&mut host);
    assert_eq!(summaries(&found), ["DriveReplaced ST8000_ZA101R30 replaced by ST8000_ZA10NEW9 at vm1:sdc"]);
    assert_eq!(found[0].labels.as_ref().unwrap()["replaced_by"], "ST8000_ZA10NEW9");
    assert!(events(&mut host).is_empty(), "once");
}

#[test]
fn a_new_drive_elsewhere_and_another_name_for_the_same_replace_nothing() {
    let machine = Machine::new();
    let register = Some(machine.path("register.json"));
    drive(&machine, "sda", "ata1", "ZA101R30");
    events(&mut machine.host_with_register(register.clone()));
    machine.unplug("sda");
    drive(&machine, "sda", "ata2", "ZA10NEW9");
    assert!(events(&mut machine.host_with_register(register.clone())).is_empty(), "the same name in another slot");
    machine.unplug("sda");
    drive(&machine, "sda", "ata1", "ZA101R30");
    machine.write("sys/block/sda/device/model", "ST8000 renamed\n");
    assert!(events(&mut machine.host_with_register(register)).is_empty(), "the serial number is the same");
}

#[test]
fn a_new_host_or_bay_is_a_move_and_a_torn_register_a_baseline() {
    let machine = Machine::new();
    let path = machine.path("register.json");
    drive(&machine, "sda", "ata1", "ZA101R30");
    let device = "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/0:0:0:0";
    machine.write("sys/devices/enclosure/id", "0x5003\n");
    for bay in ["Slot 1", "Slot 2"] {
        fs::create_dir_all(machine.path("sys/devices/enclosure").join(bay)).unwrap();
    }
    machine.link(&format!("{device}/enclosure_device:Slot 1"), "sys/devices/enclosure/Slot 1");
    let mut host = machine.host_with_register(Some(path.clone()));
    events(&mut host);
    host.hostname = "vm2".to_owned();
    assert_eq!(summaries(&events(&mut host)).len(), 1);
    fs::remove_file(machine.path(device).join("enclosure_device:Slot 1")).unwrap();
    machine.link(&format!("{device}/enclosure_device:Slot 2"), "sys/devices/enclosure/Slot 2");
    let found = summaries(&events(&mut host));
    assert!(found[0].contains("bay Slot 1 of enclosure 0x5003") && found[0].contains("bay Slot 2"), "{found:?}");

    fs::write(&path, "{\"drives\":").unwrap();
    let mut host = machine.host_with_register(Some(path));
    assert!(events(&mut host).is_empty());
    assert_eq!(problems(&host), [("register", 1)]);
}

//! Claims about identity and about messages that other programs write.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::ledger::Ledger;
use super::rig::{Rig, ago, counter};
use super::stored;

/// 2023-11-14T22:13:20Z and later, so that ids can follow the clock.
const EPOCH_S: u64 = 1_700_000_000;

/// Distinct events are all stored, however their ids, devices and types are made; the same one is stored once.
pub(super) async fn identities(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    rig.start_writer(&[]).await?;
    let devices = ["a", "a|b", "b", "a b", "a,b", "a=b", "ä"];
    let types = ["x", "b|x", "Truth", "x y"];
    let mut distinct = BTreeSet::new();
    let mut payloads = Vec::new();
    for number in 0..400_u64 {
        let id = match rig.random.below(6) {
            0 => format!("00000000-0000-4000-8000-{:012}", rig.random.below(20)),
            // Ids that follow the clock, as version 7 and ULIDs do.
            1 => format!("018bcfe5-{:04x}-7000-8000-{:012x}", number % 16, number),
            2 => format!("01ARZ3NDEKTSV4RRFFQ69G5F{:02}", rig.random.below(30)),
            3 => rig.random.below(40).to_string(),
            4 => format!("fp:{}|x", rig.random.below(9)),
            _ => "same".to_owned(),
        };
        let device = devices[rig.random.below(devices.len())];
        let event_type = types[rig.random.below(types.len())];
        let second = EPOCH_S + rig.random.below(5) as u64;
        let nanos = [0, 1, 999_999_999][rig.random.below(3)];
        let time = spindle_core::Timestamp::from_ns((second * 1_000_000_000 + nanos) as i64).to_string();
        let n_copies = 1 + rig.random.below(2);
        distinct.insert((id.clone(), device, event_type, time.clone()));
        for _ in 0..n_copies {
            payloads.push(format!(
                r#"{{"id":"{id}","criticality":5,"timestamp":"{time}","sourceDevice":"{device}","eventType":"{event_type}"}}"#
            ));
        }
    }
    rig.random.shuffle(&mut payloads);
    rig.publish("events.event", &payloads).await?;
    rig.wait_until_acknowledged().await?;
    let letters = rig.dead_letters().await?;
    ledger.equal("dead letters", letters.values().sum::<u64>(), 0);
    let store = rig.store().await?;
    let events = stored::events(&store).await?;
    ledger.equal("events in the store", events.len(), distinct.len());
    let found: BTreeSet<_> = events
        .iter()
        .map(|record| {
            let event = &record.event;
            (
                event.id.to_string(),
                event.source_device.to_string(),
                event.event_type.to_string(),
                event.timestamp.to_string(),
            )
        })
        .collect();
    let n_missing = distinct
        .iter()
        .filter(|(id, device, kind, time)| {
            !found.contains(&(id.clone(), (*device).to_owned(), (*kind).to_owned(), time.clone()))
        })
        .count();
    ledger.equal("events that are not in the store as they came", n_missing, 0);
    Ok(())
}

/// Repeated messages are stored once, counted as duplicates, and never as newly stored.
pub(super) async fn duplicates(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let writer = rig.start_writer(&[]).await?;
    let event = |number: usize| {
        format!(
            r#"{{"id":"00000000-0000-4000-8000-{number:012}","criticality":5,"timestamp":"{}","sourceDevice":"d","eventType":"Truth"}}"#,
            "2026-01-01T00:00:00Z"
        )
    };
    let n_distinct = 20 + rig.random.below(20);
    let n_copies = 2 + rig.random.below(4);
    let payloads: Vec<String> = (0..n_copies).flat_map(|_| (0..n_distinct).map(event)).collect();
    rig.publish("events.event", &payloads).await?;
    rig.wait_until_acknowledged().await?;
    let store = rig.store().await?;
    ledger.equal("events in the store", stored::events(&store).await?.len(), n_distinct);
    let n_stored = counter(writer, "spindle_writer_stored_items_total", "event").await?;
    let n_duplicates = counter(writer, "spindle_writer_duplicate_items_total", "event").await?;
    ledger.equal(
        "stored_items_total and duplicate_items_total",
        (n_stored, n_duplicates),
        (n_distinct as u64, (n_distinct * (n_copies - 1)) as u64),
    );
    Ok(())
}

/// One bad element costs itself alone; what is certain is taken as other languages write it.
pub(super) async fn foreign_messages(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    rig.start_writer(&[]).await?;
    let time = |n: usize| ago(Duration::from_millis(n as u64));
    let (mut n_good, mut n_bad) = (0, 0);
    let mut payloads = Vec::new();
    for message in 0..20 {
        let mut elements = Vec::new();
        for element in 0..20 {
            let time = time(message * 20 + element);
            let (value, is_good) = match rig.random.below(8) {
                0 => ("NaN", false),
                1 => ("-Infinity", false),
                2 => ("Infinity", false),
                3 => ("\"hot\"", false),
                4 => ("\"15.5\"", true),
                5 => ("1.5e1", true),
                _ => ("15", true),
            };
            let names = [
                ["timestamp", "sourceDevice", "metricType", "value"],
                ["Timestamp", "SourceDevice", "METRICTYPE", "Value"],
            ][rig.random.below(2)];
            elements.push(format!(
                r#"{{"{}":"{time}","{}":"foreign","{}":"Truth","{}":{value}}}"#,
                names[0], names[1], names[2], names[3]
            ));
            n_good += usize::from(is_good);
            n_bad += u64::from(!is_good);
        }
        payloads.push(format!("[{}]", elements.join(", ")));
    }
    rig.publish("events.metrics", &payloads).await?;
    let events: Vec<String> = ["15", "15.0", "\"5\"", "5.0", "\"5.0\"", "NaN", "11", "\"high\"", "5e0", "5.5"]
        .iter()
        .enumerate()
        .map(|(n, criticality)| {
            format!(
                r#"{{"ID":"event-{n}","Criticality":{criticality},"timestamp":"{}","sourceDevice":"foreign","eventType":"Truth"}}"#,
                time(n)
            )
        })
        .collect();
    rig.publish("events.event", &events).await?;
    rig.wait_until_acknowledged().await?;
    let store = rig.store().await?;
    let n_values = stored::count_values(&store, &["foreign".to_owned()], "Truth").await?;
    ledger.equal("good values in the store", n_values, n_good);
    let found: BTreeSet<String> =
        stored::events(&store).await?.iter().map(|record| record.event.id.to_string()).collect();
    let expected = ["event-2", "event-3", "event-4", "event-8"].map(str::to_owned);
    ledger.equal("events whose criticality is certain", found, BTreeSet::from(expected));
    let letters = rig.dead_letters().await?;
    ledger.equal("dead letters", letters.values().sum::<u64>(), n_bad + 6);
    Ok(())
}

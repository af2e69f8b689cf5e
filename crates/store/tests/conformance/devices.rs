//! Devices: pages, labels, first and last sign of life.

use spindle_core::alias::Alias;

use crate::fixture::*;

pub(crate) async fn are_paged_by_name(store: &Store) {
    let names: Vec<String> = (0..25).map(|number| format!("disk-{number:02}")).collect();
    put_metrics(store, names.iter().rev().map(|name| metric(name, "IOPs", NOON, 1.0)).collect()).await;
    put_events(store, vec![event(1, "array", "Note", NOON, 1)]).await;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.devices(after.as_ref(), 10).await.unwrap();
        assert!(page.len() <= 10);
        let Some(last) = page.last() else { break };
        after = Some(last.source_device.clone());
        found.extend(page.into_iter().map(|record| record.source_device.to_string()));
    }
    assert_eq!(found[0], "array");
    assert_eq!(found[1..], names);
    assert!(store.devices(None, 0).await.unwrap().is_empty());
}

pub(crate) async fn merge_labels_with_the_newest_value_winning(store: &Store) {
    let labelled = |time, pairs: &[(&str, &str)]| {
        let mut metric = metric("disk", "IOPs", time, 1.0);
        metric.labels = Some(Box::new(labels(pairs)));
        metric
    };
    let stored = async || store.device(&device("disk")).await.unwrap().unwrap().labels;
    put_metrics(store, vec![metric("disk", "IOPs", 0, 1.0)]).await;
    assert_eq!(stored().await, labels(&[]));
    put_metrics(store, vec![labelled(1, &[("model", "A"), ("host", "n1")]), labelled(2, &[("host", "n2")])]).await;
    assert_eq!(stored().await, labels(&[("host", "n2"), ("model", "A")]));
    let mut moved = event(1, "disk", "Moved", NOON, 3);
    moved.labels = Some(Box::new(labels(&[("host", "n3"), ("slot", "7 \"ü\"")])));
    put_events(store, vec![moved]).await;
    put_metrics(store, vec![metric("disk", "IOPs", 3, 1.0), labelled(4, &[])]).await;
    let described = labels(&[("host", "n3"), ("model", "A"), ("slot", "7 \"ü\"")]);
    assert_eq!(stored().await, described);
    // Labels of a finding describe the finding.
    let mut finding = event(2, "disk", "HealthChanged", NOON, 3);
    finding.labels = Some(Box::new(labels(&[("to", "warning"), ("score", "75")])));
    put_events(store, vec![finding]).await;
    assert_eq!(stored().await, described);
}

pub(crate) async fn know_their_first_and_last_sign_of_life(store: &Store) {
    let life = async |name| {
        let record = store.device(&device(name)).await.unwrap().unwrap();
        (record.first_seen.as_ns(), record.last_seen.as_ns())
    };
    put_metrics(store, vec![metric("disk", "IOPs", 50, 1.0), metric("disk", "Latency", 40, 1.0)]).await;
    assert_eq!(life("disk").await, (40, 50));
    put_events(store, vec![event(1, "disk", "Note", 60, 1), event(2, "array", "Note", -5, 1)]).await;
    assert_eq!(life("disk").await, (40, 60));
    assert_eq!(life("array").await, (-5, -5));
    put_metrics(store, vec![metric("disk", "Latency", -40, 1.0)]).await;
    assert_eq!(life("disk").await, (-40, 60));
    let listed = store.devices(None, 10).await.unwrap();
    assert_eq!(listed[1], store.device(&device("disk")).await.unwrap().unwrap());
}

/// Arrival is a fact of its own: the sender's clock may be years off in either direction.
pub(crate) async fn know_when_their_newest_values_arrived(store: &Store) {
    let names = ["ahead", "behind", "array", "nobody"].map(device);
    let last = async |from, until| {
        let found = store.last_arrivals(&names, window(from, until)).await.unwrap();
        found
            .into_iter()
            .map(|found| found.map(|found| (found.received.as_ns(), found.measured.as_ns())))
            .collect::<Vec<_>>()
    };
    let year = 365 * DAY;
    let put = async |metrics, received| drop(store.write(batch(metrics, vec![]), at(received)).await.unwrap());
    put(vec![metric("ahead", "IOPs", NOON + year, 1.0), metric("ahead", "Latency", NOON + year - 9, 1.0)], NOON).await;
    put(vec![metric("behind", "IOPs", NOON - year, 1.0)], NOON).await;
    put_events(store, vec![event(1, "array", "Note", NOON, 1)]).await;
    let ahead = Some((NOON, NOON + year));
    assert_eq!(last(NOON - DAY, NOON + 1).await, [ahead, Some((NOON, NOON - year)), None, None]);
    assert_eq!(last(NOON + 1, NOON + DAY).await, [None; 4]);
    // The clock is set right: the newest arrival counts, not the newest time.
    put(vec![metric("ahead", "IOPs", NOON + DAY, 2.0)], NOON + DAY).await;
    let set_right = Some((NOON + DAY, NOON + DAY));
    assert_eq!(last(NOON - DAY, NOON + 2 * DAY).await, [set_right, Some((NOON, NOON - year)), None, None]);
}

pub(crate) async fn have_unicode_names(store: &Store) {
    let longest = "ß".repeat(128);
    let names = [
        " ",
        "%",
        "'; DROP TABLE devices; --",
        "A",
        "a",
        "a,b=c d\\",
        "a.b.*.>",
        "e\u{301}",
        longest.as_str(),
        "é",
        "диск",
        "磁盘/3",
        "🔥",
    ];
    put_metrics(store, names.iter().rev().map(|name| metric(name, name, NOON, 1.0)).collect()).await;
    put_events(store, names.iter().map(|name| event(1, name, name, NOON, 1)).collect()).await;
    let mut expect = names.map(device).to_vec();
    expect.sort();
    let listed: Vec<_> =
        store.devices(None, 100).await.unwrap().into_iter().map(|record| record.source_device).collect();
    assert_eq!(listed, expect);
    for name in names {
        assert_eq!(*store.latest(&device(name), always()).await.unwrap()[0].metric_type, *name);
        assert_eq!(store.range(&device(name), &kind(name), always(), 9).await.unwrap().len(), 1);
    }
    let counted = store.count_events_by_device(events_in(always())).await.unwrap();
    assert!(counted.into_iter().eq(expect.into_iter().map(|name| (name, 1))));
}

pub(crate) async fn are_found_by_their_place(store: &Store) {
    let put = async |name: &str, time, pairs: &[(&str, &str)]| {
        let mut metric = metric(name, "IOPs", time, 1.0);
        metric.labels = Some(Box::new(labels(pairs)));
        put_metrics(store, vec![metric]).await;
    };
    let found = async |text: &str| store.devices_at(&Alias::parse(text).unwrap()).await.unwrap();
    put("A_1", 1, &[("host", "n1"), ("name", "sda")]).await;
    put("B 2", 1, &[("host", "n1"), ("name", "sdb"), ("paths", "sdb,sdd")]).await;
    put("C_3", 1, &[("host", "n2"), ("name", "sda")]).await;
    assert_eq!(found("n1:sda").await, [device("A_1")]);
    assert_eq!(found("n1:sdd").await, [device("B 2")]);
    assert_eq!(found("n1:sdx").await, []);
    // A swap: the newest labels count.
    put("A_1", 2, &[("host", "n1"), ("name", "sdb")]).await;
    put("B 2", 2, &[("name", "sda"), ("paths", "sda")]).await;
    assert_eq!(found("n1:sda").await, [device("B 2")]);
    assert_eq!(found("n1:sdb").await, [device("A_1")]);
    let of = store.labels(&["C_3", "nobody", "A_1"].map(device)).await.unwrap();
    assert_eq!(
        of,
        [labels(&[("host", "n2"), ("name", "sda")]), labels(&[]), labels(&[("host", "n1"), ("name", "sdb")])]
    );
}

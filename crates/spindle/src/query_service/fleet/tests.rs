//! The verdicts of `fleet_health` beside those of `device_health`, on whole fleets in real stores.

use std::time::{Duration, Instant};

use spindle_core::health::Health;
use spindle_core::judge::FleetJudge;
use spindle_core::judge::events::HEALTH_CHANGED;
use spindle_core::query::{ColumnsQuery, HealthChoice, Query};
use spindle_core::records::Window;
use spindle_core::response::{Data, DeviceNames};
use spindle_core::{Batch, DeviceName, MetricType};
use spindle_simulate::{Fleet, FleetConfig};
use spindle_store::InfluxSettings;
use spindle_testkit::{FacadeOptions, Generation, InfluxFacade, InfluxServer};

use super::*;
use crate::clock;
use crate::query_service::device;
use crate::query_service::fleet_columns;
use crate::query_service::kept_fleet::KeptFleet;
use crate::query_service::test_data::{event, metric, put};

const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn query(now: Timestamp, limit: usize) -> FleetQuery {
    FleetQuery {
        window: Window::ending_at(now.plus(Duration::from_nanos(1)), 60 * MINUTE),
        present: false,
        health: HealthChoice::All,
        group_by: "enclosure".to_owned(),
        after: None,
        limit,
    }
}

/// Returns the cursor of the next page, as a client sends it.
fn after(page: &FleetHealth) -> Option<FleetCursor> {
    let next = serde_json::json!({ "query_type": "fleet_health", "params": page.next });
    match Query::from_json(next.to_string().as_bytes(), clock::now()).unwrap() {
        Query::FleetHealth(query) => query.after,
        other => panic!("{other:?}"),
    }
}

/// Stores a simulated fleet of the last hours, a minute apart, with what the detector makes of it; then devices that are
/// odd in every way that a verdict knows.
async fn fill(store: &Store, now: Timestamp) {
    for (days, value) in [(40, 57.0), (1, 57.0)] {
        let at = now.minus(Duration::from_secs(days * 86_400));
        let device = if days == 1 { "worn" } else { "gone" };
        put(store, Batch { metrics: vec![metric(device, "smart_5_raw", at, value)], events: Vec::new() }, at).await;
    }
    let hours = 3;
    let epoch = now.minus(60 * MINUTE * hours);
    let mut fleet = Fleet::new(FleetConfig::new(40, 7, epoch));
    let mut judge = FleetJudge::default();
    for minute in 1..60 * hours {
        let at = epoch.plus(MINUTE * minute);
        let mut batch = fleet.tick(at);
        // A sixth of the fleet falls silent in the last half hour, at different times.
        let is_silent = |device: &DeviceName| {
            let sum = device.bytes().map(u32::from).sum::<u32>();
            sum % 6 == 0 && at > now.minus(MINUTE * (5 + sum % 25))
        };
        batch.metrics.retain(|metric| !is_silent(&metric.source_device));
        batch.metrics.iter().for_each(|metric| judge.metric(metric, at));
        batch.events.iter().for_each(|event| judge.event(event, at));
        judge.advance(at);
        batch.events.extend(judge.take());
        put(store, batch, at).await;
    }
    let mut odd = Vec::new();
    for (device, offset) in [("behind", -2 * 3_600), ("far-behind", -30 * 3_600), ("ahead", 86_400), ("exact", 0)] {
        let at = |minutes: i64| Timestamp::from_ns(now.as_ns() + (offset - minutes * 60) * 1_000_000_000);
        odd.extend((1..5).map(|minutes| metric(device, "DiskTemp", at(minutes), 41.0)));
    }
    odd.extend(
        [("asleep", "smart_standby", 1.0), ("worn", "smart_5_raw", 60.0), ("known", "smart_5_raw", 60.0)]
            .map(|(device, kind, value)| metric(device, kind, now.minus(MINUTE), value)),
    );
    put(store, Batch { metrics: odd, events: Vec::new() }, now.minus(MINUTE)).await;
    let until = now.plus(60 * MINUTE).to_string();
    let events = vec![
        event(
            "known",
            "FindingAccepted",
            now.minus(MINUTE / 2),
            &[("metric", "smart_5_raw"), ("value", "60"), ("until", &until)],
        ),
        event("worn", "IncidentAcknowledged", now.minus(MINUTE / 2), &[("until", &until)]),
        event("replaced", "DriveReplaced", now.minus(10 * MINUTE), &[("replaced_by", "exact")]),
        event(
            "worn",
            HEALTH_CHANGED,
            now.minus(MINUTE),
            &[("to", "warning"), ("since", &now.minus(YEAR).to_string()), ("why", "smart_5_raw")],
        ),
    ];
    put(store, Batch { metrics: Vec::new(), events }, now.minus(MINUTE / 2)).await;
}

/// Checks that the columns of `fleet` have the verdicts of `fleet_health`.
async fn check_columns(store: &Store, answer: &FleetHealth, window: Window) {
    let wanted = vec![MetricType::new("DiskTemp").unwrap()];
    let fleet = async |with_serials| {
        let wanted = ColumnsQuery { window, metric_types: wanted.clone(), with_serials, front_coded: false };
        fleet_columns::fleet(store, &KeptFleet::default(), wanted).await.unwrap().data
    };
    assert!(!fleet(false).await.labels.contains_key("serial"));
    let columns = fleet(true).await;
    let DeviceNames::Plain(names) = &columns.names else { panic!("not plain") };
    let temperatures = &columns.metrics["DiskTemp"];
    assert_eq!((temperatures.unit, temperatures.values.len(), names.len()), (Some("°C"), 47, 47));
    assert!(names.is_sorted());
    for row in &answer.data {
        let index = names.iter().position(|device| *device == row.source_device).unwrap();
        let state = columns.states[usize::from(columns.state[index])];
        let health = if ["asleep", "silent"].contains(&state) { "unknown" } else { state };
        assert_eq!(health, row.health.name(), "{row:?}");
        let (why, score) = match columns.not_ok.index.iter().position(|ill| *ill as usize == index) {
            Some(at) => (columns.not_ok.reason[at].as_str(), columns.not_ok.score[at]),
            None => ("", Some(100)),
        };
        let is_ok = row.health == Health::Ok;
        let expected = row.reason.as_ref().filter(|_| !is_ok).map_or("", |reason| &reason.why);
        assert_eq!((why, score), (expected, if is_ok { Some(100) } else { row.score }), "{row:?}");
        for key in ["enclosure", "serial"] {
            let label = &columns.labels[key];
            let named = usize::try_from(label.index[index]).ok().map(|at| &label.names[at]);
            assert_eq!(named, row.labels.get(key), "{row:?}");
        }
    }
}

/// Checks that both queries give each device the same verdict, with the same reason, start, decision and detector.
async fn check(store: &Store) {
    let now = clock::now();
    fill(store, now).await;
    let query = query(now, 1_000);
    let window = query.window;
    let answer = fleet_health(store, query).await.unwrap();
    assert_eq!((&answer.next, answer.data.len()), (&None, 40 + 7));
    let mut gone: Vec<_> = answer.summary.gone.iter().map(|gone| gone.source_device.as_str()).collect();
    gone.sort_unstable();
    assert_eq!((gone, answer.summary.n_asleep, answer.summary.n_acknowledged), (vec!["gone", "replaced"], 1, 1));
    check_columns(store, &answer, window).await;
    for row in &answer.data {
        let Data::DeviceHealth { data, .. } = device::health(store, row.source_device.clone(), window).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (row.health, row.score, row.since),
            (data.verdict.health, data.verdict.score, data.since),
            "{row:?}"
        );
        assert_eq!(row.reason, data.verdict.reasons.first().cloned(), "{row:?}");
        assert_eq!((row.n_reasons, &row.acknowledged), (data.verdict.reasons.len(), &data.acknowledged), "{row:?}");
        assert_eq!((row.detector_seen, row.last_received), (data.detector_seen, data.last_received), "{row:?}");
    }
    let of = |device: &str| answer.data.iter().find(|row| row.source_device.as_str() == device).unwrap();
    let trend = |device: &str| {
        let reason = of(device).reason.as_ref();
        reason.and_then(|reason| reason.trend.clone()).unwrap_or_else(|| panic!("{device}: {reason:?}"))
    };
    assert_eq!(trend("worn"), "rose by 3 in 24 h");
    assert!(trend("known").starts_with("unchanged since accepted on "), "{}", trend("known"));
    assert_eq!(of("worn").since, Some(now.minus(YEAR)));
    let kinds = [Health::Ok, Health::Unknown];
    assert!(kinds.iter().all(|kind| answer.data.iter().any(|row| row.health == *kind)), "{:?}", answer.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_queries_agree_on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    check(&Store::open_embedded(&folder.path().join("a.db")).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_queries_agree_on_influxdb() {
    let server = InfluxServer::start().unwrap();
    let (host, database) = (server.url(), "spindle".to_owned());
    check(&Store::open_influx(InfluxSettings { host, database, ..InfluxSettings::default() }).unwrap()).await;
}

/// Ten thousand devices, a hundredth of them ill and a hundredth silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_of_ten_thousand_is_judged_in_time_and_paged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
    let now = clock::now();
    let devices: Vec<String> = (0..10_000).map(|index| format!("disk-{index:05}")).collect();
    for minutes in [30, 20, 1] {
        let at = now.minus(MINUTE * minutes);
        let of = |(index, device): (usize, &String)| {
            let kinds = if index % 100 == 7 && minutes < 30 {
                &[][..]
            } else {
                &["DiskTemp", "Latency", "IOPs", "smart_5_raw", "smart_197_raw", "smart_198_raw"]
            };
            let value = if index % 100 == 3 { 60.0 } else { 0.0 };
            kinds.iter().map(|kind| metric(device, kind, at, value)).collect::<Vec<_>>()
        };
        let metrics = devices.iter().enumerate().flat_map(of).collect();
        put(&store, Batch { metrics, events: Vec::new() }, at).await;
    }
    let stated = |device: &String| event(device, HEALTH_CHANGED, now.minus(MINUTE), &[("to", "ok"), ("from", "ok")]);
    put(&store, Batch { metrics: Vec::new(), events: devices.iter().map(stated).collect() }, now).await;
    let started = Instant::now();
    let mut page = fleet_health(&store, query(now, 150)).await.unwrap();
    let taken = started.elapsed();
    println!("10,000 devices judged in {taken:?}");
    assert!(taken < Duration::from_secs(8), "{taken:?}");
    assert_eq!((page.summary.n_devices, page.summary.counts.ok), (10_000, 9_800));
    let mut listed: Vec<DeviceName> = page.data.iter().map(|row| row.source_device.clone()).collect();
    let after = after(&page);
    page = fleet_health(&store, FleetQuery { after, health: HealthChoice::NotOk, ..query(now, 150) }).await.unwrap();
    listed.extend(page.data.iter().map(|row| row.source_device.clone()));
    let expected: Vec<&String> = devices
        .iter()
        .enumerate()
        .filter(|(index, _)| [3, 7].contains(&(index % 100)))
        .map(|(_, device)| device)
        .collect();
    listed.sort();
    assert_eq!(
        (page.next, listed.iter().map(|device| device.to_string()).collect::<Vec<_>>()),
        (None, expected.into_iter().cloned().collect())
    );
}

/// Counts the requests to an InfluxDB for the verdicts on a fleet, a tenth of it silent and a tenth ill.
async fn n_requests(n_devices: usize) -> usize {
    let facade = InfluxFacade::start(Generation::V2, FacadeOptions::default()).unwrap();
    let (host, database) = (facade.url(), "fleet".to_owned());
    let (token, org) = (Some(InfluxFacade::TOKEN.to_owned()), Some(InfluxFacade::ORG.to_owned()));
    let settings = InfluxSettings { host, database, token, org, ..InfluxSettings::default() };
    let store = Store::open_influx(settings).unwrap();
    let now = clock::now();
    for minutes in [20, 19, 1] {
        let at = now.minus(MINUTE * minutes);
        let of = |index: usize| {
            let is_silent = index % 10 == 7 && minutes == 1;
            let value = if index % 10 == 3 { 60.0 } else { 0.0 };
            (!is_silent).then(|| metric(&format!("disk-{index:05}"), "smart_5_raw", at, value))
        };
        put(&store, Batch { metrics: (0..n_devices).filter_map(of).collect(), events: Vec::new() }, at).await;
    }
    let n_before = facade.record_of("/query").len();
    let page = fleet_health(&store, query(now, 50)).await.unwrap();
    assert_eq!(page.summary.counts.warning + page.summary.counts.unknown, n_devices as u64 / 5);
    facade.record_of("/query").len() - n_before
}

#[tokio::test(flavor = "multi_thread")]
async fn more_devices_cost_no_more_requests() {
    let (few, many) = (n_requests(20).await, n_requests(1_500).await);
    assert!(many <= few + 3, "{few} for 20 devices, {many} for 1,500");
}

fn in_state(page: &FleetHealth, health: Health) -> Vec<&str> {
    page.data.iter().filter(|row| row.health == health).map(|row| row.source_device.as_str()).collect()
}

async fn store_with_values(folder: &std::path::Path, devices: &[&str], now: Timestamp) -> Store {
    let store = Store::open_embedded(&folder.join("a.db")).await.unwrap();
    let metrics = devices.iter().map(|device| metric(device, "DiskTemp", now.minus(MINUTE), 40.0)).collect();
    put(&store, Batch { metrics, events: Vec::new() }, now.minus(MINUTE)).await;
    store
}

/// Limits of a few events, so that a test reaches them.
const FEW: ReadLimits = ReadLimits { of_device: 5, page: 8, n_pages: 2, n_apart: 1 };

#[tokio::test]
async fn a_device_that_sends_much_makes_no_other_unknown() {
    let (folder, now) = (tempfile::tempdir().unwrap(), clock::now());
    let store = store_with_values(folder.path(), &["loud", "ill", "fine"], now).await;
    let mut events = vec![event("ill", "FanFailure", now.minus(100 * MINUTE), &[])];
    events.extend((1..40).map(|minutes| event("loud", "FanFailure", now.minus(MINUTE * minutes), &[])));
    put(&store, Batch { metrics: Vec::new(), events }, now.minus(MINUTE)).await;
    let page = within(&store, query(now, 10), FEW).await.unwrap();
    let mut warned = in_state(&page, Health::Warning);
    warned.sort_unstable();
    assert_eq!((warned, in_state(&page, Health::Ok)), (vec!["ill", "loud"], vec!["fine"]));
    assert_eq!((page.summary.cut_off.len(), page.summary.calls_cut_off), (0, false), "the newest of one type decide");
}

#[tokio::test]
async fn events_that_cannot_be_read_make_their_devices_alone_unknown_and_are_named() {
    let (folder, now) = (tempfile::tempdir().unwrap(), clock::now());
    let store = store_with_values(folder.path(), &["loud", "a", "b", "fine"], now).await;
    for (event_type, criticality) in [("FanFailure", 1), ("Strange", 9), ("FindingAccepted", 1), (HEALTH_CHANGED, 3)] {
        let of = |device: &str, minutes: u32| {
            let mut event = event(device, event_type, now.minus(MINUTE * minutes), &[]);
            event.criticality = spindle_core::Criticality::new(criticality).unwrap();
            event
        };
        let mut events = vec![of("a", 50), of("b", 51)];
        events.extend((1..40).map(|minutes| of("loud", minutes)));
        put(&store, Batch { metrics: Vec::new(), events }, now.minus(MINUTE)).await;
    }
    let page = within(&store, query(now, 10), FEW).await.unwrap();
    assert_eq!(in_state(&page, Health::Ok), ["fine"]);
    let cut: Vec<_> = page.summary.cut_off.iter().map(|event_type| event_type.as_str()).collect();
    assert_eq!((cut, page.summary.calls_cut_off), (vec!["FanFailure", "FindingAccepted", HEALTH_CHANGED], true));
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended_though_its_device_is_gone() {
    let (folder, now) = (tempfile::tempdir().unwrap(), clock::now());
    let store = store_with_values(folder.path(), &["a", "b", "c", "d"], now).await;
    let ill = ["a", "b", "c"].map(|device| event(device, "FanFailure", now.minus(MINUTE), &[]));
    put(&store, Batch { metrics: Vec::new(), events: ill.to_vec() }, now.minus(MINUTE)).await;
    let first = fleet_health(&store, query(now, 2)).await.unwrap();
    assert_eq!(in_state(&first, Health::Warning), ["a", "b"]);
    let gone = event("b", "DriveReplaced", now.minus(MINUTE / 2), &[("replaced_by", "d")]);
    put(&store, Batch { metrics: Vec::new(), events: vec![gone] }, now).await;
    let second = fleet_health(&store, FleetQuery { after: after(&first), ..query(now, 2) }).await.unwrap();
    let listed: Vec<_> = second.data.iter().map(|row| row.source_device.as_str()).collect();
    assert_eq!((listed, second.summary.n_gone), (vec!["c", "d"], 1));
}

/// A device whose clock is ten hours behind is current by arrival, and silent by the recorded times.
#[tokio::test]
async fn a_later_page_is_judged_by_the_evidence_of_the_first() {
    let (folder, now) = (tempfile::tempdir().unwrap(), clock::now());
    let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
    let asked = now.minus(10 * MINUTE);
    let behind = asked.minus(60 * MINUTE * 10);
    let metrics = (0..5).map(|minutes| metric("behind", "DiskTemp", behind.minus(MINUTE * minutes), 40.0)).collect();
    put(&store, Batch { metrics, events: Vec::new() }, asked).await;
    let past = fleet_health(&store, query(asked, 2)).await.unwrap();
    let present = fleet_health(&store, FleetQuery { present: true, ..query(asked, 2) }).await.unwrap();
    assert_eq!((in_state(&past, Health::Unknown), in_state(&present, Health::Ok)), (vec!["behind"], vec!["behind"]));
    assert_eq!(
        (past.following().unwrap().get("present"), &present.following().unwrap()["present"]),
        (None, &"yes".into())
    );
}

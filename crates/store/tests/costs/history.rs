//! Every query against InfluxDB with more and with less history outside the window.

use std::time::{Duration, Instant};

use spindle_core::schema::{DEVICE_LABELS, DEVICES, INDEXES};
use spindle_store::Store;
use spindle_testkit::{FacadeOptions, Generation, InfluxFacade, InfluxServer};

use crate::*;

/// Factor and time by which a query may take longer on the large store, on a busy machine: what reads the history takes
/// 30 times longer. Finer differences are left to the test that counts.
const MAX_RATIO: f64 = 10.0;
const MARGIN: Duration = Duration::from_millis(10);
const N_RUNS: usize = 6;
const MAX_RUNS: usize = 60;
/// Hours of history where requests are counted: a difference of one shows.
const LARGE_TO_COUNT: i64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn of_influxdb_does_not_grow() {
    let server = InfluxServer::start().unwrap();
    let (small, large) = (open_influx(server.url(), "small"), open_influx(server.url(), "large"));
    fill(&small, SMALL).await;
    fill(&large, LARGE).await;
    let (mut of_small, mut of_large) = (measure(&small).await, measure(&large).await);
    // In turns, so that a machine that slows down affects both; longer while a busy one hides how short a query can be.
    for n_runs in 1..MAX_RUNS {
        shorten(&mut of_small, measure(&small).await);
        shorten(&mut of_large, measure(&large).await);
        if n_runs >= N_RUNS && !compare(&of_small, &of_large).1 {
            break;
        }
    }
    let (report, has_grown) = compare(&of_small, &of_large);
    assert!(!has_grown, "{report}");
}

/// Returns the times of both stores as text, and `true` if those of a query grow.
fn compare(of_small: &[Measured], of_large: &[Measured]) -> (String, bool) {
    let mut report = String::new();
    let mut has_grown = false;
    for ((name, n_small, short), (_, n_large, long)) in of_small.iter().zip(of_large) {
        let grows = *long > short.mul_f64(MAX_RATIO) + MARGIN || n_small != n_large;
        has_grown |= grows;
        report +=
            &format!("{name}: {short:?} {long:?}, {n_small} {n_large} rows{}\n", if grows { ", grows" } else { "" });
    }
    (report, has_grown)
}

/// Name of a query, its number of rows and its time.
type Measured = (&'static str, usize, Duration);

/// Runs each query once.
async fn measure(store: &Store) -> Vec<Measured> {
    let (mut all, mut started) = (Vec::new(), Instant::now());
    run_each(store, |name, n_rows| {
        all.push((name, n_rows, started.elapsed()));
        started = Instant::now();
    })
    .await;
    all
}

fn shorten(all: &mut [Measured], others: Vec<Measured>) {
    for ((_, _, shortest), (_, _, other)) in all.iter_mut().zip(others) {
        *shortest = other.min(*shortest);
    }
}

/// Longest range of time in one statement: the window of an hour, and what may reach into it.
const MAX_RANGE_NS: i128 = 3 * HOUR as i128;

/// Requests of a query to the server, and what they make it read.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    n_requests: usize,
    /// Rows of the responses.
    n_rows: usize,
    /// Length of the ranges of time in all statements, in nanoseconds, except of the indexes.
    range_ns: i128,
    /// Points of the indexes in the ranges of their statements.
    n_of_index: usize,
}

/// Where the server reads is in the text of each query, so no history hides below the noise of a clock.
#[tokio::test(flavor = "multi_thread")]
async fn of_influxdb_is_not_asked_for() {
    let (small, large) = (asked(SMALL).await, asked(LARGE_TO_COUNT).await);
    assert!(small.len() > 10 && small.iter().any(|(_, asked)| asked.n_of_index > 0), "{small:?}");
    for ((name, few), (_, many)) in small.iter().zip(&large) {
        assert!(few.n_requests > 0, "{name}: {few:?}");
        let grows = many.n_requests > few.n_requests
            || many.n_rows > few.n_rows
            || many.range_ns > few.range_ns
            // The hours of history may lie in two periods of the index.
            || many.n_of_index > 2 * few.n_of_index;
        assert!(!grows, "{name}: {few:?} {many:?}");
    }
}

async fn asked(n_hours: i64) -> Vec<(&'static str, Asked)> {
    let facade = InfluxFacade::start(Generation::V2, FacadeOptions::default()).unwrap();
    let store = open_influx(facade.url(), "fleet");
    fill(&store, n_hours).await;
    let (mut start, mut all) = (facade.record_of("/query").len(), Vec::new());
    run_each(&store, |name, _| {
        let texts = texts_of(&facade, start);
        start += texts.len();
        all.push((name, texts));
    })
    .await;
    all.into_iter().map(|(name, texts)| (name, what_is_asked(&facade, &texts))).collect()
}

fn what_is_asked(facade: &InfluxFacade, texts: &[String]) -> Asked {
    let mut asked = Asked { n_requests: texts.len(), ..Asked::default() };
    for text in texts {
        asked.n_rows += n_rows(facade, text);
        for statement in text.split("; ") {
            let index = [DEVICES, DEVICE_LABELS, INDEXES]
                .map(|index| index.name)
                .into_iter()
                .find(|name| is_from(statement, name));
            match index {
                Some(name) => asked.n_of_index += n_rows(facade, &format!("SELECT * FROM {name}")),
                None => {
                    let range_ns = range_of(statement);
                    assert!(range_ns <= MAX_RANGE_NS, "{range_ns} ns: {statement}");
                    asked.range_ns += range_ns;
                }
            }
        }
    }
    asked
}

fn is_from(statement: &str, measurement: &str) -> bool {
    statement.split(" FROM ").nth(1).and_then(|rest| rest.split(' ').next()) == Some(measurement)
}

/// Returns the length of a statement's range of time. Every statement has one, with two bounds.
fn range_of(statement: &str) -> i128 {
    let bound = |sign: &str| statement.split(sign).nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let (from, until) = (bound(" time >= "), bound(" time <= "));
    if from == "now()" {
        return 0;
    }
    let ns = |text: &str| text.parse::<i128>().unwrap_or_else(|_| panic!("no bound of time: {statement}"));
    ns(until) - ns(from)
}

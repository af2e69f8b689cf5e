//! Bucket and mapping, or database: creation, reuse, and the rights required.

use std::time::Duration;

use spindle_store::{InfluxSettings, Store};
use spindle_testkit::{Generation, InfluxFacade, Right};

use crate::*;

const DAY_S: u64 = 86_400;

fn open_keeping(facade: &InfluxFacade, retention: Option<Duration>) -> Store {
    Store::open_influx(InfluxSettings { retention, ..settings(facade) }).unwrap()
}

#[tokio::test]
async fn what_is_not_there_is_made_with_its_retention() {
    for generation in BOTH {
        for (days, expected_s) in [(Some(30), 30 * DAY_S), (None, 0)] {
            let facade = start(generation);
            let retention = days.map(|days: u64| Duration::from_secs(days * DAY_S));
            open_keeping(&facade, retention).check().await.unwrap();
            assert_eq!(facade.retention_s(DATABASE), Some(expected_s), "{generation:?} {days:?}");
        }
    }
}

/// Also if it existed before; unchanged if no retention is configured.
#[tokio::test]
async fn what_is_there_gets_the_retention_asked_for() {
    for generation in BOTH {
        let facade = start(generation);
        for (days, expected) in [(Some(7), 7), (Some(7), 7), (Some(30), 30), (None, 30)] {
            let retention = days.map(|days: u64| Duration::from_secs(days * DAY_S));
            open_keeping(&facade, retention).check().await.unwrap();
            assert_eq!(facade.retention_s(DATABASE), Some(expected * DAY_S), "{generation:?} {days:?}");
        }
        let n_changes = facade.record().iter().filter(|request| request.method == "PATCH").count();
        assert_eq!(n_changes, usize::from(generation == Generation::V2), "a retention that is right is left alone");
    }
}

/// Before version 2.4 a bucket was not visible to InfluxQL without a mapping.
#[tokio::test]
async fn a_bucket_without_a_mapping_gets_one() {
    let facade = start_with(Generation::V2, FacadeOptions { maps_buckets: false, ..FacadeOptions::default() });
    let store = open(&facade);
    write(&store, metrics(&["a"]), vec![]).await.unwrap();
    assert_eq!(counts(&facade, &store).await, (1, 0));
    let n_made = |facade: &InfluxFacade| {
        facade.record_of("/api/v2/dbrps").iter().filter(|request| request.method == "POST").count()
    };
    assert_eq!(n_made(&facade), 1);
    open(&facade).check().await.unwrap();
    assert_eq!(n_made(&facade), 1, "the one that is there is used");
}

#[tokio::test]
async fn a_database_that_goes_away_is_made_again() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        facade.drop_database(DATABASE).unwrap();
        write(&store, metrics(&["b"]), vec![]).await.unwrap();
        assert_eq!(counts(&facade, &store).await, (1, 0), "{generation:?}");
    }
}

/// Each right that a token of version 2 may lack, with or without a bucket, and the message that names it.
#[tokio::test]
async fn a_missing_right_is_named() {
    use Right::{CreateBuckets, ReadBucket, ReadOrg, WriteBucket};
    let cases: [(&[Right], bool, bool, &[&str]); 8] = [
        (
            &[ReadOrg],
            false,
            true,
            &[
                "neither bucket 'fleet' nor organization 'fleet-org'",
                "either may be missing",
                "create bucket 'fleet'",
                "INFLUXDB_ORG",
            ],
        ),
        (
            &[ReadOrg, CreateBuckets],
            false,
            true,
            &["neither bucket 'fleet' nor organization 'fleet-org'", "INFLUXDB_BUCKET"],
        ),
        (&[CreateBuckets], false, true, &["bucket 'fleet'", "may not create it", "right to write buckets"]),
        (
            &[ReadBucket, CreateBuckets],
            true,
            true,
            &["bucket 'fleet'", "may not read it", "right to read and write it"],
        ),
        (&[ReadBucket], true, true, &["bucket 'fleet' exists", "may not read it"]),
        (&[WriteBucket], true, true, &["403", "insufficient permissions for write", "INFLUXDB_TOKEN"]),
        (&[WriteBucket, ReadOrg], true, false, &["DBRP mapping for bucket 'fleet'", "write DBRP mappings"]),
        (&[WriteBucket, CreateBuckets], true, false, &["DBRP mapping for bucket 'fleet'", "write:orgs/"]),
    ];
    for (lacks, is_there, maps_buckets, message) in cases {
        let options = FacadeOptions { lacks: lacks.to_vec(), maps_buckets, ..FacadeOptions::default() };
        let facade = start_with(Generation::V2, options);
        if is_there {
            facade.create_database(DATABASE).unwrap();
        }
        let store = open(&facade);
        let error = write(&store, metrics(&["a"]), vec![]).await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        expect_message(&error, message);
        assert!(!error.to_string().contains("a valid token"), "{lacks:?}: the token is valid: {error}");
        // Granting the right is enough.
        facade.grant_all();
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        assert_eq!(counts(&facade, &store).await, (1, 0), "{lacks:?}");
    }
}

#[tokio::test]
async fn a_retention_that_may_not_be_set_is_said() {
    let options = FacadeOptions { lacks: vec![Right::WriteBucket], ..FacadeOptions::default() };
    let facade = start_with(Generation::V2, options);
    facade.create_database(DATABASE).unwrap();
    let error = open_keeping(&facade, Some(Duration::from_secs(DAY_S))).check().await.unwrap_err();
    expect_message(&error, &["cannot set the retention of bucket 'fleet'", "write:orgs/", "right to write buckets"]);
}

#[tokio::test]
async fn a_database_too_many_is_said() {
    let options = FacadeOptions { max_databases: 1, ..FacadeOptions::default() };
    let facade = start_with(Generation::V3, options);
    facade.create_database("other").unwrap();
    let error = open(&facade).check().await.unwrap_err();
    assert!(!error.is_transient());
    expect_message(&error, &["cannot create database 'fleet'", "exceed limit of 1 databases"]);
}

/// The token of one bucket sees no organization, and needs none.
#[tokio::test]
async fn a_token_of_one_bucket_is_enough() {
    let options = FacadeOptions { lacks: vec![Right::ReadOrg, Right::CreateBuckets], ..FacadeOptions::default() };
    let facade = start_with(Generation::V2, options);
    facade.create_database(DATABASE).unwrap();
    let store = open(&facade);
    write(&store, metrics(&["a"]), vec![event(1)]).await.unwrap();
    assert_eq!(counts(&facade, &store).await, (1, 1));
}

/// An organization that the server denies is named alone.
#[tokio::test]
async fn an_organization_that_is_not_there_is_named() {
    let facade = start(Generation::V2);
    let wrong = InfluxSettings { org: Some("elsewhere".to_owned()), ..settings(&facade) };
    let error = Store::open_influx(wrong).unwrap().check().await.unwrap_err();
    expect_message(&error, &["404", "organization name \"elsewhere\" not found", "INFLUXDB_ORG"]);
    assert!(!error.to_string().contains("bucket 'fleet'"), "{error}");
}

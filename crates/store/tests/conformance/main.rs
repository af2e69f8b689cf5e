//! One suite for all stores: every store must pass the same checks. A store is added with one line at the end of
//! this file, and a `Place` that creates it.
#![allow(clippy::unwrap_used)]

mod arrivals;
mod audit;
mod devices;
mod events;
mod fixture;
mod idempotence;
mod meeting;
mod model;
mod pages;
mod pipeline;
mod retention;
mod series;

use std::time::Duration;

use fixture::{Place, Store};

/// Turns each check of a module into a test on a separate empty store.
macro_rules! checks {
    ($place:ty, $module:ident: $($check:ident)*) => {
        mod $module {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let place = <$place>::new().await;
                crate::$module::$check(&place.open().await).await;
            })*
        }
    };
}

macro_rules! conformance {
    ($store:ident, $place:ty) => {
        mod $store {
            use super::*;
            checks! { $place, series:
                windows_include_their_start_and_exclude_their_end
                latest_is_the_newest_in_the_window_per_metric
                latest_many_keeps_the_order_asked
                range_gives_the_oldest_up_to_its_limit
                first_and_last_count_what_lies_between
                buckets_are_aligned_and_clipped_to_the_window
                last_values_of_buckets_are_those_of_all_devices
                nanoseconds_survive_over_the_whole_range_of_time
                every_bit_of_a_float_survives
                unknown_names_have_no_data
            }
            checks! { $place, pipeline:
                reports_are_means_of_rates_and_highest_levels_of_each_writer
                reports_are_no_data_of_devices
            }
            checks! { $place, events:
                windows_go_by_the_time_asked_for
                filters_narrow_by_device_type_and_criticality
                every_field_survives
                tens_of_thousands_in_one_second_are_all_there
                tens_of_thousands_at_one_instant_are_all_there
                counts_per_device_ignore_limit_and_offset
                different_events_never_overwrite_each_other
                ids_of_any_text_come_back_as_they_came
                ids_that_follow_their_clock_are_all_there
            }
            checks! { $place, arrivals:
                at_one_instant_are_all_found
                of_late_events_are_found_with_every_filter
                are_paged_while_late_events_come_in
            }
            checks! { $place, pages:
                of_every_size_add_up
            }
            checks! { $place, devices:
                are_paged_by_name
                merge_labels_with_the_newest_value_winning
                know_their_first_and_last_sign_of_life
                have_unicode_names
                are_found_by_their_place
                know_when_their_newest_values_arrived
            }
            checks! { $place, audit:
                counts_metrics_and_events_of_each_device
                windows_include_their_start_and_exclude_their_end
                numbers_of_every_size_are_heard_with_their_times
                what_lies_outside_the_window_is_no_gap
                the_same_delivered_again_doubles_nothing
                names_of_every_kind_are_told_apart
                many_points_of_many_devices_are_all_counted
                values_that_meet_cost_their_numbers
            }
            checks! { $place, idempotence:
                a_batch_twice_is_stored_once
                the_newest_value_of_a_metric_wins
                an_event_keeps_its_first_arrival
                an_empty_batch_is_nothing
                a_value_that_is_no_number_is_refused_with_its_batch
                many_writers_at_once_lose_nothing
                a_closed_store_says_so
            }
            checks! { $place, retention:
                goes_by_the_time_of_the_point_not_of_its_arrival
                removes_more_than_one_step_holds
                lets_a_removed_device_come_back
                keeps_what_lies_at_the_limit
                removes_replaced_numbers_with_their_samples
            }
            checks! { $place, model:
                agrees_with_a_map_in_memory
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_was_written_is_there_after_reopening() {
                fixture::what_was_written_is_there_after_reopening(&<$place>::new().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn values_that_meet_cost_a_number_that_is_reported_over_restarts() {
                crate::meeting::cost_a_number_that_is_reported_over_restarts(&<$place>::new().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_is_older_than_the_retention_is_refused_until_it_is_raised() {
                crate::retention::what_is_older_than_the_retention_is_refused_until_it_is_raised(
                    &<$place>::new().await,
                )
                .await;
            }
        }
    };
}

/// Folder of one embedded store.
struct EmbeddedPlace(tempfile::TempDir);

impl Place for EmbeddedPlace {
    async fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open_keeping(&self, retention: Option<Duration>) -> Store {
        let store = spindle_store::Store::open_embedded(&self.0.path().join("data/spindle.db")).await.unwrap();
        Store(store.with_retention(retention))
    }
}

conformance! { embedded, EmbeddedPlace }

#[tokio::test(flavor = "multi_thread")]
async fn a_write_and_a_removal_agree_on_the_limit() {
    retention::a_write_and_a_removal_agree_on_the_limit(&EmbeddedPlace::new().await).await;
}

/// Separate database in a real InfluxDB 1.x. Checks of unsupported features are left out: telling new values from old
/// ones, removing, and the outermost nanoseconds.
struct InfluxPlace(spindle_testkit::InfluxServer);

impl Place for InfluxPlace {
    async fn new() -> Self {
        Self(spindle_testkit::InfluxServer::start().unwrap())
    }

    async fn open_keeping(&self, retention: Option<Duration>) -> Store {
        let settings = spindle_store::InfluxSettings {
            host: self.0.url(),
            database: "spindle".to_owned(),
            retention,
            ..spindle_store::InfluxSettings::default()
        };
        Store(spindle_store::Store::open_influx(settings).unwrap())
    }
}

/// Separate bucket or database behind a facade of version 2 or 3.
struct FacadePlace<const VERSION: u8>(spindle_testkit::InfluxFacade);

impl<const VERSION: u8> Place for FacadePlace<VERSION> {
    async fn new() -> Self {
        use spindle_testkit::{FacadeOptions, Generation, InfluxFacade};
        let generation = if VERSION == 2 { Generation::V2 } else { Generation::V3 };
        Self(InfluxFacade::start(generation, FacadeOptions::default()).unwrap())
    }

    async fn open_keeping(&self, retention: Option<Duration>) -> Store {
        let settings = spindle_store::InfluxSettings {
            host: self.0.url(),
            database: "spindle".to_owned(),
            retention,
            token: Some(spindle_testkit::InfluxFacade::TOKEN.to_owned()),
            org: Some(spindle_testkit::InfluxFacade::ORG.to_owned()),
            ..spindle_store::InfluxSettings::default()
        };
        Store(spindle_store::Store::open_influx(settings).unwrap())
    }
}

/// Separate database behind a facade of openGemini. Its lag is a tenth of the real one: the checks write a lot.
struct OpenGeminiPlace(spindle_testkit::InfluxFacade);

impl Place for OpenGeminiPlace {
    async fn new() -> Self {
        use spindle_testkit::{FacadeOptions, Generation, InfluxFacade};
        let read_lag = (Duration::from_millis(200), Duration::from_millis(13));
        let options = FacadeOptions { read_lag, ..FacadeOptions::default() };
        Self(InfluxFacade::start(Generation::OpenGemini, options).unwrap())
    }

    async fn open_keeping(&self, retention: Option<Duration>) -> Store {
        let settings = spindle_store::InfluxSettings {
            host: self.0.url(),
            database: "spindle".to_owned(),
            retention,
            read_lag: Some(Duration::from_millis(250)),
            ..spindle_store::InfluxSettings::default()
        };
        Store(spindle_store::Store::open_influx(settings).unwrap())
    }
}

/// Checks that every version of InfluxDB passes.
macro_rules! influxdb_conformance {
    ($store:ident, $place:ty) => {
        mod $store {
            use super::*;
            checks! { $place, series:
                windows_include_their_start_and_exclude_their_end
                latest_is_the_newest_in_the_window_per_metric
                latest_many_keeps_the_order_asked
                range_gives_the_oldest_up_to_its_limit
                first_and_last_count_what_lies_between
                buckets_are_aligned_and_clipped_to_the_window
                last_values_of_buckets_are_those_of_all_devices
                every_bit_of_a_float_survives
                unknown_names_have_no_data
            }
            checks! { $place, events:
                windows_go_by_the_time_asked_for
                filters_narrow_by_device_type_and_criticality
                every_field_survives
                tens_of_thousands_in_one_second_are_all_there
                tens_of_thousands_at_one_instant_are_all_there
                counts_per_device_ignore_limit_and_offset
                different_events_never_overwrite_each_other
                ids_of_any_text_come_back_as_they_came
                ids_that_follow_their_clock_are_all_there
            }
            checks! { $place, arrivals:
                at_one_instant_are_all_found
                of_late_events_are_found_with_every_filter
                are_paged_while_late_events_come_in
            }
            checks! { $place, pages:
                of_every_size_add_up
            }
            checks! { $place, devices:
                are_paged_by_name
                merge_labels_with_the_newest_value_winning
                know_their_first_and_last_sign_of_life
                have_unicode_names
                are_found_by_their_place
            }
            checks! { $place, audit:
                counts_metrics_and_events_of_each_device
                windows_include_their_start_and_exclude_their_end
                numbers_of_every_size_are_heard_with_their_times
                what_lies_outside_the_window_is_no_gap
                the_same_delivered_again_doubles_nothing
                names_of_every_kind_are_told_apart
                many_points_of_many_devices_are_all_counted
                values_that_meet_cost_their_numbers
            }
            checks! { $place, idempotence:
                an_event_keeps_its_first_arrival
                an_empty_batch_is_nothing
                a_closed_store_says_so
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_was_written_is_there_after_reopening() {
                fixture::what_was_written_is_there_after_reopening(&<$place>::new().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn values_that_meet_cost_a_number_that_is_reported_over_restarts() {
                crate::meeting::cost_a_number_that_is_reported_over_restarts(&<$place>::new().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn values_that_meet_cost_a_number_that_is_reported_with_several_writers() {
                crate::meeting::cost_a_number_that_is_reported_with_several_writers(&<$place>::new().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_is_older_than_the_retention_is_refused_until_it_is_raised() {
                crate::retention::what_is_older_than_the_retention_is_refused_until_it_is_raised(
                    &<$place>::new().await,
                )
                .await;
            }
        }
    };
}

influxdb_conformance! { influxdb, InfluxPlace }
influxdb_conformance! { influxdb_2, FacadePlace<2> }
influxdb_conformance! { influxdb_3, FacadePlace<3> }
influxdb_conformance! { opengemini, OpenGeminiPlace }

//! Parts of the roles, built from the configuration, and the span that names a role in the log.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use spindle_bus::Bus;
use spindle_store::Store;
use tracing::{Span, warn};

use crate::config::Config;
use crate::line_queue::LineQueue;
use crate::metrics::CLIENT_LINES_DROPPED;
use crate::roles::{client, detector, reader, writer};

/// Span of a role; at the level of errors, so that no log filter removes the name from the lines that pass it.
pub(super) fn role_span(role: &'static str) -> Span {
    tracing::error_span!("spindle", %role)
}

pub(super) fn writer(config: &Config, bus: Bus, store: Store) -> writer::Parts {
    writer::Parts {
        bus,
        store,
        config: config.writer.clone(),
        retention: config.store.retention,
        streams: config.stream_limits(),
        readiness: writer::Readiness::default(),
    }
}

pub(super) fn detector(config: &Config, bus: Bus, shutdown_timeout: Duration) -> detector::Parts {
    detector::Parts {
        bus,
        config: config.detector.clone(),
        data_dir: config.data_dir.clone(),
        readiness: detector::DetectorReadiness::default(),
        shutdown_timeout,
    }
}

pub(super) fn reader(config: &Config, bus: Bus, store: Store) -> reader::Parts {
    reader::Parts { bus, store, subject: config.reader.subject.clone() }
}

/// With `once`, lines wait for a slow reader of stdout: nothing else runs in the process.
pub(super) fn client(config: &Config, bus: Bus, once: bool) -> Result<client::Parts> {
    let report = |n_dropped| warn!(n_dropped, "lines of the client dropped, standard output was not drained");
    let terminal: Box<dyn Write + Send> = if once {
        Box::new(std::io::stdout())
    } else {
        let queue = LineQueue::start(std::io::stdout(), CLIENT_LINES_DROPPED.clone(), report);
        Box::new(queue.context("cannot start the output of the client")?)
    };
    Ok(client::Parts {
        bus,
        subject: config.reader.subject.clone(),
        config: config.client.clone(),
        log: config.client_log(),
        terminal,
    })
}

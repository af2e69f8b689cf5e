//! Parts of the roles, built from the configuration, and the span that names a role in the log.

use spindle_bus::Bus;
use spindle_store::Store;
use tracing::Span;

use crate::config::Config;
use crate::roles::{client, reader, writer};

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
        readiness: writer::Readiness::default(),
    }
}

pub(super) fn reader(config: &Config, bus: Bus, store: Store) -> reader::Parts {
    reader::Parts { bus, store, subject: config.reader.subject.clone() }
}

pub(super) fn client(config: &Config, bus: Bus) -> client::Parts {
    client::Parts {
        bus,
        subject: config.reader.subject.clone(),
        config: config.client.clone(),
        log: config.client_log(),
        terminal: Box::new(std::io::stdout()),
    }
}

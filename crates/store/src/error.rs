//! What can go wrong with a store, in words that say what to do, and whether trying again helps.
//!
//! Every message is one line: it ends up in logs, on a page and in readiness answers.

use std::path::PathBuf;
use std::time::Duration;

/// Why a store did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room left on the disk, or none below [`crate::EmbeddedOptions::max_size_bytes`].
    #[error("disk is full at {path}: free space, then nothing needs doing", path = .path.display())]
    DiskFull {
        /// The store's file.
        path: PathBuf,
    },
    /// Another process has held the file for longer than the busy time-out.
    #[error("store {path} is locked by another process", path = .path.display())]
    Busy {
        /// The store's file.
        path: PathBuf,
    },
    /// The disk failed to read or write.
    #[error("disk error while trying to {action} at {path}", path = .path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// The database's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file or its folder cannot be made, opened or written.
    #[error("cannot {action} at {path}: {problem}", path = .path.display())]
    Access {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What is in the way.
        problem: String,
    },
    /// A file, but not one of ours.
    #[error("{path} is no Spindle store: {problem}", path = .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        problem: &'static str,
    },
    /// Written by a newer Spindle.
    #[error(
        "store {path} has format {found}, this version knows formats up to {known}: use a newer Spindle",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// The file's structure is damaged.
    #[error("store {path} is damaged: move it away or restore a copy", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The database's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The batch holds something that can never be stored; nothing of it was.
    #[error("batch refused: {problem}")]
    Rejected {
        /// What is wrong, with the offending value.
        problem: String,
    },
    /// Anything else, most likely a mistake in this crate.
    #[error("cannot {action} at {path}", path = .path.display())]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// The database's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database server does not answer, or says that it cannot now.
    #[error("InfluxDB at {server} is not available: {problem}")]
    Unavailable {
        /// Its address.
        server: String,
        /// What happened, with its words.
        problem: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The database server refuses us for a reason that an operator can mend.
    #[error("InfluxDB at {server}: {problem}")]
    Configuration {
        /// Its address.
        server: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The database server refused a question or one of our own lines.
    #[error("InfluxDB at {server} refuses: {words}")]
    Query {
        /// Its address.
        server: String,
        /// Its words.
        words: String,
    },
    /// This store cannot do that.
    #[error("this store cannot {what}")]
    Unsupported {
        /// What was asked.
        what: &'static str,
    },
    /// The handle to a database server has been closed.
    #[error("the connection to InfluxDB at {server} is closed")]
    Disconnected {
        /// Its address.
        server: String,
    },
    /// The store has been closed.
    #[error("store {path} is closed", path = .path.display())]
    Closed {
        /// The store's file.
        path: PathBuf,
    },
}

/// What to do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// Keep the data and try again, however long: time or an operator mends it and nothing else need be done.
    Transient,
    /// Somebody must change the configuration, the file or its rights.
    Permanent,
    /// This batch will never go in; take it apart.
    Rejected,
    /// The store was closed.
    Closed,
}

impl StoreError {
    /// What to do about it.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::DiskFull { .. } | Self::Busy { .. } | Self::Disk { .. } | Self::Unavailable { .. } => {
                StoreErrorKind::Transient
            }
            Self::Access { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Corrupt { .. }
            | Self::Configuration { .. }
            | Self::Query { .. }
            | Self::Unsupported { .. }
            | Self::Failed { .. } => StoreErrorKind::Permanent,
            Self::Rejected { .. } => StoreErrorKind::Rejected,
            Self::Closed { .. } | Self::Disconnected { .. } => StoreErrorKind::Closed,
        }
    }

    /// Whether the same call may succeed later without anybody changing the call.
    pub fn is_transient(&self) -> bool {
        self.kind() == StoreErrorKind::Transient
    }
}

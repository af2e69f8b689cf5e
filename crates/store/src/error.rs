//! Errors of a store, with the remedy in the message, and whether a retry helps.
//!
//! Every message is one line: it appears in logs, on a page and in readiness responses.

use std::path::PathBuf;
use std::time::Duration;

/// Error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left on the disk.
    #[error("disk is full at {path}: free space; no restart is needed", path = .path.display())]
    DiskFull {
        /// The store's file.
        path: PathBuf,
    },
    /// Another process has held the file for longer than the busy timeout.
    #[error("store {path} is locked by another process", path = .path.display())]
    Busy {
        /// The store's file.
        path: PathBuf,
    },
    /// The disk failed to read or write.
    #[error("disk error: cannot {action} at {path}", path = .path.display())]
    Disk {
        /// Attempted operation.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// Error of the database.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file or its folder cannot be created, opened or written.
    #[error("cannot {action} at {path}: {problem}", path = .path.display())]
    Access {
        /// Attempted operation.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Reason.
        problem: String,
    },
    /// A file that is not a Spindle store.
    #[error("{path} is not a Spindle store: {problem}", path = .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Reason.
        problem: &'static str,
    },
    /// Written by a newer Spindle.
    #[error(
        "store {path} has format {found}, this version supports formats up to {supported}: use a newer Spindle",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version supports.
        supported: i64,
    },
    /// The file's structure is damaged.
    #[error("store {path} is damaged: move it away or restore a backup", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Error of the database.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The batch holds a value that can never be stored; nothing of it was.
    #[error("batch refused: {problem}")]
    Rejected {
        /// Reason, with the offending value.
        problem: String,
    },
    /// The store panicked on the batch; nothing of it was stored.
    #[error("the store panicked: {message}")]
    Panicked {
        /// Message of the panic.
        message: String,
    },
    /// Any other error, most likely a bug in this crate.
    #[error("cannot {action} at {path}", path = .path.display())]
    Failed {
        /// Attempted operation.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// Error of the database.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database server does not respond, or reports that it cannot serve the request now.
    #[error("{server} is not available: {problem}")]
    Unavailable {
        /// Product and addresses of the server.
        server: String,
        /// Reason, with the server's message.
        problem: String,
        /// Pause that the server requests before the next attempt.
        retry_after: Option<Duration>,
        /// The server sent a response, so it has not restarted.
        responded: bool,
    },
    /// The database server refuses requests for a reason that an operator can fix.
    #[error("{server}: {problem}")]
    Configuration {
        /// Product and addresses of the server.
        server: String,
        /// Reason and remedy.
        problem: String,
    },
    /// The database server refused a query or one of Spindle's own lines.
    #[error("{server} refused the request: {message}")]
    Query {
        /// Product and addresses of the server.
        server: String,
        /// Message of the server.
        message: String,
    },
    /// The database server takes points, and none of a batch. An operator can repair that; for a type conflict, in the
    /// server's schema.
    #[error("InfluxDB takes nothing of a batch: {message}")]
    NothingTaken {
        /// Message of the server, or of what stands before it.
        message: String,
    },
    /// Clocks disagree about the age of more points than can wait.
    #[error(
        "the clocks of this machine, NATS and the store disagree, and points may be too old by one of them: {message}"
    )]
    ClocksDisagree {
        /// Details of the first point.
        message: String,
    },
    /// This store does not support the operation.
    #[error("this store cannot {operation}")]
    Unsupported {
        /// The operation.
        operation: &'static str,
    },
    /// The session with a database server is closed.
    #[error("the connection to {server} is closed")]
    Disconnected {
        /// Product and addresses of the server.
        server: String,
    },
    /// The store is closed.
    #[error("store {path} is closed", path = .path.display())]
    Closed {
        /// The store's file.
        path: PathBuf,
    },
}

/// Remedy for a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// Keep the data and retry without limit: time or an operator resolves it.
    Transient,
    /// An operator must change the configuration, the file or its permissions.
    Permanent,
    /// The batch will never be stored as a whole; split it.
    Rejected,
    /// The store is closed.
    Closed,
}

impl StoreError {
    /// Returns the remedy.
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
            | Self::NothingTaken { .. }
            | Self::ClocksDisagree { .. }
            | Self::Unsupported { .. }
            | Self::Failed { .. } => StoreErrorKind::Permanent,
            Self::Rejected { .. } | Self::Panicked { .. } => StoreErrorKind::Rejected,
            Self::Closed { .. } | Self::Disconnected { .. } => StoreErrorKind::Closed,
        }
    }

    /// Returns whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        self.kind() == StoreErrorKind::Transient
    }
}

//! Errors inside the embedded store: the only place that reads SQLite's result codes.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::StoreError;

/// Error inside the embedded store, without path and operation.
#[derive(Debug)]
pub(super) enum EmbeddedError {
    Sql(rusqlite::Error),
    Rejected(String),
    Panicked(String),
}

impl From<rusqlite::Error> for EmbeddedError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl EmbeddedError {
    /// Returns the public error for the operation `action` on the store at `path`.
    pub(super) fn into_error(self, action: &'static str, path: &Path) -> StoreError {
        let path = path.to_path_buf();
        match self {
            Self::Rejected(problem) => StoreError::Rejected { problem },
            Self::Panicked(message) => StoreError::Panicked { message },
            Self::Sql(error) => {
                let (code, extended) = codes(&error);
                match code {
                    // Only when it grows the shared memory file does SQLite report a full disk with another code.
                    _ if extended == ffi::SQLITE_IOERR_SHMSIZE => StoreError::DiskFull { path },
                    Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
                    Some(
                        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed,
                    ) => StoreError::Busy { path },
                    Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => {
                        StoreError::Disk { action, path, source: error.into() }
                    }
                    Some(ErrorCode::CannotOpen) => {
                        let problem = if path.is_dir() { "it is a folder" } else { "it cannot be opened" };
                        StoreError::Access { action, path, problem: problem.to_owned() }
                    }
                    Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                        StoreError::Access { action, path, problem: "the file or its folder is read-only".to_owned() }
                    }
                    Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, source: error.into() },
                    Some(ErrorCode::NotADatabase) => {
                        StoreError::Foreign { path, problem: "it is not an SQLite database, or a damaged one" }
                    }
                    _ => StoreError::Failed { action, path, source: error.into() },
                }
            }
        }
    }

    /// Returns whether another process holds the lock: no batch is to blame, and trying each alone would not help.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Sql(error) => matches!(codes(error).0, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)),
            Self::Rejected(_) | Self::Panicked(_) => false,
        }
    }
}

fn codes(error: &rusqlite::Error) -> (Option<ErrorCode>, i32) {
    let inner = error.sqlite_error();
    (inner.map(|inner| inner.code), inner.map_or(0, |inner| inner.extended_code))
}

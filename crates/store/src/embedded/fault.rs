//! SQLite's errors in our words: the only place that reads its result codes.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::StoreError;

/// What went wrong inside the embedded store, before anybody has said where and in doing what.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(rusqlite::Error),
    Rejected(String),
    Panicked(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// The public error: `action` is what was tried with the store at `path`.
    pub(super) fn into_error(self, action: &'static str, path: &Path) -> StoreError {
        let path = path.to_path_buf();
        match self {
            Self::Rejected(problem) => StoreError::Rejected { problem },
            Self::Panicked(words) => StoreError::Failed { action, path, source: words.into() },
            Self::Sql(error) => {
                let (code, extended) = codes(&error);
                match code {
                    // Growing the shared memory file is the one place where a full disk has another code.
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
                        StoreError::Foreign { path, problem: "it is no SQLite database, or a damaged one" }
                    }
                    _ => StoreError::Failed { action, path, source: error.into() },
                }
            }
        }
    }

    /// Whether another process holds the lock: nothing against one batch, so trying the others alone is of no use.
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

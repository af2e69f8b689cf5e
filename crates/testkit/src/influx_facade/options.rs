//! Options of a facade.

use std::time::Duration;

use super::InfluxFacade;

/// Version to imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 2.7
    V2,
    /// 3 Core
    V3,
    /// openGemini 1.5
    OpenGemini,
}

/// Permission of a token (version 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read the organization.
    ReadOrg,
    /// Create buckets.
    CreateBuckets,
    /// List and read the bucket.
    ReadBucket,
    /// Write the bucket, its retention and its mappings.
    WriteBucket,
}

/// Options of an [`InfluxFacade`].
#[derive(Clone, Debug)]
pub struct FacadeOptions {
    /// Reported version; version 3 differs before 3.7 and before 3.10. Empty: the newest; openGemini built from source
    /// reports none.
    pub release: String,
    /// Required token. `None`: a version 3 without authentication.
    pub token: Option<String>,
    /// Permissions that the token lacks (version 2).
    pub lacks: Vec<Right>,
    /// Omits the version header, as some proxies do.
    pub hides_version: bool,
    /// Each bucket is its own mapping, as since version 2.4.
    pub maps_buckets: bool,
    /// Largest body, compressed or not. Version 2 has no limit of its own, but a proxy in front of it may.
    pub max_body_bytes: usize,
    /// Limit of files that one query may read (version 3); a file holds ten minutes.
    pub max_files: usize,
    /// Limit of databases (version 3).
    pub max_databases: usize,
    /// Time until a query shows a point of a new series, and of a known one (openGemini).
    pub read_lag: (Duration, Duration),
}

impl Default for FacadeOptions {
    fn default() -> FacadeOptions {
        FacadeOptions {
            release: String::new(),
            token: Some(InfluxFacade::TOKEN.to_owned()),
            lacks: Vec::new(),
            hides_version: false,
            maps_buckets: true,
            max_body_bytes: 10 << 20,
            max_files: 432,
            max_databases: 5,
            read_lag: (Duration::from_secs(2), Duration::from_millis(130)),
        }
    }
}

//! Address, credentials and version of an InfluxDB.

use std::fmt;
use std::time::Duration;

use spindle_core::redact;

/// Generation of InfluxDB: they differ in paths, credentials and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfluxVersion {
    /// 1.x
    V1,
    /// 2.x
    V2,
    /// 3 Core or Enterprise
    V3,
}

impl fmt::Display for InfluxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
        })
    }
}

/// Address, credentials, database and retention of an InfluxDB.
#[derive(Clone, Default)]
pub struct InfluxSettings {
    /// Address, `http://host:8086`; without a scheme, http.
    pub host: String,
    /// Database (1, 3) or bucket (2).
    pub database: String,
    /// Token (2, 3).
    pub token: Option<String>,
    /// Organization (2).
    pub org: Option<String>,
    /// User (1).
    pub username: Option<String>,
    /// Password of the user (1).
    pub password: Option<String>,
    /// Version; `None` detects it.
    pub version: Option<InfluxVersion>,
    /// Retention to set on the server; `None` leaves it unchanged.
    pub retention: Option<Duration>,
}

impl InfluxSettings {
    /// Returns the address without user and password, also if it is malformed.
    pub(super) fn redacted_host(&self) -> String {
        redact::without_userinfo(&self.host)
    }
}

impl fmt::Debug for InfluxSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, org, version, .. } = self;
        write!(f, "InfluxSettings {{ {} {database} {org:?} {version:?} }}", self.redacted_host())
    }
}

//! Address, credentials and version of an InfluxDB.

use std::fmt;
use std::time::Duration;

use spindle_core::redact;

/// Generation of InfluxDB, or a store that speaks its language: they differ in paths, credentials and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfluxVersion {
    /// 1.x
    V1,
    /// 2.x
    V2,
    /// 3 Core or Enterprise
    V3,
    /// openGemini: paths and credentials of version 1
    OpenGemini,
}

/// openGemini 1.5.2 returns a point of a new series 2.0 s after it acknowledged the write, and one of a known series
/// after 0.13 s.
const OPEN_GEMINI_READ_LAG: Duration = Duration::from_millis(2_500);

impl InfluxVersion {
    /// Returns the name for messages.
    pub(super) fn product(self) -> &'static str {
        match self {
            Self::V1 => "InfluxDB 1",
            Self::V2 => "InfluxDB 2",
            Self::V3 => "InfluxDB 3",
            Self::OpenGemini => "openGemini",
        }
    }

    /// Returns whether the server writes a file for each range of time that a flush touches, and limits those of a query.
    pub(super) fn has_files(self) -> bool {
        self == Self::V3
    }

    /// Returns the time after an acknowledged write during which a query may miss it.
    pub(super) fn read_lag(self) -> Duration {
        match self {
            Self::V1 | Self::V2 | Self::V3 => Duration::ZERO,
            Self::OpenGemini => OPEN_GEMINI_READ_LAG,
        }
    }
}

impl fmt::Display for InfluxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
            Self::OpenGemini => "opengemini",
        })
    }
}

/// Address, credentials, database and retention of an InfluxDB.
#[derive(Clone, Default)]
pub struct InfluxSettings {
    /// Addresses of the servers, `http://host:8086`, separated by commas; without a scheme, http. Any of them serves.
    pub host: String,
    /// Database (1, 3, openGemini) or bucket (2).
    pub database: String,
    /// Token (2, 3).
    pub token: Option<String>,
    /// Organization (2).
    pub org: Option<String>,
    /// User (1, openGemini).
    pub username: Option<String>,
    /// Password of the user (1).
    pub password: Option<String>,
    /// Version; `None` detects it.
    pub version: Option<InfluxVersion>,
    /// Retention to set on the server; `None` leaves it unchanged.
    pub retention: Option<Duration>,
    /// Copies of a new database (openGemini); `None` leaves them to the server.
    pub replication: Option<u32>,
    /// Time after an acknowledged write during which a query may miss it; `None`: as known of the version.
    pub read_lag: Option<Duration>,
}

impl InfluxSettings {
    /// Returns the addresses without user and password, also if they are malformed.
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

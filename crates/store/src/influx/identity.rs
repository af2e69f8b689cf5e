//! Name and version that a server gives itself in the headers of every response.

use reqwest::header::HeaderMap;

use super::settings::InfluxVersion;

/// Name and version of a server, from the headers of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerIdentity {
    /// `None` if the headers name no known version.
    pub(super) version: Option<InfluxVersion>,
    /// Release as the server writes it; empty if absent.
    pub(super) release: String,
    /// `OSS`, `Core`, `ENT`, …
    pub(super) build: String,
}

impl ServerIdentity {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        // Present with an empty value in an openGemini built from source.
        let is_open_gemini = headers.keys().any(|name| name.as_str().starts_with("x-geminidb-"));
        if is_open_gemini {
            return Self {
                version: Some(InfluxVersion::OpenGemini),
                release: text("x-geminidb-version").unwrap_or_default(),
                build: text("x-geminidb-build").unwrap_or_default(),
            };
        }
        let release = text("x-influxdb-version").unwrap_or_default();
        Self { version: version_of(&release), release, build: text("x-influxdb-build").unwrap_or_default() }
    }

    /// Returns the difference to another server of the same list: an error if they cannot be one store.
    pub(super) fn difference(&self, other: &Self) -> Result<Option<String>, String> {
        let words = |of: &Self| {
            let product = of.version.map_or("an unknown server", InfluxVersion::product);
            [product, &of.release, &of.build].join(" ").trim_end().to_owned()
        };
        let differs = format!("is {}, another address is {}", words(self), words(other));
        match (self.version, other.version) {
            (Some(one), Some(another)) if one != another => Err(differs),
            (Some(_), Some(_)) if self != other => Ok(Some(differs)),
            _ => Ok(None),
        }
    }
}

/// Returns the version of a release such as `1.8.10`, `v2.7.12` or `3.10.1`; `None` for `dev`, `unknown` and others.
pub(super) fn version_of(release: &str) -> Option<InfluxVersion> {
    match release.trim().trim_start_matches('v').split(['.', '-', '+']).next().unwrap_or_default() {
        "0" | "1" => Some(InfluxVersion::V1),
        "2" => Some(InfluxVersion::V2),
        "3" => Some(InfluxVersion::V3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn identity(pairs: &[(&'static str, &'static str)]) -> ServerIdentity {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        ServerIdentity::of(&pairs.iter().map(pair).collect())
    }

    #[test]
    fn servers_are_recognised_by_their_headers() {
        for (headers, expected) in [
            (&[("x-influxdb-version", "1.6.7~rc0")][..], Some(InfluxVersion::V1)),
            (&[("x-influxdb-version", "v2.7.12")], Some(InfluxVersion::V2)),
            (&[("x-influxdb-version", "3.10.1")], Some(InfluxVersion::V3)),
            (&[("x-geminidb-version", ""), ("x-geminidb-build", "OSS")], Some(InfluxVersion::OpenGemini)),
            (&[("x-geminidb-build", "OSS")], Some(InfluxVersion::OpenGemini)),
            (&[("x-influxdb-version", "dev")], None),
            (&[("x-influxdb-version", "unknown")], None),
            (&[("x-influxdb-version", "20.1")], None),
            (&[("x-influxdb-version", "")], None),
            (&[], None),
        ] {
            assert_eq!(identity(headers).version, expected, "{headers:?}");
        }
    }

    #[test]
    fn servers_of_different_kinds_are_not_one_store() {
        let old = identity(&[("x-influxdb-version", "1.8.3"), ("x-influxdb-build", "OSS")]);
        let new = identity(&[("x-influxdb-version", "1.8.10"), ("x-influxdb-build", "OSS")]);
        let other = identity(&[("x-influxdb-version", "3.10.1")]);
        assert_eq!(old.difference(&old), Ok(None));
        assert_eq!(
            old.difference(&new),
            Ok(Some("is InfluxDB 1 1.8.3 OSS, another address is InfluxDB 1 1.8.10 OSS".to_owned()))
        );
        assert!(old.difference(&other).is_err());
        assert_eq!(old.difference(&identity(&[])), Ok(None), "a proxy hides it");
    }
}

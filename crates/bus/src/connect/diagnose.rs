//! Which failed connections an operator must mend, and how: everything else may pass by itself.

use async_nats::rustls::{self, CertificateError};
use async_nats::{ConnectError, ConnectErrorKind};

/// What an operator must mend before a connection can succeed, if that is so. async-nats calls most of it an
/// error of input and output, so the cause is looked for.
pub(super) fn mistake(error: &ConnectError) -> Option<&'static str> {
    match error.kind() {
        ConnectErrorKind::ServerParse | ConnectErrorKind::Tls => return Some("the settings are wrong"),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            return Some(
                "the server refuses the user or its credentials: check NATS_USER and NATS_PASSWORD, NATS_NKEY or NATS_CREDS",
            );
        }
        ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
        }
    }
    tls_error(error).map(|error| match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is signed by an authority that is not trusted: name the right one with NATS_CA"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name: use the name that it is for in NATS_URL",
        rustls::Error::InvalidCertificate(_) => "the server's certificate is not good",
        rustls::Error::AlertReceived(_) => {
            "the server refuses our certificate, or wants one: check NATS_CERT and NATS_KEY"
        }
        _ => "no encrypted connection can be made: does the server speak TLS?",
    })
}

/// The word of TLS in a chain of errors. It hides inside errors of input and output, which name as their
/// source not what they hold but its source.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let held = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        let found = held.and_then(|held| held.downcast_ref()).or_else(|| error.downcast_ref());
        if found.is_some() {
            return found;
        }
        next = held.map(|held| held as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

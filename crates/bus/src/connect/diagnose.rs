//! Diagnoses failed connections: the failures that an operator must fix, each with its remedy. Every other failure may
//! pass without intervention.

use async_nats::rustls::{self, CertificateError};
use async_nats::{ConnectError, ConnectErrorKind};

/// Returns the problem that an operator must fix before a connection can succeed; `None` if waiting may help.
/// async-nats reports most such problems as I/O errors, so the cause decides.
pub(super) fn diagnose(error: &ConnectError) -> Option<&'static str> {
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
            "the server's certificate is signed by an authority that is not trusted: set NATS_CA to the right one"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name: use that name in NATS_URL",
        rustls::Error::InvalidCertificate(_) => "the server's certificate is invalid",
        rustls::Error::AlertReceived(_) => {
            "the server refuses our certificate or requires one: check NATS_CERT and NATS_KEY"
        }
        _ => "TLS handshake failed: does the server speak TLS?",
    })
}

/// Finds the TLS error in a chain of errors. It hides inside I/O errors, whose `source` is not the error they wrap but
/// that error's source.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        let found = wrapped.and_then(|wrapped| wrapped.downcast_ref()).or_else(|| error.downcast_ref());
        if found.is_some() {
            return found;
        }
        next = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

//! Credentials and trusted authorities: read and checked before connecting, so that a wrong file is reported at once.
//! An error never contains a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use async_nats::rustls;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::{ConnectOptions, ServerAddr};

use crate::error::{BusError, BusErrorKind};

/// Credentials of a client. `Debug` redacts the password.
///
/// If several are set, the first of these counts: `creds`, `nkey`, `user`, a user and password in the address.
#[derive(Clone, Default)]
pub struct Credentials {
    /// User name, with `password`.
    pub user: Option<String>,
    /// Password of `user`.
    pub password: Option<String>,
    /// File with an nkey seed.
    pub nkey: Option<PathBuf>,
    /// Credentials file (JWT and seed).
    pub creds: Option<PathBuf>,
    /// File with the certificate authorities to trust, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate, with `key`.
    pub cert: Option<PathBuf>,
    /// Key of `cert`.
    pub key: Option<PathBuf>,
}

impl Credentials {
    /// Adds these credentials to `options` after checking every file. Certificate files are read again at every new
    /// connection, so that they can be renewed.
    pub(crate) async fn apply(
        &self,
        options: ConnectOptions,
        addresses: &[ServerAddr],
    ) -> Result<ConnectOptions, BusError> {
        let options = self.authenticate(options, addresses).await?;
        self.encrypt(options).await
    }

    async fn authenticate(
        &self,
        options: ConnectOptions,
        addresses: &[ServerAddr],
    ) -> Result<ConnectOptions, BusError> {
        if let Some(path) = &self.creds {
            let text = read(path, "the NATS credentials file").await?;
            return options.credentials(&text).map_err(|_| {
                invalid(path, "is not a NATS credentials file: it needs a user's JWT and nkey seed, as `nsc generate creds` writes them")
            });
        }
        if let Some(path) = &self.nkey {
            let text = read(path, "the NATS nkey file").await?;
            let seed = user_seed(&text).ok_or_else(|| {
                invalid(path, "holds no nkey seed of a user: a line that begins with SU, as `nk -gen user` writes it")
            })?;
            return Ok(options.nkey(seed.to_owned()));
        }
        match (&self.user, &self.password) {
            (Some(user), password) => {
                return Ok(options.user_and_password(user.clone(), password.clone().unwrap_or_default()));
            }
            (None, Some(_)) => return Err(misconfigured("NATS_PASSWORD is set without a user: set NATS_USER too")),
            (None, None) => {}
        }
        let in_address = addresses.iter().find_map(|address| Some((address.username()?, address.password()?)));
        Ok(match in_address {
            Some((user, password)) => options.user_and_password(percent_decode(user), percent_decode(password)),
            None => options,
        })
    }

    /// Adds authorities and certificate; either of them makes TLS mandatory.
    async fn encrypt(&self, mut options: ConnectOptions) -> Result<ConnectOptions, BusError> {
        if let Some(path) = &self.ca {
            check_authorities(path).await?;
            options = options.add_root_certificates(path.clone()).require_tls(true);
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                check_certificate(cert, key).await?;
                Ok(options.add_client_certificate(cert.clone(), key.clone()).require_tls(true))
            }
            (Some(_), None) => Err(misconfigured("NATS_CERT is set without its key: set NATS_KEY too")),
            (None, Some(_)) => Err(misconfigured("NATS_KEY is set without its certificate: set NATS_CERT too")),
            (None, None) => Ok(options),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, password, nkey, creds, ca, cert, key } = self;
        let password = password.as_ref().map(|_| "***");
        let mut output = f.debug_struct("Credentials");
        output.field("user", user).field("password", &password).field("nkey", nkey).field("creds", creds);
        output.field("ca", ca).field("cert", cert).field("key", key).finish()
    }
}

/// Finds the line of a user's seed, alone in its file or between `BEGIN` and `END`.
fn user_seed(text: &str) -> Option<&str> {
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU") && line.len() == SEED_CHARS)?;
    nkeys::KeyPair::from_seed(seed).ok().map(|_| seed)
}

/// Base32 of a prefix of 2 bytes, a seed of 32 and a checksum of 2.
const SEED_CHARS: usize = 58;

async fn check_authorities(path: &Path) -> Result<(), BusError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(path, "the certificate authorities of NATS_CA").await? {
        roots.add(certificate).map_err(|error| {
            invalid(path, format!("holds something other than certificates of authorities: {error}"))
        })?;
    }
    Ok(())
}

async fn check_certificate(cert: &Path, key: &Path) -> Result<(), BusError> {
    let chain = certificates(cert, "the client certificate of NATS_CERT").await?;
    let text = read(key, "the client key of NATS_KEY").await?;
    let private = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| invalid(key, "holds no private key in PEM form (BEGIN PRIVATE KEY)"))?;
    rustls::sign::CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider())
        .map(|_| ())
        .map_err(|error| invalid(key, format!("does not match the certificate in {}: {error}", cert.display())))
}

/// Reads the certificates in a PEM file: at least one.
async fn certificates(path: &Path, content: &str) -> Result<Vec<CertificateDer<'static>>, BusError> {
    let text = read(path, content).await?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| invalid(path, "holds no certificate in PEM form (BEGIN CERTIFICATE)"))
}

async fn read(path: &Path, content: &str) -> Result<String, BusError> {
    tokio::fs::read_to_string(path).await.map_err(|error| {
        BusError::caused(BusErrorKind::Configuration, format!("read {content} {}", path.display()), error)
    })
}

fn invalid(path: &Path, problem: impl fmt::Display) -> BusError {
    misconfigured(format!("{} {problem}", path.display()))
}

fn misconfigured(message: impl Into<String>) -> BusError {
    BusError::new(BusErrorKind::Configuration, message)
}

/// Decodes `%xx` in a part of an address: a password may contain any character.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (decoded.push(byte), at += 3),
            None => (decoded.push(bytes[at]), at += 1),
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_character_in_an_address_becomes_it() {
        assert_eq!(percent_decode("p%40ss%2Fw%C3%B6rd"), "p@ss/wörd");
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%4"), "%4");
        assert_eq!(percent_decode("%zz%é"), "%zz%é");
    }

    #[test]
    fn the_seed_is_found_plain_and_decorated() {
        let seed = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
        assert_eq!(user_seed(seed), Some(seed));
        let decorated = format!("-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n");
        assert_eq!(user_seed(&decorated), Some(seed));
        for invalid in [
            "",
            "SU",
            "nonsense",
            &seed[..57],
            &seed.replace('Q', "R"),
            &seed.replace("SU", "SA"),
            &seed.to_lowercase(),
        ] {
            assert_eq!(user_seed(invalid), None, "{invalid}");
        }
    }
}

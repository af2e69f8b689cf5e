//! Every kind of credentials, on a real server that requires it, and every kind of invalid file.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa};
use serde_json::{Value, json};
use spindle_bus::{Bus, BusError, BusErrorKind, Credentials, NatsSettings};
use spindle_testkit::{NatsServer, Options};
use support::{LIMITS, chain, ends, until};

/// Files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A private certificate authority.
struct Authority {
    issuer: CertifiedIssuer<'static, rcgen::KeyPair>,
    file: PathBuf,
}

/// A certificate and its key, as files.
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Folder, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
        let file = folder.write(&format!("{name}.pem"), &issuer.pem());
        Self { issuer, file }
    }

    fn sign(&self, folder: &Folder, name: &str, mut params: CertificateParams) -> Certificate {
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            cert: folder.write(&format!("{name}.pem"), &cert.pem()),
            key: folder.write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }

    fn certify(&self, folder: &Folder, name: &str) -> Certificate {
        self.sign(folder, name, CertificateParams::new([name.to_owned()]).unwrap())
    }
}

fn quoted(path: &Path) -> String {
    json!(path.to_str().unwrap()).to_string()
}

fn server(extra_config: String) -> NatsServer {
    NatsServer::start_with(Options { extra_config, ..Options::default() }).unwrap()
}

fn tls_server(certificate: &Certificate, more: &str) -> NatsServer {
    let (cert, key) = (quoted(&certificate.cert), quoted(&certificate.key));
    server(format!("tls {{ cert_file: {cert}, key_file: {key}, {more} }}"))
}

async fn connect(url: &str, credentials: Credentials) -> Result<Bus, BusError> {
    // A connection that waits here would wait in vain.
    let settings = NatsSettings { url: url.to_owned(), credentials, connect_timeout: Duration::from_secs(600) };
    ends("connecting", Bus::connect(&settings, "test")).await
}

/// Asserts that connecting fails at once as an operator's problem, in one line that contains all of `expected`.
async fn refused(url: &str, credentials: Credentials, expected: &[&str]) {
    let error = connect(url, credentials).await.expect_err("a connection that must be refused");
    let message = chain(&error);
    assert_eq!(error.kind(), BusErrorKind::Configuration, "{message}");
    assert!(expected.iter().all(|part| error.to_string().contains(part)), "{expected:?} are not all in: {message}");
    assert!(!message.contains('\n') && !message.contains("sesame"), "{message}");
}

/// Asserts that JetStream answers on the connection.
async fn works(bus: &Bus) {
    bus.ensure_streams(LIMITS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_checks_the_server() {
    let folder = Folder::new();
    let (ours, other) = (Authority::new(&folder, "ours"), Authority::new(&folder, "other"));
    let mut server = tls_server(&ours.certify(&folder, "127.0.0.1"), "");
    let trusting = |authority: &Authority| Credentials { ca: Some(authority.file.clone()), ..Credentials::default() };
    refused(&server.url(), trusting(&other), &["not trusted", "NATS_CA"]).await;
    refused(&server.url(), Credentials::default(), &["not trusted", "NATS_CA"]).await;
    let strange = tls_server(&ours.certify(&folder, "elsewhere.example"), "");
    refused(&strange.url(), trusting(&ours), &["another name", "NATS_URL"]).await;
    let mut old = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = tls_server(&ours.sign(&folder, "expired", old), "");
    refused(&expired.url(), trusting(&ours), &["certificate is invalid"]).await;

    for url in [server.url(), server.url().replace("nats://", "tls://")] {
        works(&connect(&url, trusting(&ours)).await.unwrap()).await;
    }
    let bus = connect(&server.url(), trusting(&ours)).await.unwrap();
    server.kill();
    until("the loss to be noticed", async || !bus.is_connected()).await;
    server.restart().unwrap();
    until("the connection to be back", async || bus.is_connected()).await;
    works(&bus).await;
    assert_eq!(bus.n_connects(), 2);

    // A connection meant to be encrypted never falls back to plain text.
    let plain = NatsServer::start().unwrap();
    refused(&plain.url(), trusting(&ours), &["speak TLS"]).await;
    refused(&plain.url().replace("nats://", "tls://"), Credentials::default(), &["speak TLS"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_shows_the_server_who_we_are() {
    let folder = Folder::new();
    let (ours, other) = (Authority::new(&folder, "ours"), Authority::new(&folder, "other"));
    let server =
        tls_server(&ours.certify(&folder, "127.0.0.1"), &format!("ca_file: {}, verify: true", quoted(&ours.file)));
    let with = |certificate: &Certificate| Credentials {
        ca: Some(ours.file.clone()),
        cert: Some(certificate.cert.clone()),
        key: Some(certificate.key.clone()),
        ..Credentials::default()
    };
    let client = ours.certify(&folder, "client.example");
    works(&connect(&server.url(), with(&client)).await.unwrap()).await;
    let without = Credentials { ca: Some(ours.file.clone()), ..Credentials::default() };
    refused(&server.url(), without, &["NATS_CERT"]).await;
    let stranger = other.certify(&folder, "stranger.example");
    refused(&server.url(), with(&stranger), &["NATS_CERT"]).await;
    let mixed = Certificate { cert: client.cert.clone(), key: stranger.key.clone() };
    refused(&server.url(), with(&mixed), &["stranger.example.key", "client.example.pem"]).await;
    for half in [Credentials { key: None, ..with(&client) }, Credentials { cert: None, ..with(&client) }] {
        refused(&server.url(), half, &["NATS_CERT", "NATS_KEY"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_nkey_opens() {
    let folder = Folder::new();
    let (known, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let mut server = server(format!("authorization {{ users: [ {{ nkey: {} }} ] }}", known.public_key()));
    let with = |name: &str, key: &KeyPair| Credentials {
        nkey: Some(folder.write(name, &format!("{}\n", key.seed().unwrap()))),
        ..Credentials::default()
    };
    let bus = connect(&server.url(), with("known.nk", &known)).await.unwrap();
    works(&bus).await;
    refused(&server.url(), with("stranger.nk", &stranger), &["NATS_NKEY"]).await;
    refused(&server.url(), Credentials::default(), &["NATS_NKEY"]).await;
    server.restart().unwrap();
    until("the connection to be back", async || bus.is_connected() && bus.n_connects() == 2).await;
}

/// Signs a JWT as NATS does.
fn signed(by: &KeyPair, subject: &KeyPair, name: &str, claims: &Value) -> String {
    let encoded = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encoded(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = encoded(json!({
        "jti": name, "iat": 1_700_000_000, "iss": by.public_key(), "sub": subject.public_key(), "name": name, "nats": claims,
    }));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(by.sign(format!("{head}.{body}").as_bytes()).unwrap());
    format!("{head}.{body}.{signature}")
}

fn account(operator: &KeyPair, account: &KeyPair, name: &str, disk: i64) -> String {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": disk, "disk_storage": disk, "streams": disk, "consumer": disk,
    });
    signed(
        operator,
        account,
        name,
        &json!({ "type": "account", "version": 2, "limits": limits, "default_permissions": {} }),
    )
}

fn credentials_file(account: &KeyPair, user: &KeyPair) -> String {
    let claims = json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
    let jwt = signed(account, user, "someone", &claims);
    let seed = user.seed().unwrap();
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_opens() {
    let folder = Folder::new();
    let (operator, system, fleet) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let server = server(format!(
        "operator: {}\nresolver: MEMORY\nsystem_account: {}\nresolver_preload: {{\n  {}: {}\n  {}: {}\n}}\n",
        signed(&operator, &operator, "operator", &json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        system.public_key(),
        account(&operator, &system, "SYS", 0),
        fleet.public_key(),
        account(&operator, &fleet, "FLEET", -1),
    ));
    let with = |name: &str, text: &str| Credentials { creds: Some(folder.write(name, text)), ..Credentials::default() };
    let good = credentials_file(&fleet, &KeyPair::new_user());
    works(&connect(&server.url(), with("good.creds", &good)).await.unwrap()).await;
    let unknown = credentials_file(&KeyPair::new_account(), &KeyPair::new_user());
    refused(&server.url(), with("unknown.creds", &unknown), &["NATS_CREDS"]).await;
    // A valid JWT with another user's seed.
    let (user, thief) = (KeyPair::new_user().seed().unwrap(), KeyPair::new_user().seed().unwrap());
    let stolen = credentials_file(&fleet, &KeyPair::from_seed(&user).unwrap()).replace(&user, &thief);
    refused(&server.url(), with("stolen.creds", &stolen), &["NATS_CREDS"]).await;
    refused(&server.url(), Credentials::default(), &["NATS_CREDS"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_in_the_address_may_hold_any_character() {
    let server = server("authorization { user: \"a b\", password: \"p@ss/w:rd?ö%\" }".to_owned());
    let url = |userinfo: &str| format!("nats://{userinfo}@127.0.0.1:{}", server.port());
    works(&connect(&url("a%20b:p%40ss%2Fw%3Ard%3F%C3%B6%25"), Credentials::default()).await.unwrap()).await;
    refused(&url("a%20b:sesame"), Credentials::default(), &["NATS_PASSWORD"]).await;
    let lonely = Credentials { password: Some("sesame".to_owned()), ..Credentials::default() };
    refused(&server.url(), lonely, &["NATS_USER"]).await;
}

#[tokio::test]
async fn a_wrong_file_is_named_before_anything_is_connected() {
    let folder = Folder::new();
    let ours = Authority::new(&folder, "ours");
    let client = ours.certify(&folder, "client.example");
    let garbage = folder.write("garbage", "sesame\n");
    let broken = folder.write("broken", "-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----\n");
    let seed_alone = folder.write("seed", &KeyPair::new_user().seed().unwrap());
    let account = folder.write("account", &KeyPair::new_account().seed().unwrap());
    let binary = folder.0.path().join("binary");
    std::fs::write(&binary, [0xff, 0xfe, 0]).unwrap();
    let missing = folder.0.path().join("missing");
    let none = Credentials::default();
    let creds = |path: &PathBuf| Credentials { creds: Some(path.clone()), ..none.clone() };
    let nkey = |path: &PathBuf| Credentials { nkey: Some(path.clone()), ..none.clone() };
    let ca = |path: &PathBuf| Credentials { ca: Some(path.clone()), ..none.clone() };
    let pair = |cert: &PathBuf, key: &PathBuf| Credentials {
        cert: Some(cert.clone()),
        key: Some(key.clone()),
        ..none.clone()
    };
    // Nothing listens there: a connection attempt would take ten minutes.
    let url = "nats://127.0.0.1:1";
    for path in [&missing, &binary, &folder.0.path().to_owned()] {
        let name = path.to_str().unwrap();
        for given in [creds(path), nkey(path), ca(path), pair(path, &client.key), pair(&client.cert, path)] {
            refused(url, given, &["read", name]).await;
        }
    }
    for path in [&garbage, &seed_alone, &client.cert] {
        refused(url, creds(path), &[path.to_str().unwrap(), "is not a NATS credentials file"]).await;
    }
    for path in [&garbage, &account, &client.key] {
        refused(url, nkey(path), &[path.to_str().unwrap(), "SU"]).await;
    }
    for path in [&garbage, &client.key, &broken] {
        refused(url, ca(path), &[path.to_str().unwrap(), "certificate"]).await;
    }
    refused(url, pair(&garbage, &client.key), &["garbage", "BEGIN CERTIFICATE"]).await;
    refused(url, pair(&broken, &client.key), &["broken", "client.example.key"]).await;
    refused(url, pair(&client.cert, &garbage), &["garbage", "BEGIN PRIVATE KEY"]).await;
}

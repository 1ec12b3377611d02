//! TLS: the certificate must be that of the server; and passwords, which are never shown.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use livetrail_replica::{ReplicaError, ReplicaSink as _};
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget, set_up};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use system_tests::Postgres;

/// Only over TLS, and only with a password.
const RULES: &str =
    "hostssl all trail 127.0.0.0/8 scram-sha-256\nhost all postgres 127.0.0.0/8 trust\n";

/// A server with a certificate for its address, and the authority that signed it.
fn server(name: &str, ca_file: &Path) -> Postgres {
    Postgres::start_with(|data| {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(ca_file, authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        std::fs::write(data.join("server.crt"), certificate.pem()).unwrap();
        let key_file = data.join("server.key");
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        // The server refuses a key that others may read.
        std::fs::set_permissions(&key_file, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(data.join("pg_hba.conf"), RULES).unwrap();
        vec!["ssl=on".to_owned()]
    })
}

fn sink(server: &Postgres, password: &str, ca_file: Option<&Path>) -> PostgresSink {
    let url = format!(
        "postgres://trail:{password}@localhost:{}/postgres?hostaddr={}&sslmode=require",
        server.address().port(),
        server.address().ip()
    );
    let target = PostgresTarget::parse(&url).unwrap();
    let target = match ca_file {
        Some(file) => target.with_ca_file(file),
        None => target,
    };
    PostgresSink::new("postgres", target).unwrap()
}

async fn prepared(name: &str, ca_file: &Path) -> Postgres {
    let server = server(name, ca_file);
    let administrator = PostgresTarget::parse(&server.url()).unwrap();
    set_up(&administrator).await.unwrap();
    server.sql("CREATE ROLE trail LOGIN PASSWORD 'hunter2' IN ROLE livetrail_writer");
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_certificate_fits_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    let server = prepared("localhost", &ca_file).await;
    let sink = sink(&server, "hunter2", Some(&ca_file));
    sink.health().await.unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'trail'";
    assert_eq!(server.sql(encrypted), "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, other) = (dir.path().join("ca.pem"), dir.path().join("other.pem"));
    let elsewhere = prepared("db.example.com", &ca_file).await;
    let error = sink(&elsewhere, "hunter2", Some(&ca_file))
        .health()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ReplicaError::Certificate { .. }),
        "another name: {error:?}"
    );
    let server = prepared("localhost", &other).await;
    let error = sink(&server, "hunter2", Some(&ca_file))
        .health()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ReplicaError::Certificate { .. }),
        "another authority: {error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_not_written_to() {
    let server = Postgres::start();
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(&ca_file, authority.self_signed(&key).unwrap().pem()).unwrap();
    let error = sink(&server, "hunter2", Some(&ca_file))
        .health()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ReplicaError::Unsuitable { .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_reported_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    let server = prepared("localhost", &ca_file).await;
    let sink = sink(&server, "hunter3", Some(&ca_file));
    let error = sink.health().await.unwrap_err();
    assert!(matches!(error, ReplicaError::Denied { .. }), "{error:?}");
    for shown in [format!("{error} {error:?}"), format!("{sink:?}")] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

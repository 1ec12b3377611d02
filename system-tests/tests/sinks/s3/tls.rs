//! TLS: the certificate must be that of the bucket's server, for the sink and for the verifier.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use livetrail_replica::conformance::{Place as AnyPlace, TestLog, run_case};
use livetrail_replica::{ErrorClass, ReplicaError, ReplicaSink as _};
use livetrail_s3::{Bucket, Endpoint};
use livetrail_sinks::s3::S3Options;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use system_tests::{Config, Finished, Server, TlsFront, clock, livetrail_verify, run};

use super::{Place, sink};

const ORIGIN: &str = "example.com/a";
const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, with its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(file: PathBuf) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// TLS before the place's guard, with a certificate for this name.
    fn front(&self, place: &Place, name: &str) -> TlsFront {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        TlsFront::start(
            place.guard.address(),
            &certificate.pem(),
            &key.serialize_pem(),
        )
    }
}

/// The destination's bucket as `https://localhost`, with the trusted authorities in this file.
fn options(place: &Place, front: &TlsFront, ca_file: &Path) -> S3Options {
    let url = format!("https://localhost:{}", front.address().port());
    let endpoint = Endpoint::new(&url, "us-east-1", true).unwrap();
    let mut options = place.options();
    options.bucket = Bucket::new(endpoint, place.bucket.name()).unwrap();
    options.ca_file = Some(ca_file.to_owned());
    options
}

/// A server whose `[sink.s3]` trusts the authorities in this file.
fn server(place: &Place, front: &TlsFront, ca_file: &Path) -> Server {
    let endpoint = format!("https://localhost:{}", front.address().port());
    let lines = place.settings(&endpoint) + &format!("ca_file = {ca_file:?}\n");
    Server::start(Config::new().sink("bucket", "s3", &lines))
}

#[test]
fn a_server_whose_certificate_fits_is_written_to_and_read_by_the_verifier() {
    run_case(async {
        let place = Place::fresh().await;
        tokio::task::block_in_place(|| {
            let dir = tempfile::tempdir().unwrap();
            let authority = Authority::new(dir.path().join("ca.pem"));
            let front = authority.front(&place, "localhost");
            let mut server = server(&place, &front, &authority.file);
            server.grow(300);
            // The remaining entries are sent before it ends.
            let records = server.stop().records().len();
            let verify = |trusted| verify(&place, &front, &server.data(), trusted);
            let output = verify(&authority.file).success();
            assert!(
                output.stdout.starts_with("SOUND  s3://"),
                "{}",
                output.output()
            );
            assert!(
                output.stdout.contains(&records.to_string()),
                "{}",
                output.output()
            );
            let stranger = Authority::new(dir.path().join("other.pem"));
            let output = verify(&stranger.file);
            assert_eq!(output.status.code(), Some(2), "{}", output.output());
        });
    });
}

/// `livetrail-verify` on a machine that trusts the authorities in this file.
fn verify(place: &Place, front: &TlsFront, data: &Path, trusted: &Path) -> Finished {
    let keys = data.join("trail.vkey");
    let text = std::fs::read_to_string(&keys).unwrap();
    let origin = text.split('+').next().unwrap().replace('/', "_2F");
    let mut command = Command::new(livetrail_verify());
    command.arg(format!("s3://{}/{origin}", place.bucket.name()));
    command.arg("--s3-endpoint");
    command.arg(format!("https://localhost:{}", front.address().port()));
    command
        .args(["--s3-region", "us-east-1", "--vkey"])
        .arg(keys);
    command.env("AWS_ACCESS_KEY_ID", "auditor");
    command.env("AWS_SECRET_ACCESS_KEY", "a-secret");
    command
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR");
    run("livetrail-verify", &command, PATIENCE)
}

/// The server reports at once that a person is needed, and continues without the bucket.
#[test]
fn a_server_that_meets_a_stranger_reports_it_at_once() {
    run_case(async {
        let place = Place::fresh().await;
        tokio::task::block_in_place(|| {
            let dir = tempfile::tempdir().unwrap();
            let authority = Authority::new(dir.path().join("ca.pem"));
            let stranger = Authority::new(dir.path().join("other.pem"));
            let front = authority.front(&place, "localhost");
            let mut server = server(&place, &front, &stranger.file);
            clock::wait_until("the stranger is noticed", PATIENCE, || {
                server.get("/health").json()["sinks"][0]["state"] == "blocked"
            });
            let log = server.log();
            assert!(log.contains("certificate does not fit"), "{log}");
            let health = server.get("/health").json();
            assert_eq!(health["status"], "degraded", "{health}");
            server.stop();
        });
    });
}

/// Refused at once, as a problem for a person, with the reason, and with nothing written.
#[test]
fn a_stranger_is_not_written_to() {
    run_case(async {
        let place = Place::fresh().await;
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path().join("ca.pem"));
        let stranger = Authority::new(dir.path().join("other.pem"));
        let log = TestLog::with(ORIGIN, 10);
        for (front, trusted, why) in [
            (
                authority.front(&place, "localhost"),
                &stranger,
                "invalid peer certificate",
            ),
            (
                authority.front(&place, "s3.example.com"),
                &authority,
                "s3.example.com",
            ),
        ] {
            let bucket = sink(options(&place, &front, &trusted.file));
            for error in [
                bucket.health().await.unwrap_err(),
                bucket.cursor(ORIGIN).await.unwrap_err(),
                bucket.append(&log.range(0, 10)).await.unwrap_err(),
            ] {
                assert!(
                    matches!(error, ReplicaError::Certificate { .. }),
                    "{error:?}"
                );
                assert_eq!(error.class(), ErrorClass::Permanent);
                let text = chain(&error);
                assert!(text.contains("certificate does not fit"), "{text}");
                assert!(text.contains("ca_file") && text.contains(why), "{text}");
                assert!(!text.contains("a-secret"), "{text}");
            }
        }
        assert_eq!(place.versions(ORIGIN), []);
    });
}

/// An error with its causes.
fn chain(error: &ReplicaError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

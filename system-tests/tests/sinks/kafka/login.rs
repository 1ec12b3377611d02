//! Authentication of both sides: passwords, certificates, and a server that has them from its
//! configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_replica::conformance::{Access, Place, TestLog, run_case};
use livetrail_replica::{ReplicaError, ReplicaSink};
use livetrail_sinks::kafka::{KafkaSink, KafkaTarget, SaslMechanism, set_up};
use system_tests::{Finished, KafkaBroker, livetrail, run};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, block_in_place};

use super::gate::Gate;
use super::{PARTITIONS, TOPIC, Topic, held, reader, target};

const ORIGIN: &str = "example.com/a";

const USER: &str = "writer";

const PATIENCE: Duration = Duration::from_secs(60);

const PASSWORD: &str = "correct=horse,battery staple";

/// A topic behind a login.
struct Login {
    broker: KafkaBroker,
    gate: Gate,
}

impl Login {
    fn target(&self, password: &str, mechanism: SaslMechanism) -> KafkaTarget {
        let brokers = self.broker.clients_address();
        target(&format!("kafka://{brokers}/{TOPIC}?accept=one-replica"))
            .with_user(USER)
            .with_password(password)
            .with_mechanism(mechanism)
    }
}

#[async_trait]
impl Place for Login {
    async fn fresh() -> Self {
        let plain = KafkaBroker::free_address();
        let gate = Gate::start(plain, USER, PASSWORD).await;
        let broker = KafkaBroker::start(plain, gate.address());
        let login = Self { broker, gate };
        let target = login.target(PASSWORD, SaslMechanism::ScramSha512);
        assert!(
            block_in_place(|| set_up(&target, PARTITIONS, 1))
                .unwrap()
                .made
        );
        login
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        let target = self.target(PASSWORD, SaslMechanism::ScramSha512);
        Arc::new(KafkaSink::new("kafka", target).unwrap())
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        let mut client = reader(&self.broker.clients_address().to_string());
        client
            .set("security.protocol", "sasl_plaintext")
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", USER)
            .set("sasl.password", PASSWORD);
        let origin = origin.to_owned();
        let read = move || held(&client, PARTITIONS, &origin);
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

/// The password is changed, and clients that were logged in must show it again.
#[async_trait]
impl Access for Login {
    async fn revoke(&self) {
        self.gate.set_password("another");
    }

    async fn grant(&self) {
        self.gate.set_password(PASSWORD);
    }
}

livetrail_replica::replica_conformance!(Login: access);

/// Either mechanism admits anyone who knows the password, and nobody else.
#[test]
fn a_password_lets_in_and_another_does_not() {
    run_case(async {
        let login = Login::fresh().await;
        let log = TestLog::with(ORIGIN, 100);
        let mechanisms = [SaslMechanism::Plain, SaslMechanism::ScramSha512];
        for (first, mechanism) in [0, 50].into_iter().zip(mechanisms) {
            let sink = KafkaSink::new("kafka", login.target(PASSWORD, mechanism)).unwrap();
            sink.append(&log.range(first, 50)).await.unwrap();
            sink.health().await.unwrap();
            let target = login.target("hunter2", mechanism);
            let wrong = KafkaSink::new("kafka", target).unwrap();
            for refused in [
                wrong.cursor(ORIGIN).await.unwrap_err(),
                wrong.append(&log.range(first, 50)).await.unwrap_err(),
            ] {
                assert!(
                    matches!(refused, ReplicaError::Denied { .. }),
                    "{refused:?}"
                );
                let error = format!("{refused} {refused:?}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
        assert_eq!(login.held(ORIGIN).await.len(), 100);
    });
}

/// A broker that does not know the user refuses it, as an error for a person. The password is never
/// shown.
#[test]
fn a_refused_login_is_reported_at_once_and_shows_no_password() {
    run_case(async {
        let topic = Topic::fresh().await;
        block_in_place(|| topic.broker.turn_everybody_away());
        for mechanism in [SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
            let target = target(&topic.address())
                .with_user(USER)
                .with_password("hunter2")
                .with_mechanism(mechanism);
            let sink = KafkaSink::new("kafka", target.clone()).unwrap();
            let log = TestLog::with(ORIGIN, 50);
            for refused in [
                sink.cursor(ORIGIN).await.unwrap_err(),
                sink.append(&log.range(0, 50)).await.unwrap_err(),
                sink.health().await.unwrap_err(),
            ] {
                assert!(
                    matches!(refused, ReplicaError::Denied { .. }),
                    "{refused:?}"
                );
                let error = format!("{refused} {refused:?}");
                assert!(!error.contains("hunter2"), "{error}");
            }
            let error = block_in_place(|| set_up(&target, PARTITIONS, 1)).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("do not let us in"), "{source}");
        }
    });
}

/// A broker behind TLS: its own TLS needs a certificate of one form, so a proxy is in front of it.
struct Encrypted {
    dir: TempDir,
    broker: KafkaBroker,
    encrypting: JoinHandle<()>,
    _gate: Option<Gate>,
}

impl Encrypted {
    async fn start(login: Option<(&str, &str)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issued = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (ours, strangers) = (issued(), issued());
        std::fs::write(dir.path().join("ca.pem"), ours.cert.pem()).unwrap();
        std::fs::write(dir.path().join("other.pem"), strangers.cert.pem()).unwrap();
        let plain = KafkaBroker::free_address();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = KafkaBroker::start(plain, listener.local_addr().unwrap());
        let gate = match login {
            Some((user, password)) => Some(Gate::start(plain, user, password).await),
            None => None,
        };
        let inner = gate.as_ref().map_or(plain, Gate::address);
        let encrypting = tokio::spawn(encrypt(listener, inner, ours));
        Self {
            dir,
            broker,
            encrypting,
            _gate: gate,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.encrypting.abort();
    }
}

async fn encrypt(
    listener: TcpListener,
    target: SocketAddr,
    identity: rcgen::CertifiedKey<rcgen::KeyPair>,
) {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    while let Ok((client, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut client) = acceptor.accept(client).await else {
                return;
            };
            if let Ok(mut broker) = TcpStream::connect(target).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
            }
        });
    }
}

/// Over TLS, and only to a server whose certificate a trusted authority has signed.
#[test]
fn certificates_are_checked() {
    run_case(async {
        let place = Encrypted::start(None).await;
        let at = place.broker.clients_address();
        let address = format!("kafka://{at}/{TOPIC}?accept=one-replica");
        let right = || target(&address).with_ca_file(place.file("ca.pem"));
        assert!(
            block_in_place(|| set_up(&right(), PARTITIONS, 1))
                .unwrap()
                .made
        );
        let log = TestLog::with(ORIGIN, 50);
        let sink = KafkaSink::new("kafka", right()).unwrap();
        sink.append(&log.range(0, 50)).await.unwrap();
        assert_eq!(sink.cursor(ORIGIN).await.unwrap().next(), 50);

        for target in [
            right().with_ca_file(place.file("other.pem")),
            target(&address).with_tls(true),
        ] {
            let distrusting = KafkaSink::new("kafka", target).unwrap();
            for refused in [
                distrusting.cursor(ORIGIN).await.unwrap_err(),
                distrusting.append(&log.range(0, 50)).await.unwrap_err(),
            ] {
                assert!(
                    matches!(refused, ReplicaError::Certificate { .. }),
                    "{refused:?}"
                );
            }
        }
    });
}

/// From the configuration: TLS and a login, the password in a file or a variable. Errors name the
/// problem, and have an exit code.
#[test]
fn a_configuration_has_all_of_it_and_no_password() {
    run_case(async {
        let place = Encrypted::start(Some((USER, PASSWORD))).await;
        let dir = place.dir.path();
        let at = place.broker.clients_address();
        let config = |ca: &str, password: &str| {
            let text = format!(
                "[[sink]]\nname = \"topic\"\npersonal = \"opening\"\n[sink.kafka]\nbrokers = [\"{at}\"]\ntopic = \"{TOPIC}\"\nuser = \"{USER}\"\n{password}\n\
                 ca_file = \"{ca}\"\naccept = [\"one-replica\"]\n"
            );
            std::fs::write(dir.join("livetrail.toml"), text).unwrap();
        };
        block_in_place(|| {
            std::fs::write(dir.join("right"), format!("{PASSWORD}\n")).unwrap();
            std::fs::write(dir.join("wrong"), "hunter2\n").unwrap();
            types(dir, &["trail", "init", "data", "--origin", ORIGIN]).success();
            let init = ["trail", "sinks", "init", "kafka", "-c", "livetrail.toml"];
            let status = ["trail", "sinks", "status", "-c", "livetrail.toml"];
            let status = [&status[..], &["--data", "data", "--timeout", "20s"]].concat();
            config("ca.pem", "password_file = \"wrong\"");
            fails(dir, &init, 1, "do not let us in");
            let login = ["--user", USER, "--password-file", "right"];
            let made = types(dir, &[&init[..], &login].concat()).success();
            for (line, topic) in made.stdout.lines().zip([TOPIC, "audit-openings"]) {
                let words =
                    format!("sink topic: topic {topic} is made: partitions 1, replicas 1, ");
                assert!(line.starts_with(&words), "{}", made.output());
            }
            let compacted = "cleanup.policy=compact max.compaction.lag.ms=86400000";
            assert!(made.stdout.contains(compacted), "{}", made.output());
            fails(dir, &status, 1, "do not let us in");
            config("ca.pem", "password_env = \"TEST_PASSWORD\"");
            fails(dir, &status, 1, "do not let us in");
            config("ca.pem", "password_file = \"right\"");
            let well = types(dir, &status).success();
            assert!(well.stdout.contains("ok"), "{}", well.output());
            let names = "opening, erased up to 0";
            assert!(well.stdout.contains(names), "{}", well.output());
            config("other.pem", "password_file = \"right\"");
            fails(dir, &init, 1, "certificate is not believed");
            fails(dir, &status, 1, "certificate is not believed");
            config("ca.pem", "password_env = \"TEST_NONE\"");
            fails(dir, &status, 2, "the variable TEST_NONE is not set");
            config("ca.pem", "password_file = \"none\"");
            fails(dir, &status, 2, "password_file: cannot read none");
        });
    });
}

#[track_caller]
fn fails(dir: &Path, arguments: &[&str], code: i32, words: &str) {
    let failed = types(dir, arguments);
    assert_eq!(failed.status.code(), Some(code), "{}", failed.output());
    let error = failed.output();
    assert!(error.contains(words), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

fn types(dir: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new(livetrail());
    command
        .current_dir(dir)
        .args(arguments)
        .env("TEST_PASSWORD", "hunter2");
    run("livetrail", &command, PATIENCE)
}

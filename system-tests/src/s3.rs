//! An S3 server with Object Lock, LocalStack's: one for the process, because it takes seconds to
//! start; each test has its own buckets.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use livetrail_s3::{Bucket, Credentials, Endpoint, Request, SignedRequest};
use tempfile::TempDir;

use crate::clock::{wait_until, wall_ms};
use crate::http::{self, Answer};
use crate::python::s3_python;
use crate::server::free_port;

const SCRIPT: &str = include_str!("s3-server.py");

/// The timeout, for a machine that builds at the same time.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// The server. It ends with the process, and its files with it.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    /// It ends when its standard input does.
    _process: Child,
}

impl S3Server {
    /// The one of this process, started when first asked for.
    ///
    /// # Panics
    /// When it cannot be downloaded or does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<S3Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = TempDir::with_prefix("livetrail-s3").expect("a folder");
        // The server removes it: nothing of this process runs at its end.
        let folder = folder.keep();
        let script = folder.join("s3-server.py");
        std::fs::write(&script, SCRIPT).expect("the server's script");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let address = free_port(Ipv4Addr::LOCALHOST);
        let mut command = s3_python();
        command
            .arg(&script)
            .arg(address.port().to_string())
            .arg(&folder);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("Python starts");
        wait_until("the S3 server answers", START_PATIENCE, || {
            if let Some(status) = process.try_wait().expect("its status") {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("the S3 server ended: {status}\n{log}");
            }
            http::request(address, "GET", "/", &[]).is_ok_and(|answer| answer.status == 200)
        });
        Self {
            address,
            _process: process,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn create_bucket(&self, name: &str, object_lock: bool) -> Bucket {
        let bucket = bucket_at(self.address, name);
        let made = self.ask(bucket.create(object_lock));
        assert_eq!(made.status, 200, "{}", made.text());
        bucket
    }

    /// Lets a bucket with Object Lock lock each object by itself: for a day, with `COMPLIANCE` or
    /// `GOVERNANCE`.
    ///
    /// # Panics
    /// When the server does not do it.
    pub fn lock_by_default(&self, bucket: &str, mode: &str) {
        let body = format!(
            "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
             <Rule><DefaultRetention><Mode>{mode}</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
        );
        // The server checks no signature. It only needs to see which service is meant.
        let headers = [
            "authorization: AWS4-HMAC-SHA256 Credential=administrator/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
            &format!("content-length: {}", body.len()),
        ];
        let path = format!("/{bucket}?object-lock");
        let mut request = http::request_bytes(self.address, "PUT", &path, &headers);
        request.extend_from_slice(body.as_bytes());
        let answer = http::exchange(self.address, &request).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Sends a request as a user with all rights.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn ask(&self, request: Request) -> Answer {
        let credentials = Credentials::new("administrator", "secret", None).expect("credentials");
        let signed = request
            .sign(&credentials, wall_ms() / 1_000)
            .expect("a request");
        let answer = http::exchange(self.address, &bytes_of(self.address, &signed));
        answer.unwrap_or_else(|error| panic!("{signed:?}: {error}"))
    }
}

/// The bytes of a signed request.
fn bytes_of(to: SocketAddr, signed: &SignedRequest) -> Vec<u8> {
    let path = signed.url.splitn(4, '/').nth(3).unwrap_or_default();
    let mut headers: Vec<String> = signed
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.push(format!("content-length: {}", signed.body.len()));
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let method = signed.method.as_str();
    let mut bytes = http::request_bytes(to, method, &format!("/{path}"), &headers);
    bytes.extend_from_slice(&signed.body);
    bytes
}

/// A bucket on a server at this address, or behind a running proxy.
///
/// # Panics
/// When the name is invalid.
#[must_use]
pub fn bucket_at(address: SocketAddr, name: &str) -> Bucket {
    let endpoint = Endpoint::new(&format!("http://{address}"), "us-east-1", true);
    Bucket::new(endpoint.expect("an endpoint"), name).expect("a bucket's name")
}

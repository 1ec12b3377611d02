//! A certificate that an authority issues and renews: Debian's pebble.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use system_tests::{Authority, Config, Process, Server, clock, free_address, tool};

const ENDS: Duration = Duration::from_secs(60);
/// The host's name, which only the authority's own name server knows.
const NAME: &str = "live.example.test";
/// How long the authority's certificates are valid, in seconds.
const LIFETIME: u64 = 9;

/// An authority that checks names at one address.
struct Pebble {
    authority: Authority,
    directory: String,
    management: SocketAddr,
    process: Process,
    _names: Process,
}

impl Pebble {
    /// `https` is where it looks for every name.
    fn start(https: SocketAddr) -> Self {
        let authority = Authority::new();
        let (directory, management, names) = (free_address(), free_address(), free_address());
        authority.sign("pebble", &[directory, management], 2100);
        let config = serde_json::json!({"pebble": {
            "listenAddress": directory,
            "managementListenAddress": management,
            "certificate": authority.path("pebble.pem"),
            "privateKey": authority.path("pebble.key"),
            "httpPort": 1,
            "tlsPort": https.port(),
            "certificateValidityPeriod": LIFETIME,
        }});
        let file = authority.path("pebble.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let mut command = tool::tool("pebble-challtestsrv", "pebble");
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-dns01", &names.to_string(), "-defaultIPv6", ""]);
        command.args(["-defaultIPv4", &https.ip().to_string()]);
        command.args(["-management", &free_address().to_string()]);
        let name_server = Process::spawn("pebble-challtestsrv", &command);
        let mut command = tool::tool("pebble", "pebble");
        command.arg("-config").arg(file);
        command.args(["-dnsserver", &names.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let process = Process::spawn("pebble", &command);
        for address in [directory, management] {
            clock::wait_until("pebble listens", ENDS, || {
                TcpStream::connect(address).is_ok()
            });
        }
        Self {
            authority,
            directory: format!("https://{directory}/dir"),
            management,
            process,
            _names: name_server,
        }
    }

    /// Gets what it has signed its certificates with.
    fn root(&self, out: &Path) {
        let mut command = tool::tool("curl", "curl");
        command
            .args(["--silent", "--fail", "--cacert"])
            .arg(self.authority.ca());
        command.arg("--output").arg(out);
        command.arg(format!("https://{}/roots/0", self.management));
        system_tests::run("curl", &command, ENDS).success();
    }
}

#[test]
fn a_certificate_is_issued_and_renewed_and_failures_are_reported() {
    let https = free_address();
    let pebble = Pebble::start(https);
    let ca = pebble.authority.ca();
    let config = Config::new()
        .http(&format!("tls_listen = \"{https}\""))
        .lines("[tls]\nexpiry_warning = \"0s\"")
        .lines(&format!(
            "[tls.acme]\nnames = [\"{NAME}\"]\ndirectory = \"{}\"\ndirectory_ca = {ca:?}",
            pebble.directory
        ));
    let mut server = Server::start(config);

    // The first one takes the place of one that nobody trusts. Clients that speak HTTP/2 get it.
    let root = server.file("root.pem");
    pebble.root(&root);
    let mut command = tool::tool("curl", "curl");
    command
        .args(["--silent", "--http2", "--output", "-", "--cacert"])
        .arg(&root);
    command.args(["--write-out", "%{http_version} %{http_code}"]);
    command.args([
        "--resolve",
        &format!("{NAME}:{}:{}", https.port(), https.ip()),
    ]);
    command.arg(format!("https://{NAME}:{}/live/none.flv", https.port()));
    clock::wait_until("a certificate of the authority", ENDS, || {
        let said = system_tests::run("curl", &command, ENDS).stdout;
        said.ends_with("2 404")
    });
    let expiry = |server: &Server| {
        let metrics = server.get("/metrics").text();
        let name = format!("livetrail_certificate_expiry_timestamp_seconds{{name=\"{NAME}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        value
            .expect("a certificate")
            .parse::<u64>()
            .expect("a time")
    };
    let first = expiry(&server);
    clock::wait_until("a renewal", ENDS, || expiry(&server) > first);
    server.await_records("admin_config_changed", 2);
    let folder = server.data().join("acme");
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("a file");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder), 0o700);
    for file in ["account.json", "certificate.pem"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }

    // Without the authority the certificate stays, and health and metrics show the failure.
    drop(pebble.process);
    clock::wait_until("a failed order", ENDS, || {
        server.get("/health").json()["certificate_orders_failed"] == 1
    });
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("livetrail_certificate_orders_failed 1"));
    server.stop();
}

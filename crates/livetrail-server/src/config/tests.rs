//! Tests of precedence, and of the errors of wrong settings.

mod example;
mod pages;

use std::time::Duration;

use livetrail_sinks::settings::{Format as LineFormat, SaslMechanism as Sasl, Weakness as Accept};

use super::*;

fn load_text(text: &str) -> Result<Config, String> {
    load_with(text, &[], &Overrides::default())
}

fn load_with(
    text: &str,
    variables: &[(&str, &str)],
    overrides: &Overrides,
) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("livetrail.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(dir.path().join("secret.txt"), "from-a-file-beside\n").unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(&path), variables, overrides).map_err(|error| {
        let prefix = format!("{}/", dir.path().display());
        error.to_string().replace(&prefix, "")
    })
}

#[test]
fn a_file_is_next_to_the_configuration_and_its_format_is_one_of_two() {
    let file = |more: &str| {
        let config = load_text(&format!("[[sink]]\nname = \"f\"\n[sink.file]\n{more}"))?;
        let file = config.sink[0].file.clone().unwrap();
        Ok::<_, String>((file.path, file.format))
    };
    let (path, format) = file("path = \"trail.tsv\"\n").unwrap();
    assert!(path.is_absolute() && path.ends_with("trail.tsv"));
    assert_eq!(format, LineFormat::Lines);
    let json = file("path = \"/a/b\"\nformat = \"json\"\n");
    assert_eq!(json, Ok((PathBuf::from("/a/b"), LineFormat::Json)));
    for (more, words) in [
        ("", "path"),
        ("path = \"..\"\n", "the name of a file"),
        ("path = \"a\"\nformat = \"csv\"\n", "csv"),
        (
            "path = \"a\"\nrotate_bytes = \"1KiB\"\n",
            "64KiB to 16384GiB",
        ),
        ("path = \"a\"\nrotate_every = \"59s\"\n", "must be 1m to"),
        ("path = \"a\"\nkeep_files = 3\n", "rotates nothing"),
        (
            "path = \"a\"\nrotate_every = \"1d\"\nkeep_files = 0\n",
            "must be 1 to 1000000",
        ),
        (
            "path = \"a\"\n[sink.postgres]\nurl = \"x\"\n",
            "several kinds: file, postgres",
        ),
    ] {
        let said = file(more).unwrap_err();
        assert!(said.contains(words), "{more}: {said}");
    }
}

#[test]
fn a_topic_says_where_it_is_and_who_logs_in_without_a_password_in_the_file() {
    let topic = |more: &str| {
        let text = format!(
            "[[sink]]\nname = \"k\"\n[sink.kafka]\nbrokers = [\"127.0.0.1:9092\"]\ntopic = \"audit\"\n{more}"
        );
        load_text(&text).map(|config| config.sink[0].kafka.clone().unwrap())
    };
    let plain = topic("").unwrap();
    assert_eq!((plain.partition, plain.sasl), (None, Sasl::ScramSha512));
    let whole = topic(
        "partition = 3\nuser = \"w\"\npassword_file = \"secret.txt\"\nsasl = \"plain\"\naccept = [\"one-replica\"]\n",
    )
    .unwrap();
    let file = whole.password_file.unwrap();
    assert!(file.is_absolute() && file.ends_with("secret.txt"));
    assert_eq!((whole.partition, whole.sasl), (Some(3), Sasl::Plain));
    assert_eq!(whole.accept, [Accept::OneReplica]);
    for (more, words) in [
        ("user = \"w\"\n", "needs user and one of password_file"),
        ("password_env = \"P\"\n", "needs user and one of"),
        (
            "user = \"w\"\npassword_env = \"P\"\npassword_file = \"f\"\n",
            "has password_file and password_env",
        ),
        ("key_file = \"k\"\n", "certificate_file and key_file"),
        ("tls = false\nca_file = \"ca.pem\"\n", "tls = false"),
        ("accept = [\"everything\"]\n", "everything"),
        ("sasl = \"gssapi\"\n", "scram-sha-512"),
        ("partition = -1\n", "-1"),
        (
            "openings_topic = \"audit\"\n",
            "a compacted topic of their own",
        ),
    ] {
        let said = topic(more).unwrap_err();
        assert!(said.contains(words), "{more}: {said}");
    }
    let said = topic("user = \"w\"\npassword = \"hunter2\"\n").unwrap_err();
    assert!(
        said.contains("password_file") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn a_file_is_one_sinks_alone() {
    let file = |name: &str| format!("[[sink]]\nname = {name:?}\n[sink.file]\npath = \"x\"\n");
    let said = load_text(&(file("a") + &file("b"))).unwrap_err();
    assert!(said.contains("sink[1].file.path"), "{said}");
    assert!(said.contains("another sink's file"), "{said}");
}

#[test]
fn standard_output_is_one_sinks_and_has_no_settings() {
    let out = |name: &str| format!("[[sink]]\nname = {name:?}\n[sink.stdout]\n");
    let config = load_text(&out("a")).unwrap();
    assert_eq!(config.sink[0].kinds(), ["stdout"]);
    for (text, words) in [
        (out("a") + &out("b"), "both standard output"),
        (out("a") + "format = \"json\"\n", "format"),
    ] {
        let said = load_text(&text).unwrap_err();
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn a_bucket_says_how_long_and_who_may_delete() {
    let bucket = |more: &str| {
        let text = format!(
            "[[sink]]\nname = \"b\"\n[sink.s3]\nbucket = \"trail\"\nregion = \"us-east-1\"\n{more}"
        );
        load_text(&text).map(|config| config.sink[0].options().batch_interval)
    };
    let keep = "keep_entries = \"1d\"\nkeep_tiles = \"1d\"\nkeep_checkpoints = \"1d\"\n";
    let interval = bucket(&format!("lock = \"compliance\"\n{keep}"));
    assert_eq!(interval, Ok(Duration::from_secs(30)));
    assert!(bucket("lock = \"none\"\n").is_ok());
    for (more, words) in [
        ("", "lock"),
        (
            "lock = \"governance\"\nkeep_tiles = \"1d\"\n",
            "needs keep_entries",
        ),
        (&format!("lock = \"none\"\n{keep}"), "choose \"governance\""),
        ("lock = \"none\"\nprofile = \"p\"\n", "no credentials_file"),
        ("lock = \"none\"\nbatch_interval = \"61s\"\n", "0s to 1m"),
    ] {
        let said = bucket(more).unwrap_err();
        assert!(said.contains(words), "{more}: {said}");
    }
}

#[test]
fn a_receiver_of_syslog_is_over_tls_unless_it_says_otherwise() {
    let receiver = |more: &str| {
        let text = format!("[[sink]]\nname = \"s\"\n[sink.syslog]\naddress = \"a\"\n{more}");
        load_text(&text).map(|config| config.sink[0].syslog.clone().unwrap())
    };
    let plain = receiver("").unwrap();
    assert_eq!((plain.facility, plain.enterprise), (13, 32_473));
    let own = receiver("ca_file = \"ca.pem\"\n").unwrap();
    assert!(own.ca_file.is_some_and(|file| file.is_absolute()));
    assert!(receiver("transport = \"tcp\"\ninsecure = true\n").is_ok());
    for (more, words) in [
        ("facility = 24\n", "must be 0 to 23"),
        (
            "key_file = \"a\"\n",
            "both of certificate_file and key_file",
        ),
        ("insecure = true\n", "transport = \"tcp\" alone"),
        ("transport = \"tcp\"\nca_file = \"a\"\n", "settings of TLS"),
        ("transport = \"udp\"\n", "udp"),
    ] {
        let said = receiver(more).unwrap_err();
        assert!(said.contains(words), "{more}: {said}");
    }
}

#[test]
fn a_header_for_a_collector_has_its_value_in_one_place() {
    let collector = |more: &str| {
        let text = format!("[[sink]]\nname = \"o\"\n[sink.otlp]\nendpoint = \"https://a\"\n{more}");
        load_text(&text).map(|config| config.sink[0].otlp.clone().unwrap())
    };
    assert_eq!(collector("").unwrap().service_name, "livetrail");
    let header = |value: &str| collector(&format!("[[sink.otlp.header]]\nname = \"k\"\n{value}"));
    assert!(header("value_file = \"token\"\n").is_ok());
    for (said, words) in [
        (header(""), "one of value, value_file and value_env"),
        (
            header("value = \"hunter2\"\nvalue_env = \"T\"\n"),
            "header \"k\": has value and value_env; one of them is allowed",
        ),
        (header("value = \"\"\n"), "the secret is empty"),
        (collector("compression = \"zstd\"\n"), "zstd"),
        (collector("key_file = \"a\"\n"), "both of certificate_file"),
    ] {
        let said = said.unwrap_err();
        assert!(said.contains(words) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_tables_address_is_in_one_place_and_the_line_of_the_table_is_named() {
    let table = |more: &str| load_text(&format!("[[sink]]\nname = \"p\"\n[sink.postgres]\n{more}"));
    let file = table("url_file = \"secret.txt\"\n").unwrap();
    let file = file.sink[0].postgres.clone().unwrap().url_file.unwrap();
    assert!(file.is_absolute() && file.ends_with("secret.txt"));
    for (more, words) in [
        ("", "needs one of url, url_file and url_env"),
        (
            "url = \"hunter2\"\nurl_env = \"P\"\n",
            "has url and url_env; one",
        ),
        ("url = \"\"\n", "the secret is empty"),
        (
            "url_env = \"P\"\nkey_file = \"k\"\n",
            "needs both of certificate_file and key_file",
        ),
    ] {
        let said = table(more).unwrap_err();
        assert!(
            said.starts_with("livetrail.toml:3: sink[0].postgres: "),
            "{said}"
        );
        assert!(said.contains(words) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_wrong_setting_names_its_line_its_key_and_what_is_allowed() {
    for (text, expected) in [
        (
            "node = 5",
            &["livetrail.toml:1: node: ", "expected a name"] as &[_],
        ),
        (
            "\n[limits]\nidle_timeout = \"30 parsecs\"",
            &[
                "livetrail.toml:3: limits.idle_timeout: ",
                "30 parsecs",
                "such as \"30s\"",
            ],
        ),
        (
            "[limits]\nmax_publishers = -1",
            &["livetrail.toml:2: limits.max_publishers: ", "-1"],
        ),
        (
            "[limits]\nmax_publisher = 1",
            &[
                "livetrail.toml:2: limits.max_publisher: unknown field",
                "`max_publishers`",
            ],
        ),
        (
            "[[application]]\nname = \"a/b\"",
            &["livetrail.toml:2: application[0].name: ", "'/'"],
        ),
        (
            "[[application]]\nname = \"a\"\ngop_cache_bytes = \"16 MB?\"",
            &[
                "livetrail.toml:3: application[0].gop_cache_bytes: ",
                "16MiB",
            ],
        ),
        (
            "[[application]]\nname = \"a\"\n[[application]]\nname = \"a\"",
            &["livetrail.toml:4: application[1].name: ", "twice"],
        ),
        (
            "[[application]]\nname = \"api\"",
            &[
                "livetrail.toml:2: application[0].name: ",
                "a path of the server itself",
            ],
        ),
        (
            "[[application]]\nname = \"recordings\"",
            &["application[0].name: ", "a path of the server itself"],
        ),
        (
            "[[application]]\nmax_lag_frames = 99999999",
            &[
                "livetrail.toml:2: application[0].max_lag_frames: ",
                "1048576",
            ],
        ),
        (
            "[audit]\npublish = \"maybe\"",
            &[
                "livetrail.toml:2: audit.publish: ",
                "`best_effort`",
                "`strict`",
            ],
        ),
        (
            "[audit]\ncapacity = 0",
            &[
                "livetrail.toml:2: audit.capacity: ",
                "must be 1 to 16777216, which take 1.7 GB",
            ],
        ),
        (
            "[audit]\ndeadline = \"0s\"",
            &["livetrail.toml:2: audit.deadline: "],
        ),
        (
            "[rtmp]\nsend_interval = \"2s\"",
            &["livetrail.toml:2: rtmp.send_interval: ", "0s to 1s"],
        ),
        (
            "[http]\nsend_interval = \"2s\"",
            &["livetrail.toml:2: http.send_interval: ", "0s to 1s"],
        ),
        (
            "[rtmp]\nio_uring = \"on\"",
            &["livetrail.toml:2: rtmp.io_uring: ", "auto", "off"],
        ),
        (
            "[rtmp]\nlisten = \"everywhere\"",
            &["livetrail.toml:2: rtmp.listen: ", "0.0.0.0:1935"],
        ),
        (
            "[log]\nfilter = \"=,=\"",
            &["livetrail.toml:2: log.filter: ", "trace"],
        ),
        (
            "[[auth.key]]\nname = \"a\"",
            &[
                "livetrail.toml:1: auth.key[0]: ",
                "needs one of secret and secret_file",
            ],
        ),
        (
            "[[auth.key]]\nname = \"a\"\nsecret = 123456",
            &["livetrail.toml:3: auth.key[0].secret: ", "in quotes"],
        ),
        (
            "[[auth.key]]\nname = \"a\"\nsecret = \"hunter2\"\nsecret_file = \"x\"",
            &["auth.key[0]: ", "one of them"],
        ),
        (
            "[[auth.key]]\nname = \"a\"\nsecret_file = \"not-there\"",
            &["livetrail.toml:3: auth.key[0].secret_file: cannot read not-there"],
        ),
        (
            "[[auth.key]]\nname = \"a\"\nsecret = \"x\"\n[[auth.key]]\nname = \"a\"\nsecret = \"y\"",
            &["livetrail.toml:5: auth.key[1].name: ", "twice"],
        ),
        (
            "[[auth.token_key]]\nname = \"t\"\nsecret = \"hunter2\"",
            &["livetrail.toml:1: auth.token_key[0]: ", "32 bytes"],
        ),
        (
            "[auth]\nallow_ips = [\"10.0.0.0/99\"]",
            &[
                "livetrail.toml:2: auth.allow_ips[0]",
                "10.0.0.0 is /0 to /32",
            ],
        ),
        (
            "[http]\nlisten = \"0.0.0.0:8080\"",
            &[
                "livetrail.toml:2: http.listen: ",
                "[[api.token]]",
                "api.listen",
            ],
        ),
        (
            "[api]\nlisten = \"0.0.0.0:8081\"",
            &["livetrail.toml:2: api.listen: ", "token"],
        ),
        (
            "[api]\nlisten = \"127.0.0.1:8080\"",
            &["livetrail.toml:2: api.listen: ", "leave it out"],
        ),
        (
            "node = \"a\"\nnode = \"b\"",
            &["livetrail.toml:2: ", "duplicate key"],
        ),
        (
            "[trail]\nretention = \"5s\"",
            &[
                "livetrail.toml:2: trail.retention.entries: ",
                "10s to 36500d",
            ],
        ),
        (
            "[trail.retention]\nentry = \"5d\"",
            &[
                "livetrail.toml:2: trail.retention.entry: unknown field",
                "`openings`",
            ],
        ),
        (
            "[trail.retention]\nopenings = \"401d\"\nentries = \"400d\"",
            &[
                "livetrail.toml:2: trail.retention.openings: ",
                "longer than trail.retention.entries",
            ],
        ),
        (
            "[[application]]\nopenings = \"401d\"\n[trail]\nretention = \"400d\"",
            &[
                "livetrail.toml:2: application[0].openings: ",
                "longer than trail.retention.entries",
            ],
        ),
        (
            "[[application]]\nnames = \"hidden\"",
            &[
                "livetrail.toml:2: application[0].names: ",
                "`clear`",
                "`personal`",
            ],
        ),
        (
            "[trail]\nvault_key_file = \"k\"\nsigner_key_file = \"k\"",
            &[
                "livetrail.toml:2: trail.vault_key_file: ",
                "a file of its own",
            ],
        ),
        ("[http\n", &["livetrail.toml:1: "]),
    ] {
        let error = load_text(text).expect_err(text);
        for part in expected {
            assert!(
                error.contains(part),
                "{text:?} gives {error:?}, which lacks {part:?}"
            );
        }
        assert!(
            !error.contains("hunter2") && !error.contains("123456"),
            "{error}"
        );
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_to_do() {
    let key = "[[auth.key]]\nname = \"a\"\nsecret = \"0123456789abcdef\"\n";
    let other = key.replace("\"a\"", "\"b\"");
    let play = "grant = \"play\"\n";
    let certificate = "[[tls.certificate]]\nchain = \"c\"\nkey = \"k\"\n";
    for (text, expected) in [
        (
            "data = \"\"",
            &["livetrail.toml:1: data: ", "is empty"] as &[_],
        ),
        (
            "[http]\nlisten = \"0.0.0.0:1935\"\n[[api.token]]\nname = \"o\"\nsecret = \"0123456789abcdef\"",
            &["livetrail.toml:2: http.listen: ", "rtmp.listen"],
        ),
        (
            "[api]\nlisten = \"127.0.0.1:1935\"",
            &["livetrail.toml:2: api.listen: ", "rtmp.listen"],
        ),
        (
            "[rtmp]\ntls_listen = \"127.0.0.1:1936\"",
            &["livetrail.toml:2: rtmp.tls_listen: ", "[[tls.certificate]]"],
        ),
        (
            "[rtmp]\nclient_certificates = \"require\"",
            &[
                "livetrail.toml:2: rtmp.client_certificates: ",
                "needs rtmp.tls_listen",
            ],
        ),
        (
            &format!(
                "[http]\ntls_listen = \"127.0.0.1:8443\"\nclient_certificates = \"request\"\n{certificate}"
            ),
            &[
                "livetrail.toml:3: http.client_certificates: ",
                "needs tls.client_ca",
            ],
        ),
        (
            "[[auth.certificate]]\nname = \"cam.example\"",
            &["auth.certificate[0]: ", "rtmp.client_certificates"],
        ),
        (
            "[[api.certificate]]\nname = \"cam.example\"\nrole = \"viewer\"",
            &["api.certificate[0]: ", "http.client_certificates"],
        ),
        (
            "[[auth.certificate]]\nname = \"*.example\"",
            &["auth.certificate[0]", "is not a name in certificates"],
        ),
        (
            &format!("[[auth.certificate]]\nname = \"a\"\n{key}"),
            &[
                "livetrail.toml:2: auth.certificate[0].name: ",
                "the name of a key",
            ],
        ),
        (
            "[http]\ntls_listen = \"127.0.0.1:1935\"",
            &["livetrail.toml:2: http.tls_listen: ", "rtmp.listen"],
        ),
        (
            &format!("[http]\ntls_listen = \"0.0.0.0:8443\"\n{certificate}"),
            &["livetrail.toml:2: http.tls_listen: ", "token"],
        ),
        (
            &format!("[api]\ntls = true\n{certificate}"),
            &["livetrail.toml:2: api.tls: ", "needs api.listen"],
        ),
        (
            "[tls.acme]\nnames = [\"a.example\"]",
            &["livetrail.toml:1: tls.acme: ", "http.tls_listen"],
        ),
        (
            "[http]\ntls_listen = \"127.0.0.1:8443\"\n[tls.acme]\nnames = [\"*.example\"]",
            &["livetrail.toml:3: tls.acme: ", "wildcards"],
        ),
        (
            &format!("{certificate}{certificate}"),
            &["tls.certificate[1]: ", "twice"],
        ),
        (
            "[limits]\nmax_publishers = 0",
            &["limits.max_publishers: must be 1 to 100000"],
        ),
        (
            "[auth]\npublish = \"keys\"",
            &["livetrail.toml:2: auth.publish: ", "nobody could publish"],
        ),
        (
            &format!("[auth]\npublish = \"keys\"\n{key}{play}"),
            &["auth.publish: ", "nobody could publish"],
        ),
        (
            "[auth]\nplay = \"keys\"",
            &["livetrail.toml:2: auth.play: ", "nobody could play"],
        ),
        (
            &format!("{key}app = \"lvie\""),
            &["livetrail.toml:4: auth.key[0].app: ", "did you mean live?"],
        ),
        (
            "[[auth.key]]\nname = \"a\"\nsecret = \"0123456789abcde\"",
            &["livetrail.toml:1: auth.key[0]: ", "15 bytes", "at least 16"],
        ),
        (
            "[[api.token]]\nname = \"a\"\nsecret = \"a\"",
            &["livetrail.toml:1: api.token[0]: ", "at least 16"],
        ),
        (
            &format!("{key}{other}"),
            &["livetrail.toml:4: auth.key[1]: ", "the secret of \"a\""],
        ),
        (
            "[auth]\nallow_ips = [\"10.1.0.0/16\"]\ndeny_ips = [\"10.0.0.0/8\"]",
            &["auth.allow_ips[0]: ", "within 10.0.0.0/8"],
        ),
        ("application = []", &["application: must be 1 to 10000"]),
        (
            "[application.ingress]\nburst = \"1s\"",
            &["[application.ingress] needs [[application]] with its name before it"],
        ),
        ("[application]\nname = \"a\"", &["write [[application]]"]),
        (
            "[rtmp]\nmax_connections = -1",
            &[
                "livetrail.toml:2: rtmp.max_connections: ",
                "expected a number, 1 to 1000000",
            ],
        ),
        (
            "[[application]]\nlag_budget = 5000000000",
            &[
                "livetrail.toml:2: application[0].lag_budget: ",
                "expected a number, 0 to 10000",
            ],
        ),
        (
            "[http]\nallow_origin = \"https://example.org/page\"",
            &[
                "livetrail.toml:2: http.allow_origin: ",
                "https://example.org",
            ],
        ),
        (
            "[trail]\norigin = \"a b\"",
            &[
                "livetrail.toml:2: trail.origin: ",
                "no spaces",
                "example.com/studio-1",
            ],
        ),
        (
            "[rtmp]\nlisten = 70000",
            &["livetrail.toml:2: rtmp.listen: ", "0 to 65535"],
        ),
    ] {
        let error = load_text(text).expect_err(text);
        for part in expected {
            assert!(
                error.contains(part),
                "{text:?} gives {error:?}, which lacks {part:?}"
            );
        }
        assert!(!error.contains("0123456789"), "{error}");
    }
    // The record can distinguish the same secret for different streams.
    load_text(&format!("{key}stream = \"x\"\n{other}stream = \"y\"")).unwrap();
    load_text(&format!("{key}{play}{other}grant = \"publish\"")).unwrap();
}

#[test]
fn an_address_for_all_is_fine_with_a_token_or_with_an_api_address_of_its_own() {
    let token = "[[api.token]]\nname = \"ops\"\nsecret = \"0123456789abcdef\"";
    load_text(&format!("[http]\nlisten = \"0.0.0.0:8080\"\n{token}")).unwrap();
    load_text("[http]\nlisten = \"0.0.0.0:8080\"\n[api]\nlisten = \"127.0.0.1:8081\"").unwrap();
}

#[test]
fn flags_beat_variables_and_variables_beat_the_file() {
    let text =
        "[limits]\nmax_publishers = 1\nidle_timeout = \"1s\"\n[http]\nlisten = \"127.0.0.1:1\"";
    let variables = [
        ("LIVETRAIL__LIMITS__MAX_PUBLISHERS", "2"),
        ("LIVETRAIL__NODE", "5"),
        ("LIVETRAIL__AUTH__DENY_IPS", "[\"10.0.0.0/8\"]"),
        ("LIVETRAIL__HTTP__LISTEN", "127.0.0.1:2"),
        ("UNRELATED", "x"),
    ];
    let overrides = Overrides {
        http: Some("127.0.0.1:3".parse().unwrap()),
        ..Overrides::default()
    };
    let config = load_with(text, &variables, &overrides).unwrap();
    assert_eq!(config.limits.max_publishers, 2);
    assert_eq!(config.limits.idle_timeout, Span::secs(1));
    assert_eq!(config.node.0, "5", "a number that should be text is text");
    assert_eq!(config.auth.deny_ips.len(), 1);
    assert_eq!(config.http.listen.port(), 3);
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, part) in [
        (
            "LIVETRAIL__LIMITS__MAX_PUBLISHERS",
            "many",
            "limits.max_publishers: ",
        ),
        ("LIVETRAIL__LIMITS__MAX_PUBLISHER", "1", "unknown field"),
        ("LIVETRAIL__NODE__X", "1", "node.x: "),
    ] {
        let error = load_with("", &[(name, value)], &Overrides::default()).unwrap_err();
        assert!(error.starts_with(name) && error.contains(part), "{error}");
    }
}

#[test]
fn how_long_entries_stay_has_an_earlier_form() {
    let entries = |text: &str| load_text(text).unwrap().trail.retention;
    let table = entries("[trail.retention]\nentries = \"400d\"\nopenings = \"180d\"");
    let earlier = entries("[trail]\nretention = \"400d\"");
    assert_eq!(earlier.entries, table.entries);
    assert_eq!((earlier.openings, table.openings.is_some()), (None, true));
    let variable = ("LIVETRAIL__TRAIL__RETENTION__OPENINGS", "180d");
    let set = load_with("", &[variable], &Overrides::default()).unwrap();
    assert_eq!(set.trail.retention.openings, table.openings);
}

#[test]
fn a_secret_can_be_in_a_file_next_to_the_configuration() {
    let config = load_text("[[auth.key]]\nname = \"a\"\nsecret_file = \"secret.txt\"").unwrap();
    let secret = config.auth.key[0].secret.as_ref().unwrap();
    assert_eq!(secret.expose(), "from-a-file-beside");
    assert!(!format!("{:?}", config).contains("from-a-file-beside"));
}

#[test]
fn everybody_may_do_what_no_key_is_for() {
    let auth = |text: &str| load_text(text).unwrap().auth;
    let none = auth("");
    assert!(none.publish_is_open() && none.play_is_open());
    let publish =
        auth("[[auth.key]]\nname = \"a\"\nsecret = \"0123456789abcdef\"\ngrant = \"publish\"");
    assert!(!publish.publish_is_open() && publish.play_is_open());
    let both = auth("[[auth.key]]\nname = \"a\"\nsecret = \"0123456789abcdef\"");
    assert!(!both.publish_is_open() && !both.play_is_open());
    let said =
        auth("[auth]\nplay = \"open\"\n[[auth.key]]\nname = \"a\"\nsecret = \"0123456789abcdef\"");
    assert!(!said.publish_is_open() && said.play_is_open());
    let closed = toml::from_str::<Config>("[auth]\npublish = \"keys\"")
        .unwrap()
        .auth;
    assert!(!closed.publish_is_open() && closed.play_is_open());
}

#[test]
fn spans_and_sizes_are_read_as_they_are_written() {
    let span = |text: &str| text.parse::<Span>().ok().map(|span| span.0.as_millis());
    assert_eq!(span("500ms"), Some(500));
    assert_eq!(span("1h30m"), Some(5_400_000));
    assert_eq!(span("2d 1s"), Some(172_801_000));
    for wrong in [
        "",
        " ",
        "5",
        "s",
        "5 s",
        "-5s",
        "1.5h",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        assert_eq!(span(wrong), None, "{wrong:?}");
    }
    let size = |text: &str| text.parse::<ByteSize>().ok().map(|size| size.0);
    assert_eq!(
        (size("16MiB"), size("7"), size("2 kB")),
        (Some(16 << 20), Some(7), Some(2_000))
    );
    for wrong in ["", "MiB", "-1", "1TiB", "99999999999GiB"] {
        assert_eq!(size(wrong), None, "{wrong:?}");
    }
}

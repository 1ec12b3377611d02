//! Tests of the program itself: exit codes, its output, and where the output goes.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/clip.flv");

fn livetrail() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livetrail"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LIVETRAIL_")) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    outcome(livetrail().args(arguments).output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A server in its own process, on ports that the system chose. It is killed on drop.
struct Serving {
    child: Child,
    rtmp: String,
    http: String,
}

impl Serving {
    /// Creates the trail if there is none, and serves.
    fn start(data: &Path, more: &[&str]) -> Self {
        if !data.join("trail").exists() {
            assert_eq!(run(&["trail", "init", path(data)]).0, 0);
        }
        Self::spawn(data, more)
    }

    fn start_with_init(data: &Path) -> Self {
        Self::spawn(data, &["--init"])
    }

    fn spawn(data: &Path, more: &[&str]) -> Self {
        let mut command = livetrail();
        command
            .args(["serve", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--log-format", "json", "--data", path(data)])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = log
            .find_map(|line| line.ok().filter(|line| line.contains("\"serving\"")))
            .expect("the server does not start");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = |key: &str| line[key].as_str().unwrap().to_owned();
        let (rtmp, http) = (address("rtmp"), address("http"));
        // Later lines of the log must be read, too.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, rtmp, http }
    }

    fn stop(&mut self) -> Option<i32> {
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_has_examples_and_wrong_usage_is_exit_code_2() {
    for (arguments, part) in [
        (&["--help"] as &[_], "livetrail demo"),
        (&["serve", "--help"], "livetrail config example"),
        (&["demo", "--help"], "--keep"),
        (&["publish", "--help"], "rtmp://127.0.0.1/live/cam"),
        (&["play", "--help"], "-o cam.flv"),
        (
            &["trail", "init", "--help"],
            "--origin example.com/studio-1",
        ),
        (&["trail", "query", "--help"], "--since 1h"),
        (&["trail", "erase", "--help"], "--dry-run"),
        (&["trail", "hold", "--help"], "--principal alice"),
        (&["trail", "subject", "--help"], "livetrail-verify"),
        (&["trail", "opening", "--help"], "Only this field"),
        (&["trail", "tail", "--help"], "tail -f"),
        (&["trail", "check", "--help"], "Exit codes: 0 sound"),
        (&["trail", "verify", "--help"], "livetrail-verify"),
        (&["trail", "prove", "--help"], ".tlog-proof"),
        (&["trail", "export", "--help"], "--site"),
        (&["trail", "checkpoint", "--help"], "from time to time"),
        (&["token", "issue", "--help"], "--valid-for 8h"),
        (&["token", "issue", "--help"], "Exit codes: 0"),
        (&["token", "--help"], "livetrail token issue"),
        (&["trail", "tail", "--help"], "Exit codes: 0"),
        (&["trail", "sinks", "--help"], "sinks status --config"),
        (
            &["config", "check", "--help"],
            "serve --config livetrail.toml --check",
        ),
        (&["--help"], "whose every session is on verifiable record"),
    ] {
        let (code, out, _) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}");
        assert!(out.contains(part), "{arguments:?} lacks {part:?}\n{out}");
    }
    assert_eq!(run(&[]).0, 2);
    assert_eq!(run(&["serv"]).0, 2);
    assert_eq!(run(&["serve", "--rtmp", "nowhere"]).0, 2);
    assert_eq!(run(&["play", "gopher://h/live/cam"]).0, 2);
    assert_eq!(
        run(&["publish", "/not/there.flv", "rtmp://127.0.0.1/live/cam"]).0,
        2
    );
}

#[test]
fn the_example_configuration_is_printed_and_passes_its_own_check() {
    let dir = tempfile::tempdir().unwrap();
    let (code, example, _) = run(&["config", "example"]);
    assert_eq!(code, 0);
    assert_eq!(run(&["serve", "--print-config"]).1, example);
    let file = dir.path().join("livetrail.toml");
    fs::write(&file, &example).unwrap();
    assert_eq!(run(&["config", "check", path(&file)]).0, 0);
}

#[test]
fn a_wrong_setting_is_named_with_file_line_and_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("livetrail.toml");
    fs::write(&file, "# a comment\n[audit]\npublish = \"maybe\"\n").unwrap();
    for arguments in [
        ["serve", "--config", path(&file)],
        ["config", "check", path(&file)],
    ] {
        let (code, _, error) = run(&arguments);
        assert_eq!(code, 2);
        for part in [
            "livetrail.toml:3: audit.publish:",
            "`best_effort`",
            "publish = \"maybe\"",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
    let (code, _, error) = run(&["serve", "--config", "/not/there.toml"]);
    assert_eq!(code, 2);
    assert!(error.contains("/not/there.toml"), "{error}");
    let wrong_variable = livetrail()
        .arg("serve")
        .env("LIVETRAIL__AUDIT__CAPACITY", "lots")
        .output();
    let (code, _, error) = outcome(wrong_variable.unwrap());
    assert_eq!(code, 2);
    assert!(error.contains("LIVETRAIL__AUDIT__CAPACITY"), "{error}");
    let (code, _, error) = run(&["serve", "--http", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(error.contains("LIVETRAIL_API_TOKEN"), "{error}");
}

#[test]
fn a_check_takes_flags_and_variables_and_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("livetrail.toml");
    fs::write(&file, "node = \"a\"\n").unwrap();
    let checked = |arguments: &[&str], name: &str, value: &str| {
        let mut command = livetrail();
        command.current_dir(dir.path()).args(arguments);
        outcome(command.env(name, value).output().unwrap())
    };
    let none = ("LIVETRAIL_TEST", "");
    let start = [
        "serve",
        "--check",
        "--rtmp",
        "localhost:0",
        "--http",
        "localhost:0",
        "--init",
    ];
    for (arguments, (name, value), exit, words) in [
        (&["config", "check"] as &[_], none, 0, "the defaults"),
        (
            &["config", "check", "livetrail.toml"],
            none,
            0,
            "livetrail.toml: fine",
        ),
        (&start[..6], none, 1, "error: there is no trail in"),
        (
            &start,
            none,
            0,
            "  create a trail in livetrail-data/trail\n",
        ),
        (&start, none, 0, "  serve the application live\n"),
        (
            &["serve", "--check", "--init", "--rtmp", "192.0.2.1:0"],
            none,
            1,
            "rtmp.listen: cannot listen on 192.0.2.1:0",
        ),
        (
            &["config", "check"],
            ("LIVETRAIL__TRAIL__RETENTION__OPENINGS", "180d"),
            0,
            "personal, openings are kept for 180d; the log has no addresses and names",
        ),
        (
            &["config", "check"],
            ("LIVETRAIL_CONFIG", "livetrail.toml"),
            0,
            "livetrail.toml: fine",
        ),
        (
            &["serve", "--check", "--http", ":8080"],
            none,
            2,
            "0.0.0.0:8080",
        ),
        (
            &["config", "check", "--rtmp", "localhost:8080"],
            none,
            2,
            "each needs a port of its own",
        ),
        (
            &["config", "check", "--rtmp", "no-such-host.invalid:1935"],
            none,
            2,
            "has no address",
        ),
        (
            &["config", "check"],
            ("LIVETRAIL__AUDIT__CAPACITY", "99999999999"),
            2,
            "must be 1 to 16777216, which take 1.7 GB",
        ),
        (
            &["config", "check"],
            ("LIVETRAIL_API_TOKEN", "short"),
            2,
            "at least 16",
        ),
        (
            &["config", "check"],
            ("LIVETRAIL_RTPM", "127.0.0.1:1935"),
            0,
            "did you mean LIVETRAIL_RTMP?",
        ),
    ] {
        let (code, out, errors) = checked(arguments, name, value);
        let said = format!("{out}{errors}");
        assert_eq!(code, exit, "{arguments:?} {name}: {said}");
        assert!(said.contains(words), "{arguments:?} {name}: {said}");
    }
    let there: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "a check makes nothing");
}

#[test]
fn a_secret_file_that_others_may_write_is_refused_and_a_readable_one_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("livetrail.toml");
    let secret = dir.path().join("key.txt");
    fs::write(&secret, "0123456789abcdef").unwrap();
    let key = "[[auth.key]]\nname = \"a\"\n";
    let check = |text: &str, of: &Path, mode: u32| {
        fs::write(&file, format!("{key}{text}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(of, Permissions::from_mode(mode)).unwrap();
        let (code, _, errors) = run(&["config", "check", path(&file)]);
        (code, errors)
    };
    let inside = "secret = \"0123456789abcdef\"";
    let beside = "secret_file = \"key.txt\"";
    for (text, of) in [(inside, &file), (beside, &secret)] {
        let name = path(of);
        assert_eq!(check(text, of, 0o600), (0, String::new()));
        let (code, told) = check(text, of, 0o640);
        assert!(
            code == 0 && told.contains(name) && told.contains("0640"),
            "{told}"
        );
        let (code, told) = check(text, of, 0o620);
        assert!(
            code == 2 && told.contains(name) && told.contains("chmod 600"),
            "{told}"
        );
    }
    // Anybody may read a configuration without a secret.
    assert_eq!(check(beside, &file, 0o644), (0, String::new()));
}

#[test]
fn an_action_or_a_session_that_cannot_be_is_refused_with_what_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["trail", "init", path(dir.path())]).0, 0);
    for command in ["query", "tail"] {
        for (flag, value, words) in [
            ("--action", "play_deneid", "did you mean play_denied?"),
            ("--session", "zz", "not a session's id"),
        ] {
            let (code, out, errors) = run(&["trail", command, path(dir.path()), flag, value]);
            assert_eq!((code, out.as_str()), (2, ""), "{command} {flag}");
            assert!(errors.contains(words), "{errors}");
        }
    }
}

/// `livetrail serve` on free ports that is expected not to start.
fn serve(data: &Path, more: &[&str]) -> (i32, String, String) {
    let mut arguments = vec!["serve", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    arguments.extend(["--data", path(data)]);
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn a_second_server_on_the_same_data_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Serving::start(dir.path(), &[]);
    let (code, _, error) = serve(dir.path(), &[]);
    assert_eq!(code, 2);
    assert!(error.contains("another process has the trail"), "{error}");
    assert_eq!(server.stop(), Some(0));
    let (code, out, _) = run(&["trail", "check", path(dir.path())]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn without_a_trail_nothing_is_made_and_the_words_say_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (code, out, error) = serve(&data, &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    let command = format!("livetrail trail init {}", path(&data));
    assert!(
        error.contains(&command) && error.contains("--init"),
        "{error}"
    );
    assert!(!data.exists());
    // The trail of an earlier version is not mistaken for a trail. The error names it.
    fs::create_dir(&data).unwrap();
    fs::write(data.join("trail.tsv"), "1\theartbeat\t\t-\t\n").unwrap();
    let (code, _, error) = serve(&data, &[]);
    assert_eq!(code, 2);
    assert!(error.contains("trail.tsv"), "{error}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    let (_, old, _) = run(&["trail", "query", path(&data), "--format", "tsv"]);
    assert_eq!(old, "1\theartbeat\t\t-\t\n");
}

#[test]
fn a_first_start_makes_the_trail_once_and_shows_its_verifier_keys() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let init = ["trail", "init", path(&data), "--origin", "example.com/one"];
    let (code, out, _) = run(&init);
    assert_eq!(code, 0);
    let vkeys = fs::read_to_string(data.join("trail.vkey")).unwrap();
    assert!(out.contains(vkeys.trim_end()), "{out}");
    assert!(vkeys.starts_with("example.com/one+"), "{vkeys}");
    assert_eq!(run(&init).0, 2);
    let (code, _, error) = serve(&data, &["--init"]);
    assert_eq!(code, 2);
    assert!(error.contains("without --init"), "{error}");
    let mut server = Serving::start(&data, &[]);
    assert_eq!(server.stop(), Some(0));

    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let mut server = Serving::start_with_init(&other);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(run(&["trail", "check", path(&other)]).0, 0);
}

/// Every file below a directory, with its contents.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn keys_and_origins_that_are_not_the_trails_are_refused_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let init = ["trail", "init", path(&data), "--origin", "example.com/one"];
    assert_eq!(run(&init).0, 0);
    assert_eq!(Serving::start(&data, &[]).stop(), Some(0));
    let other = dir.path().join("other");
    assert_eq!(run(&["trail", "init", path(&other)]).0, 0);
    let key = data.join("trail/private/keys/signer");
    let foreign = other.join("trail/private/keys/signer");
    let before = contents(&data);

    let file = dir.path().join("livetrail.toml");
    for (settings, words) in [
        ("origin = \"example.com/two\"".to_owned(), "example.com/two"),
        (format!("signer_key_file = {foreign:?}"), "signing key"),
        (
            "signer_key_file = \"not-there\"".to_owned(),
            "restore it from a back-up",
        ),
    ] {
        fs::write(&file, format!("[trail]\n{settings}\n")).unwrap();
        let (code, _, error) = serve(&data, &["--config", path(&file)]);
        assert_eq!(code, 2, "{settings}: {error}");
        assert!(error.contains(words), "{settings}: {error}");
    }
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let (code, _, error) = serve(&data, &[]);
    assert_eq!(code, 2);
    assert!(error.contains("chmod 600"), "{error}");
    assert_eq!(contents(&data), before);

    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    // The keys are elsewhere, and the file for auditors is missing. Neither stops the trail.
    let moved = dir.path().join("signer");
    fs::rename(&key, &moved).unwrap();
    fs::remove_file(data.join("trail.vkey")).unwrap();
    fs::write(
        &file,
        "[trail]\norigin = \"example.com/one\"\nsigner_key_file = \"signer\"\n",
    )
    .unwrap();
    assert_eq!(
        Serving::start(&data, &["--config", path(&file)]).stop(),
        Some(0)
    );
    assert!(data.join("trail.vkey").is_file());
}

#[test]
fn an_auditor_keeps_checkpoints_and_receipts_and_finds_what_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = |name: &str| dir.path().join(name);
    assert_eq!(Serving::start(&data, &[]).stop(), Some(0));
    let (code, older, _) = run(&["trail", "checkpoint", path(&data)]);
    assert_eq!(code, 0);
    fs::write(file("older"), &older).unwrap();
    let mut server = Serving::start(&data, &[]);
    // While the server runs, everybody can read what is sealed.
    let (code, out, _) = run(&["trail", "verify", path(&data)]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(server.stop(), Some(0));

    let vkeys = data.join("trail.vkey");
    let older = file("older");
    let against = ["--against", path(&older)];
    let verify = |place: &Path, more: &[&str]| {
        let mut arguments = vec!["trail", "verify", path(place)];
        arguments.extend(more);
        run(&arguments)
    };
    let (code, out, _) = verify(&data, &against);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("an auditor brings their own"), "{out}");
    let with_key = ["--vkey", path(&vkeys), "--strict", "--json"];
    let (code, json, _) = verify(&data.join("trail"), &with_key);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &report["verdict"]), (0, &"sound".into()));
    assert_eq!(report["figures"]["entries"], 4);

    let (proof, record) = (file("2.tlog-proof"), file("2.json"));
    let prove = ["trail", "prove", path(&data), "2", "-o", path(&proof)];
    let (code, ..) = run(&[&prove[..], &["--record", path(&record)]].concat());
    assert_eq!(code, 0);
    let receipt = fs::read_to_string(&proof).unwrap();
    assert!(
        receipt.starts_with("c2sp.org/tlog-proof@v1\nindex 2\n"),
        "{receipt}"
    );
    let (_, lines, _) = run(&["trail", "export", path(&data), "--from", "2", "--to", "3"]);
    assert_eq!(lines.trim_end(), fs::read_to_string(&record).unwrap());
    let json = [
        "trail",
        "export",
        path(&data),
        "--format",
        "json",
        "--action",
        "server_stopped",
    ];
    let (_, lines, _) = run(&json);
    let stops: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let indices: Vec<_> = stops.iter().map(|line| line["index"].as_u64()).collect();
    assert_eq!(indices, [Some(1), Some(3)]);
    assert_eq!(stops[0]["record"]["action"], "server_stopped");
    assert_eq!(run(&["trail", "prove", path(&data), "4"]).0, 2);

    let copy = file("copy");
    assert_eq!(
        run(&["trail", "export", path(&data), "--site", path(&copy)]).0,
        0
    );
    assert_eq!(
        run(&["trail", "export", path(&data), "--site", path(&copy)]).0,
        2
    );
    let (code, out, _) = verify(&copy, &["--vkey", path(&vkeys)]);
    assert_eq!(code, 0, "{out}");
    let (_, out, _) = run(&["trail", "query", path(&copy), "--format", "tsv"]);
    assert_eq!(out.lines().count(), 4);
    assert!(!copy.join("private").exists());

    let bundle = copy.join("tile/entries/000.p/4");
    let mut bytes = fs::read(&bundle).unwrap();
    let at = bytes
        .windows(14)
        .rposition(|part| part == b"server_started")
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let (code, out, _) = verify(&copy, &["--vkey", path(&vkeys)]);
    assert_eq!(code, 1);
    assert!(out.contains("first entry concerned: 2"), "{out}");
    assert_eq!(verify(&file("nowhere"), &[]).0, 2);
    let (code, _, error) = verify(&data, &["--vkey", path(&file("older"))]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn our_client_publishes_plays_and_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("livetrail.toml");
    fs::write(
        &file,
        "[[auth.key]]\nname = \"studio\"\nsecret = \"sesame-0123456789\"\ngrant = \"publish\"\n",
    )
    .unwrap();
    let mut server = Serving::start(&data, &["--config", path(&file)]);
    let rtmp = format!("rtmp://{}/live/cam", server.rtmp);
    let http = format!("http://{}/live/cam.flv", server.http);

    let (code, out, error) = run(&["publish", CLIP, &rtmp]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("NetStream.Publish.BadName"), "{error}");
    for (url, status) in [(&rtmp, "NetStream.Play.StreamNotFound"), (&http, "404")] {
        let (code, _, error) = run(&["play", url]);
        assert_eq!(code, 1);
        assert!(error.contains(status), "{error}");
    }

    let publisher = livetrail()
        .args(["publish", CLIP, &rtmp, "--json"])
        .env("LIVETRAIL_TOKEN", "sesame-0123456789")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let kept = dir.path().join("kept.flv");
    let player = |url: &str, output: &[&str]| {
        let mut command = livetrail();
        command.args(["play", url, "--json"]).args(output);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // The publisher may not have started yet.
        for _ in 0..100 {
            let output = command.output().unwrap();
            if output.status.code() == Some(0) {
                return outcome(output);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("nothing to play");
    };
    let (_, out, _) = player(&rtmp, &["--seconds", "1"]);
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(summary["ended"], "time");
    assert!(summary["keyframes"].as_u64().unwrap() >= 1 && summary["first_frame_ms"].is_f64());
    let (_, out, error) = player(&http, &["-o", path(&kept)]);
    let played: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(played["ended"], "complete");
    assert_eq!(error, "", "no progress bar in a pipe");
    let (code, out, error) = outcome(publisher.wait_with_output().unwrap());
    assert_eq!((code, error.as_str()), (0, ""));
    let published: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(published["video_frames"], 125);
    assert!(!out.contains("sesame"));
    assert!(fs::metadata(&kept).unwrap().len() > played["bytes"].as_u64().unwrap());

    assert_eq!(server.stop(), Some(0));
    let everything = contents(&data);
    let secret = |bytes: &[u8]| bytes.windows(6).any(|part| part == b"sesame");
    assert!(everything.iter().all(|(_, bytes)| !secret(bytes)));
    let denied = [
        "trail",
        "query",
        path(&data),
        "--action",
        "publish_denied",
        "--format",
        "json",
    ];
    let (_, lines, _) = run(&denied);
    assert_eq!(lines.lines().count(), 1);
    let (_, last, _) = run(&["trail", "tail", "-n", "1", path(&data)]);
    assert!(
        last.contains("server_stopped") && last.lines().count() == 1,
        "{last}"
    );
}

#[test]
fn an_unsound_trail_is_exit_code_1_and_an_unreadable_one_2() {
    let dir = tempfile::tempdir().unwrap();
    Serving::start(dir.path(), &[]).stop();
    let trail = dir.path().join("lines.tsv");
    let (_, lines, _) = run(&["trail", "query", path(dir.path()), "--format", "tsv"]);
    fs::write(&trail, lines).unwrap();
    assert_eq!(run(&["trail", "check", path(&trail)]).0, 0);
    let text = fs::read_to_string(&trail).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    fs::write(&trail, rest).unwrap();
    let (code, out, _) = run(&["trail", "check", path(&trail)]);
    assert_eq!(code, 1);
    assert!(out.contains("does not begin with server_started"), "{out}");
    fs::write(&trail, format!("{first}\nnonsense\n{rest}")).unwrap();
    let (code, out, _) = run(&["trail", "check", "--json", path(&trail)]);
    assert_eq!(code, 1);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["sound"], &json["findings_total"]),
        (&false.into(), &1.into())
    );
    assert_eq!(run(&["trail", "check", "/not/there"]).0, 2);
    assert_eq!(run(&["trail", "query", "/not/there"]).0, 2);
    assert_eq!(
        run(&["trail", "query", path(&trail), "--since", "yesterday"]).0,
        2
    );
}

#[test]
fn a_log_of_arcly_stream_is_read_if_the_command_says_so() {
    let log = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../livetrail-audit/tests/arcly/audit.log"
    );
    let (code, out, _) = run(&["trail", "check", "--format", "arcly", log]);
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("11 records, 0 lines"), "{out}");
    let query = [
        "trail",
        "query",
        log,
        "--input-format",
        "arcly",
        "--format",
        "json",
    ];
    let (code, out, _) = run(&query);
    assert_eq!((code, out.lines().count()), (0, 11));
    assert!(out.contains("\"100%=full\""), "{out}");
    // Without the option it is not a trail, and a ledger has no lines.
    assert_eq!(run(&["trail", "check", log]).0, 1);
    let dir = tempfile::tempdir().unwrap();
    let ledger = ["trail", "check", "--format", "arcly", path(dir.path())];
    assert_eq!(run(&ledger).0, 2);
}

#[test]
fn a_token_that_is_issued_is_accepted_by_the_server_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key.txt");
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let file = dir.path().join("livetrail.toml");
    fs::write(
        &file,
        "[[auth.token_key]]\nname = \"tokens\"\nsecret_file = \"key.txt\"\n",
    )
    .unwrap();
    let mut server = Serving::start(&dir.path().join("data"), &["--config", path(&file)]);
    let issue = |grant: &str| {
        let (code, token, _) = run(&[
            "token",
            "issue",
            "--key-file",
            path(&key),
            "--grant",
            grant,
            "--stream",
            "cam",
            "--subject",
            "alice",
            "--valid-for",
            "1h",
        ]);
        assert_eq!(code, 0);
        token.trim().to_owned()
    };
    let rtmp = format!("rtmp://{}/live/cam", server.rtmp);
    let publish = |token: &str| run(&["publish", CLIP, &rtmp, "--fast", "--token", token]).0;
    assert_eq!(publish(&issue("play")), 1);
    assert_eq!(publish(&issue("publish")), 0);
    assert_eq!(server.stop(), Some(0));
    let data = dir.path().join("data");
    let (_, out, _) = run(&["trail", "query", path(&data)]);
    assert!(
        out.contains("publish_started") && !out.contains("alice"),
        "{out}"
    );
    let (_, out, _) = run(&["trail", "query", path(&data), "--personal"]);
    assert!(out.contains("alice"), "{out}");
    let (code, _, error) = run(&["token", "issue", "--key", "short"]);
    assert_eq!(code, 2);
    assert!(error.contains("32 bytes"), "{error}");
}

#[test]
fn the_demo_is_complete_and_right() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let (code, out, error) = run(&["demo", "--keep", path(&kept)]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("All of it is complete and right."), "{out}");
    assert!(!out.contains("WRONG") && !out.contains('\x1b'), "{out}");
    assert_eq!(run(&["trail", "check", path(&kept)]).0, 0);
    assert_eq!(
        run(&["demo", "--keep", path(&kept)]).0,
        2,
        "it is not empty"
    );
}

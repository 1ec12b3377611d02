//! The command: exit codes and output, over a directory and over HTTP.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use livetrail_record::encode_line;
use livetrail_verify::Files;

use crate::personal::committed;
use crate::support::{Keys, keys, story};

pub(crate) fn write(files: &Files, dir: &Path) {
    for (path, bytes) in &files.0 {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    run_with(arguments, &[])
}

fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_livetrail-verify"))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// As behind `| head`, which has read what it wants.
#[test]
fn a_reader_that_has_gone_changes_no_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    write(&story(300).log().files(&keys()), dir.path());
    let own = keys().vkey().to_string();
    let other = Keys::new(2).vkey().to_string();
    for (arguments, code) in [
        (&["--vkey", &own][..], 0),
        (&["--vkey", &other], 1),
        (&["--strict"], 2),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_livetrail-verify"))
            .arg(place)
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn exit_codes_and_words() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let log = story(300).log();
    write(&log.files(&keys()), dir.path());
    let vkey = keys().vkey().to_string();
    let key_file = dir.path().join("keys.txt");
    std::fs::write(
        &key_file,
        format!("# mine\n{}\n{vkey}\n", keys().second.verifier_key()),
    )
    .unwrap();
    let older = dir.path().join("older");
    std::fs::write(&older, log.checkpoint(200, &keys())).unwrap();
    let (key_file, older) = (key_file.to_str().unwrap(), older.to_str().unwrap());

    let (code, out, err) = run(&[
        place,
        "--vkey",
        key_file,
        "--against",
        older,
        "--threads",
        "1",
    ]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.starts_with("SOUND") && out.contains("1 of 1 older checkpoints"),
        "{out}"
    );
    let (code, out, _) = run(&[place]);
    assert_eq!(code, 0);
    assert!(out.contains("not whose it is"), "{out}");
    assert_eq!(run(&[place, "--strict"]).0, 2);

    let (code, out, _) = run(&[place, "--vkey", &Keys::new(2).vkey().to_string()]);
    assert_eq!(code, 1);
    assert!(
        out.starts_with("NOT SOUND") && out.contains("no line is a signature of a trusted key"),
        "{out}"
    );
    for wrong in [
        &["--vkey", "nothing"][..],
        &["--against", "nothing"],
        &["--policy", older],
        &["--vkey", older],
    ] {
        let (code, out, err) = run(&[&[place][..], wrong].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}");
        assert!(err.starts_with("could not check: "), "{err}");
    }
    let nothing = dir.path().join("private/nothing");
    assert_eq!(run(&[nothing.to_str().unwrap()]).0, 2);
    let (code, out, _) = run(&["--help"]);
    assert!(code == 0 && out.contains("--against 2025") && out.contains("Exit codes"));
}

#[test]
fn the_report_for_programs_keeps_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = story(300).log().files(&keys());
    files.0.get_mut("tile/0/000").unwrap()[40] ^= 1;
    write(&files, dir.path());
    let (code, out, _) = run(&[dir.path().to_str().unwrap(), "--json"]);
    assert_eq!(code, 1);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "checkpoint",
            "failures",
            "figures",
            "findings",
            "first_index",
            "format",
            "keys",
            "kind",
            "notes",
            "older",
            "personal",
            "place",
            "problems",
            "pruned",
            "remarks",
            "rotations",
            "sessions",
            "verdict"
        ]
    );
    assert_eq!(json["verdict"], "not_sound");
    assert_eq!(json["kind"], "ledger");
    assert_eq!(json["checkpoint"]["size"], 300);
    assert_eq!(json["checkpoint"]["verified"], true);
    assert_eq!(json["figures"]["entries"], 300);
    assert_eq!(json["sessions"]["boots"][0]["end"], "running");
    assert_eq!(json["findings"][0]["class"], "tile");
    assert_eq!(json["findings"][0]["severity"], "failure");
    assert_eq!(json["findings"][0]["path"], "tile/0/000");
    assert_eq!(json["first_index"], 1);
    let (code, out, _) = run(&[dir.path().join("tile").to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["verdict"]), (2, &"could_not_check".into()));
}

#[test]
fn a_file_trail_is_checked_for_its_sessions_and_called_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trail.tsv");
    let mut text: String = story(50).records.iter().map(encode_line).collect();
    text += "176380560";
    std::fs::write(&path, &text).unwrap();
    let place = path.to_str().unwrap();
    let (code, out, _) = run(&[place]);
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("no cryptographic evidence") && out.contains("torn"),
        "{out}"
    );
    assert_eq!(run(&[place, "--vkey", &keys().vkey().to_string()]).0, 2);
    let doubled = text.lines().nth(7).unwrap().to_owned();
    std::fs::write(
        &path,
        text.replacen(&doubled, &format!("{doubled}\n{doubled}"), 1),
    )
    .unwrap();
    let (code, out, _) = run(&[place]);
    assert_eq!(code, 1);
    assert!(out.contains("entry 8: "), "{out}");
}

#[test]
fn a_site_is_read_as_a_directory_is() {
    let mut files = story(600).log().files(&keys());
    files.0.insert(
        "trail.vkey".to_owned(),
        keys().vkey().to_string().into_bytes(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let files = files.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &files));
        }
    });
    let url = format!("http://{address}/trail");
    let (code, out, err) = run(&[&url, "--vkey", &keys().vkey().to_string()]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("600 entries") && out.contains("cannot be listed"),
        "{out}"
    );
    assert_eq!(run(&[&url]).0, 0, "with the key that the site publishes");
    assert_eq!(run(&[&format!("{url}/other")]).0, 2);
}

/// A web server for one connection: GET of the files below /trail/, except those below private/.
fn serve(stream: impl Read + Write, files: &Files) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::new();
        while reader.read_line(&mut header).unwrap_or(0) > 2 {
            header.clear();
        }
        let path = request
            .split(' ')
            .nth(1)
            .unwrap()
            .trim_start_matches("/trail/");
        let found = files.0.get(path).filter(|_| !path.starts_with("private"));
        let (status, body) = match found {
            Some(body) => ("200 OK", body.as_slice()),
            None => ("404 Not Found", b"no".as_slice()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = reader.get_mut();
        let answer = [head.as_bytes(), body].concat();
        if stream
            .write_all(&answer)
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

#[cfg(feature = "https")]
#[test]
fn a_site_is_read_over_tls_from_whom_the_system_trusts_and_from_nobody_else() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let files = story(300).log().files(&keys());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let tls = rustls::StreamOwned::new(connection, stream.unwrap());
            let files = files.clone();
            std::thread::spawn(move || serve(tls, &files));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("authority.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let url = format!("https://localhost:{port}/trail");
    let arguments = [url.as_str(), "--vkey", &keys().vkey().to_string()];
    let trusted = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let (code, out, err) = run_with(&arguments, &trusted);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("300 entries"), "{out}");
    let (code, _, err) = run(&arguments);
    assert_eq!(code, 2, "a certificate that nobody vouches for");
    assert!(err.contains("certificate"), "{err}");
}

#[test]
fn the_path_of_a_servers_data_means_the_trail_in_it() {
    let dir = tempfile::tempdir().unwrap();
    write(&story(10).log().files(&keys()), &dir.path().join("trail"));
    let vkey = keys().vkey().to_string();
    let (code, out, err) = run(&[dir.path().to_str().unwrap(), "--vkey", &vkey]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
}

#[test]
fn a_receipt_is_checked_with_nothing_but_the_record_and_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let log = story(70).log();
    let proof = livetrail_tlog::inclusion_proof(&log.hashes(), 41).unwrap();
    let note = livetrail_tlog::Note::parse(&log.checkpoint(70, &keys())).unwrap();
    let receipt = livetrail_tlog::ProofFile::new(41, proof, note).unwrap();
    let receipt = file("41.tlog-proof", receipt.encode().as_bytes());
    let record = file("41.json", &log.entries[41]);
    let other = file("42.json", &log.entries[42]);
    let vkeys = format!("{}\n{}\n", keys().vkey(), keys().second.verifier_key());
    let vkeys = file("trail.vkey", vkeys.as_bytes());
    let check = |record: &str, more: &[&str]| {
        run(&[
            &["--proof", &receipt, "--record", record, "--vkey", &vkeys],
            more,
        ]
        .concat())
    };
    let (code, out, err) = check(&record, &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.starts_with("SOUND") && out.contains("index       41"),
        "{out}"
    );
    let (code, out, _) = check(&other, &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["verdict"]), (1, &"not_sound".into()));
    assert_eq!(report["findings"][0]["class"], "proof");
    let (code, _, err) = check("no/such/file", &[]);
    assert_eq!(code, 2, "{err}");
    let (code, _, err) = run(&["--proof", &receipt, "--record", &record]);
    assert!(code == 2 && err.contains("--vkey"), "{err}");
    // Both are needed, and together with them a trail makes no sense.
    assert_eq!(run(&["--proof", &receipt]).0, 2);
    assert_eq!(
        run(&["trail", "--proof", &receipt, "--record", &record]).0,
        2
    );
}

#[test]
fn openings_from_files_and_questions_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (log, openings) = committed(&story(300), 0);
    let trail = dir.path().join("trail");
    write(&log.files(&keys()), &trail);
    let opening = openings[41].as_ref().unwrap();
    let session = opening.session().to_string();
    let opening = String::from_utf8(opening.to_json()).unwrap();
    let line = |index| format!("{{\"index\":{index},\"opening\":{opening}}}\n");
    std::fs::write(at("right"), line(41)).unwrap();
    std::fs::write(at("wrong"), line(43)).unwrap();
    std::fs::write(at("invalid"), "{}").unwrap();
    let (trail, vkey) = (trail.to_str().unwrap(), keys().vkey().to_string());
    let check = |more: &[&str]| run(&[&[trail, "--vkey", &vkey], more].concat());

    let (code, out, err) = check(&["--opening", &at("right"), "--personal-of", &session, "43"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for words in [
        "right: shown, matches entry 41",
        "    peer        192.0.2.7:4711",
        &format!("session {session}: kept back: entry 41"),
        "entry 43: kept back",
    ] {
        assert!(out.contains(words), "{words} in {out}");
    }
    let (code, out, _) = check(&["--opening", &at("right"), &at("wrong"), "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1, "{out}");
    assert_eq!(report["findings"][0]["class"], "personal");
    assert_eq!(report["personal"]["answers"][1]["answer"], "does_not_match");
    for wrong in [
        &["--opening", &at("invalid")][..],
        &["--opening", &at("nothing")],
        &["--personal-of", "-1"],
        &["--personal-of", "somebody"],
    ] {
        assert_eq!(check(wrong).0, 2, "{wrong:?}");
    }
}

#[test]
fn lines_of_a_sink_from_files_and_from_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let log = story(300).log();
    let entries = log.entries.iter().enumerate();
    let lines: Vec<String> = entries
        .map(|(index, entry)| {
            let (leaf, record) = (
                livetrail_tlog::leaf_hash(entry),
                String::from_utf8_lossy(entry),
            );
            format!("{{\"index\":{index},\"leaf\":\"{leaf}\",\"record\":{record}}}\n")
        })
        .collect();
    std::fs::write(at("t.json.00"), lines[..100].concat()).unwrap();
    std::fs::write(at("t.json"), lines[100..].concat()).unwrap();
    let note = log.checkpoint(300, &keys());
    let head = format!(
        "livetrail-file-cursor 1\norigin x\ncheckpoint {}\n",
        note.len()
    );
    std::fs::write(
        at("t.json.cursor"),
        [head.as_bytes(), &note, b"ahead 0\n"].concat(),
    )
    .unwrap();
    std::fs::write(at("note"), note).unwrap();
    let vkey = keys().vkey().to_string();
    let (old, new) = (at("t.json.00"), at("t.json"));

    let (code, out, err) = run(&["--lines", &old, &new, "--vkey", &vkey]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.starts_with("SOUND") && out.contains("300 entries"),
        "{out}"
    );

    let (code, out, _) = run(&["--lines", &new, "--vkey", &vkey]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("entries 0 to 99 are missing") && out.contains("t.json:1"),
        "{out}"
    );

    let (code, _, err) = run(&["--lines", &old, "--vkey", &vkey]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("t.json.00.cursor"), "{err}");

    let piped = |more: &str| {
        let binary = env!("CARGO_BIN_EXE_livetrail-verify");
        let script = format!("cat {old} {new} | {binary} --lines - --vkey '{vkey}' {more}");
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = [stdout, stderr].concat();
        (status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (code, said) = piped("");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--checkpoint"), "{said}");
    let (code, said) = piped(&format!("--checkpoint {}", at("note")));
    assert_eq!(code, 0, "{said}");
}

//! Sites without end, in this process: each check of them ends, and accuses nobody.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use livetrail_tlog::{Hash, TreeHead};
use livetrail_verify::{Class, Files, Limits, Options, Report, Site, Verdict, verify};

use crate::support::{Keys, assert_found, assert_sound, keys, sign, story};

/// A server whose files come from `answer`; `None` is 404. Counts the requests.
pub(crate) fn server(
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, asked) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || serve(stream.unwrap(), &*answer, &count));
        }
    });
    (address, asked)
}

fn serve(stream: TcpStream, answer: &dyn Fn(&str) -> Option<Vec<u8>>, asked: &AtomicU64) {
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
        asked.fetch_add(1, Ordering::Relaxed);
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let (status, body) = match answer(&path) {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", b"no".to_vec()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let whole = [head.into_bytes(), body].concat();
        if reader.get_mut().write_all(&whole).is_err() {
            return;
        }
    }
}

/// A site whose tree never ends: every tile and bundle is a copy of the first one, and these keys
/// have signed the checkpoint.
fn endless(signed_by: &Keys) -> (SocketAddr, Arc<AtomicU64>) {
    let log = story(256).log();
    let files: Files = log.files(&keys());
    let root = Hash::new([7; 32]);
    let note = sign(
        TreeHead {
            size: 1 << 56,
            root,
        },
        signed_by,
    );
    server(move |path| {
        let path = path.trim_start_matches("/trail/");
        if path == "checkpoint" {
            return Some(note.clone());
        }
        if path.starts_with("tile/entries/") {
            return files.0.get("tile/entries/000").cloned();
        }
        path.starts_with("tile/")
            .then(|| files.0["tile/0/000"].clone())
    })
}

fn check(address: SocketAddr, options: &Options) -> Report {
    let site = Site::new(&format!("http://{address}/trail")).unwrap();
    verify(&site, options, &mut |_, _| {}).unwrap()
}

#[test]
fn a_tree_without_end_under_a_strangers_checkpoint_is_not_walked() {
    let (address, asked) = endless(&Keys::new(9));
    let report = check(address, &keys().options());
    assert_found(&report, Class::Signature);
    assert_eq!(report.figures.entries, 0, "{report}");
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 20, "{asked} requests");
}

#[test]
fn a_tree_without_end_under_a_trusted_checkpoint_has_a_time_limit_and_a_limit_in_bytes() {
    let (address, _) = endless(&keys());
    let mut in_bytes = Limits::default();
    in_bytes.bytes = 200_000;
    for (limits, words) in [
        (Limits::within(Duration::from_millis(300)), "time limit"),
        (in_bytes, "bytes, its limit"),
    ] {
        let options = Options {
            limits,
            ..keys().options()
        };
        let report = check(address, &options);
        // The records of the same boot are repeated: that is a failure. The time limit is reported.
        assert_ne!(report.verdict, Verdict::Sound, "{report}");
        let said = report
            .problems
            .iter()
            .any(|problem| problem.contains(words));
        assert!(said, "{report}");
    }
}

#[test]
fn a_site_that_is_what_it_says_is_sound() {
    let files = story(300).log().files(&keys());
    let (address, _) = server(move |path| {
        let path = path.trim_start_matches("/trail/");
        files
            .0
            .get(path)
            .filter(|_| !path.starts_with("private"))
            .cloned()
    });
    assert_sound(&check(address, &keys().options()));
}

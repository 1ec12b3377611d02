//! The trail over HTTP: our verifier accepts it, caches may keep what never changes, and nobody
//! gets what they may not read.

use livetrail_audit::AuditAction;
use livetrail_ledger::{Access, Store as _};
use livetrail_tlog::{TilePath, parse_bundle};
use livetrail_verify::{Options, Policy, Report, Site, Verdict, keys_in, verify, verify_proof};

use super::*;

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn cache(&self) -> &str {
        self.header("cache-control").unwrap_or("nothing")
    }
}

async fn send(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let at = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(answer[..at].to_vec()).unwrap();
    Reply {
        status: head[9..12].parse().unwrap(),
        head,
        body: answer[at + 4..].to_vec(),
    }
}

async fn get(address: SocketAddr, path: &str) -> Reply {
    send(address, "GET", path, &[]).await
}

/// A server with this many records, all of them published.
async fn serving(config: Config, records: usize) -> Server {
    let server = start(config, &disk()).await;
    record(&server, records).await;
    server
}

async fn record(server: &Server, records: usize) {
    for _ in 0..records {
        let event = AuditAction::Event("tick".to_owned());
        server
            .pipeline
            .record(AuditRecord::new(event, "live"))
            .unwrap();
    }
    server.pipeline.sync().await.unwrap();
    let handle = &server.trail.view().handle;
    let durable = handle.status().durable;
    until(|| handle.status().sealed.size >= durable).await;
}

fn published(server: &Server) -> u64 {
    server.trail.view().handle.status().sealed.size
}

async fn verified(address: SocketAddr, vkeys: &str, token: Option<&'static str>) -> Report {
    let mut policy = Policy::default();
    for key in keys_in(vkeys).unwrap() {
        policy.add(key).unwrap();
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    let check = move || {
        let mut site = Site::new(&format!("http://{address}/trail")).unwrap();
        if let Some(token) = token {
            site = site.with_token(token).unwrap();
        }
        verify(&site, &options, &mut |_, _| {}).unwrap()
    };
    tokio::task::spawn_blocking(check).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verifier_takes_the_site_of_a_running_server_and_its_receipts() {
    let server = serving(config(), 700).await;
    let api = server.addresses().api;
    let vkeys = get(api, "/trail/trail.vkey").await;
    assert_eq!(
        vkeys.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let vkeys = String::from_utf8(vkeys.body).unwrap();
    let report = verified(api, &vkeys, None).await;
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert!(report.figures.entries > 700, "{report}");

    let bundle: TilePath = "tile/entries/001".parse().unwrap();
    let TilePath::Entries(bundle) = bundle else {
        panic!("{bundle} is a bundle");
    };
    let bytes = get(api, "/trail/tile/entries/001").await.body;
    let entry = parse_bundle(bundle, &bytes).unwrap()[44].to_vec();
    let proof = get(api, "/trail/proof?index=300").await;
    assert_eq!((proof.status, proof.cache()), (200, "no-cache"));
    let mut policy = Policy::default();
    for key in keys_in(&vkeys).unwrap() {
        policy.add(key).unwrap();
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    let report = verify_proof(&proof.body, &entry, &options).unwrap();
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_keep_what_never_changes_and_ask_for_the_checkpoint() {
    let server = serving(config(), 300).await;
    let api = server.addresses().api;
    let first = get(api, "/trail/checkpoint").await;
    assert_eq!((first.status, first.cache()), (200, "no-cache"));
    assert_eq!(
        first.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let tag = format!("If-None-Match: {}", first.header("etag").unwrap());
    let again = send(api, "GET", "/trail/checkpoint", &[&tag]).await;
    assert_eq!(
        (again.status, again.body.len(), again.header("etag")),
        (304, 0, first.header("etag"))
    );
    let head = send(api, "HEAD", "/trail/checkpoint", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length").unwrap(),
        first.body.len().to_string()
    );
    record(&server, 5).await;
    let grown = send(api, "GET", "/trail/checkpoint", &[&tag]).await;
    assert_eq!(grown.status, 200);
    assert_ne!(grown.body, first.body);

    for path in ["/trail/tile/0/000", "/trail/tile/entries/000"] {
        let tile = get(api, path).await;
        assert_eq!(tile.cache(), "public, max-age=604800, immutable", "{path}");
        assert_eq!(
            tile.header("content-type"),
            Some("application/octet-stream")
        );
        let head = send(api, "HEAD", path, &[]).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(
            head.header("content-length").unwrap(),
            tile.body.len().to_string()
        );
        let post = send(api, "POST", path, &["Content-Length: 0"]).await;
        assert_eq!(post.status, 405, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_widths_are_slices_and_nothing_beyond_the_checkpoint_is_given_out() {
    let server = serving(config(), 300).await;
    let api = server.addresses().api;
    let full = get(api, "/trail/tile/0/000").await.body;
    assert_eq!(full.len(), 8_192);
    for width in [1, 100, 255] {
        let part = get(api, &format!("/trail/tile/0/000.p/{width}")).await;
        assert_eq!(
            (part.status, &part.body),
            (200, &full[..32 * width].to_vec())
        );
        let part = get(api, &format!("/trail/tile/entries/000.p/{width}")).await;
        assert_eq!(part.status, 200);
    }
    // That entries were read is on record by now. More reads of this minute change nothing.
    record(&server, 0).await;
    let size = published(&server);
    let last = size % 256;
    for (path, status) in [
        (format!("/trail/tile/0/001.p/{last}"), 200),
        (format!("/trail/tile/0/001.p/{}", last + 1), 404),
        (format!("/trail/tile/entries/001.p/{last}"), 200),
        (format!("/trail/tile/entries/001.p/{}", last + 1), 404),
        ("/trail/tile/0/001".to_owned(), 404),
        ("/trail/tile/entries/001".to_owned(), 404),
        ("/trail/tile/1/000.p/1".to_owned(), 200),
        ("/trail/tile/1/000.p/2".to_owned(), 404),
        ("/trail/tile/63/000".to_owned(), 404),
        (
            "/trail/tile/7/x018/x446/x744/x073/x709/x551/615".to_owned(),
            404,
        ),
        (format!("/trail/proof?index={}", size - 1), 200),
        (format!("/trail/proof?index={size}"), 404),
        ("/trail/proof?index=18446744073709551615".to_owned(), 404),
    ] {
        let reply = get(api, &path).await;
        assert_eq!(reply.status, status, "{path}");
        if status != 200 {
            assert_eq!(reply.cache(), "no-store", "{path}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_retention_removed_are_not_there_and_their_hashes_are() {
    let server = serving(config(), 700).await;
    let api = server.addresses().api;
    let handle = server.trail.view().handle;
    let pruned = tokio::task::spawn_blocking(move || handle.prune(256, 500));
    assert_eq!(pruned.await.unwrap().unwrap(), 1);
    for path in ["/trail/tile/entries/000", "/trail/tile/entries/000.p/9"] {
        let reply = get(api, path).await;
        assert_eq!((reply.status, reply.cache()), (404, "no-store"), "{path}");
    }
    for path in [
        "/trail/tile/entries/001",
        "/trail/tile/0/000",
        "/trail/proof?index=7",
    ] {
        assert_eq!(get(api, path).await.status, 200, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_is_shown_under_the_id_of_the_key_that_was_given_up_and_nothing_else_is() {
    let disk = disk();
    let server = start(config(), &disk).await;
    record(&server, 10).await;
    let api = server.addresses().api;
    let keys = get(api, "/trail/trail.vkey").await.body;
    let keys = String::from_utf8(keys).unwrap();
    let id = keys.split('+').nth(1).unwrap();
    let path = format!("/trail/handover/{id}");
    let none = get(api, &path).await;
    assert_eq!((none.status, none.cache()), (404, "no-store"));
    let note = disk.read("checkpoint").unwrap();
    disk.create_dir("handover").unwrap();
    disk.write(&format!("handover/{id}"), &note, Access::Checkpoint)
        .unwrap();
    let shown = get(api, &path).await;
    assert_eq!((shown.status, shown.cache()), (200, "no-cache"));
    assert_eq!(shown.body, note);
    let tag = shown.header("etag").unwrap();
    let again = send(api, "GET", &path, &[&format!("If-None-Match: {tag}")]).await;
    assert_eq!(again.status, 304);
    let escaped = format!("/trail/handover/%{:02x}{}", id.as_bytes()[0], &id[1..]);
    for path in [
        &format!("/trail/handover/{id}0"),
        &format!("/trail/handover/+{}", &id[1..]),
        &escaped,
        "/trail/handover/..",
        "/trail/handover/%2e%2e%2fprivate",
        "/trail/handover/00000000",
    ] {
        assert_eq!(get(api, path).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_paths_are_refused_and_the_server_lives() {
    let server = serving(config(), 300).await;
    let api = server.addresses().api;
    for path in [
        "/trail/tile/0/000.p/0",
        "/trail/tile/0/000.p/256",
        "/trail/tile/0/000.p/-1",
        "/trail/tile/0/000.p/",
        "/trail/tile/0/000/",
        "/trail/tile/0/x000/000",
        "/trail/tile/0/x001",
        "/trail/tile/00/000",
        "/trail/tile/64/000",
        "/trail/tile/256/000",
        "/trail/tile/0/%30%30%30",
        "/trail/tile/0/00%30",
        "/trail/tile/%65ntries/000",
        "/trail/tile/entries/%2e%2e/0/000",
        "/trail/tile/entries/../0/000",
        "/trail/tile/entries/0/000",
        "/trail/tile/entries/000.p/0",
        "/trail/tile/0/../../private/log.json",
        "/trail/tile/../private/log.json",
        "/trail/tile/%2e%2e/private/log.json",
        "/trail/tile/..%2f..%2fprivate%2flog.json",
        "/trail/../trail/private/log.json",
        "/trail/private/log.json",
        "/trail/private/keys/signer",
        "/trail/tile/0/x999/x999/x999/x999/x999/x999/999",
        "/trail/tile/0/%00",
        "/trail/tile/0/%ff",
        "/trail/tile/",
        "/trail/tile",
        "/trail/",
        "/trail/checkpoint/",
        "/trail/proof",
        "/trail/proof?index=",
        "/trail/proof?index=-1",
        "/trail/proof?index=1e3",
        "/trail/proof?index=18446744073709551616",
        "/trail/proof?index=1&index=2",
    ] {
        let reply = get(api, path).await;
        assert!(
            matches!(reply.status, 400 | 404),
            "{path}: {}",
            reply.status
        );
        assert_eq!(reply.cache(), "no-store", "{path}");
    }
    let long = format!("/trail/tile/0/{}", "x001/".repeat(2_000));
    assert!(matches!(
        get(api, &long).await.status,
        400 | 404 | 414 | 431
    ));
    assert_eq!(get(api, "/trail/checkpoint").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_are_for_all_and_entries_for_those_with_a_token() {
    let mut config = config();
    config.api.token = vec![token("auditor", "secret-1")];
    let server = serving(config, 300).await;
    let api = server.addresses().api;
    for path in [
        "/trail/checkpoint",
        "/trail/tile/0/000",
        "/trail/proof?index=7",
        "/trail/trail.vkey",
    ] {
        assert_eq!(get(api, path).await.status, 200, "{path}");
    }
    for path in [
        "/trail/tile/entries/000",
        "/trail/tile/entries/no-such",
        "/trail/tile/entries/900",
    ] {
        for shown in ["X: y", "Authorization: Bearer wrong"] {
            let reply = send(api, "GET", path, &[shown]).await;
            assert_eq!((reply.status, reply.cache()), (401, "no-store"), "{path}");
        }
    }
    let shown = "Authorization: Bearer secret-1";
    let reply = send(api, "GET", "/trail/tile/entries/000", &[shown]).await;
    assert_eq!(
        (reply.status, reply.cache()),
        (200, "private, max-age=604800, immutable")
    );
    let vkeys = server.trail.view().vkeys.to_string();
    let report = verified(api, &vkeys, Some("secret-1")).await;
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let report = verified(api, &vkeys, None).await;
    assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
    assert!(report.to_string().contains("a token is needed"), "{report}");
    server.stop().await;
}

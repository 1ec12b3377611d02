//! Running a server: it drains, says whether it is ready, lists sessions page by page, and ends
//! many at once.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::*;

async fn post(api: SocketAddr, path: &str, body: &str) -> Answer {
    send(api, "POST", path, body).await
}

async fn send(api: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(api).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer secret-1\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        text: body.to_owned(),
    }
}

async fn get(api: SocketAddr, path: &str) -> Answer {
    ask(api, "GET", path, Some("secret-1")).await
}

async fn serving(disk: &MemStore) -> Server {
    let mut config = config();
    config.api.token = vec![token("ops", "secret-1")];
    // Most publishers here send nothing, and must not end for that on a slow machine.
    config.limits.first_frame_timeout = Span::secs(0);
    config.limits.idle_timeout = Span::secs(0);
    start(config, disk).await
}

fn of(stream: &str) -> Attempt {
    Attempt::new(StreamKey::parse("live", stream).unwrap(), "test")
}

async fn is_drained(server: &Server) -> bool {
    let mut drained = pin!(server.drained());
    poll_fn(|cx| Poll::Ready(drained.as_mut().poll(cx).is_ready())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_refuses_new_sessions_keeps_the_present_ones_and_can_be_given_up() {
    let disk = disk();
    let server = serving(&disk).await;
    let api = server.addresses().api;
    let mut cam = server.engine().publish(of("cam")).await.unwrap();
    let ready = get(api, "/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (200, &"ready".into())
    );

    let state = post(api, "/api/v1/drain", "").await.json();
    assert_eq!(
        (&state["draining"], &state["sessions"]),
        (&true.into(), &1.into())
    );
    let ready = get(api, "/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &"draining".into())
    );
    assert_eq!(ask(api, "GET", "/livez", None).await.status, 200);
    let health = get(api, "/health").await;
    assert_eq!(
        (health.status, &health.json()["draining"]),
        (200, &true.into())
    );
    let metrics = get(api, "/metrics").await.text;
    assert!(metrics.contains("livetrail_draining 1\n"), "{metrics}");
    for denied in [
        server.engine().publish(of("other")).await.unwrap_err(),
        server.engine().play(of("cam")).await.unwrap_err(),
    ] {
        assert_eq!(denied.reason, Reason::ServerDraining);
        assert_eq!(denied.retry_after, None);
    }
    cam.push(keyframe(0, 100)).unwrap();
    assert!(!is_drained(&server).await, "a session is left");

    let cancelled = ask(api, "DELETE", "/api/v1/drain", Some("secret-1")).await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["draining"]),
        (200, &false.into())
    );
    let again = ask(api, "DELETE", "/api/v1/drain", Some("secret-1")).await;
    assert_eq!(
        (again.status, &again.json()["reason"]),
        (404, &"not_draining".into())
    );
    assert_eq!(get(api, "/readyz").await.status, 200);
    let viewer = server.engine().play(of("cam")).await.unwrap();

    for wrong in ["{\"timeout_seconds\":604801}", "{\"seconds\":1}", "[]"] {
        let answer = post(api, "/api/v1/drain", wrong).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (400, &"bad_drain".into())
        );
    }
    server.drain();
    assert!(!is_drained(&server).await);
    drop((cam, viewer));
    server.drained().await;
    server.stop().await;
    let trail = trail(&disk);
    let of = |label: &str| -> Vec<&AuditRecord> {
        let of = trail.iter().filter(|r| r.action.label() == label);
        of.collect()
    };
    let started = of("admin_drain_started");
    let [by_api, by_signal] = started.as_slice() else {
        panic!("{started:?}");
    };
    assert_eq!((by_api.by.as_deref(), by_api.count), (Some("ops"), Some(1)));
    assert_eq!((by_signal.by.as_deref(), by_signal.count), (None, Some(2)));
    assert_eq!(by_signal.protocol.as_deref(), Some("signal"));
    assert!(by_api.extra.get("until_ms").is_some());
    assert_eq!(of("admin_drain_cancelled").len(), 1);
    for label in ["publish_denied", "play_denied"] {
        let reason = of(label)[0].reason.as_ref().map(|reason| reason.label());
        assert_eq!(reason, Some("server_draining"), "{label}");
    }
    let (findings, _) = TrailChecker::new().check(&trail);
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_over_at_its_deadline() {
    let disk = disk();
    let server = serving(&disk).await;
    let api = server.addresses().api;
    let cam = server.engine().publish(of("cam")).await.unwrap();
    // Waiting begins before the drain does.
    let waits = async {
        server.drained().await;
    };
    let drains = async {
        let answer = post(api, "/api/v1/drain", "{\"timeout_seconds\":0}").await;
        assert_eq!(answer.status, 200);
        pending::<()>().await;
    };
    tokio::select! {
        () = waits => {}
        () = drains => {}
    }
    assert_eq!(cam.end_reason(), None);
    server.stop().await;
    assert_eq!(cam.end_reason(), Some(Reason::ServerShutdown));
}

/// The ids of all pages, and the number of pages.
pub(super) async fn paged(
    api: SocketAddr,
    query: &str,
    list: &str,
    id: &str,
) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let answer = get(api, &format!("/api/v1/{list}?{query}{cursor}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        let items = answer[list].as_array().unwrap().iter();
        ids.extend(items.map(|item| item[id].as_str().unwrap().to_owned()));
        pages += 1;
        match &answer["next"] {
            Value::Null => return (ids, pages),
            Value::String(next) => cursor = format!("&cursor={}", next.replace('/', "%2F")),
            next => cursor = format!("&cursor={next}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_and_stream_is_on_one_page_and_filters_select_them() {
    let disk = disk();
    let server = serving(&disk).await;
    let api = server.addresses().api;
    let mut published = Vec::new();
    for n in 0..25 {
        let peer = format!("192.0.2.{n}:5000").parse().unwrap();
        let attempt = of(&format!("cam{n:02}")).peer(peer);
        published.push(server.engine().publish(attempt).await.unwrap());
    }
    let mut viewers = Vec::new();
    for _ in 0..30 {
        viewers.push(server.engine().play(of("cam00")).await.unwrap());
    }
    let (all, pages) = paged(api, "limit=20", "sessions", "session").await;
    assert_eq!((all.len(), pages), (55, 3));
    let mut different = all.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 55);
    let (unpaged, pages) = paged(api, "", "sessions", "session").await;
    assert_eq!((unpaged, pages), (all, 1));
    let (streams, pages) = paged(api, "limit=10", "streams", "stream").await;
    let names: Vec<_> = (0..25).map(|n| format!("cam{n:02}")).collect();
    assert_eq!((streams, pages), (names, 3));
    for (query, count) in [
        ("role=play&limit=20", 30),
        ("stream=cam00&role=publish", 1),
        ("address=192.0.2.16/29", 8),
        ("app=vod", 0),
        ("protocol=test&limit=1000", 55),
        ("key=alice", 0),
    ] {
        let (found, _) = paged(api, query, "sessions", "session").await;
        assert_eq!(found.len(), count, "{query}");
    }
    let (found, _) = paged(api, "address=192.0.2.7", "streams", "stream").await;
    assert_eq!(found, ["cam07"]);
    for query in ["limit=0", "limit=1001", "address=x", "cursor=x"] {
        for list in ["sessions", "streams"] {
            let answer = get(api, &format!("/api/v1/{list}?{query}")).await;
            assert_eq!(answer.status, 400, "{list} {query}: {}", answer.text);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_sees_no_persons_cannot_find_one_by_asking() {
    let disk = disk();
    let mut config = config();
    let viewer = ApiRoles::of(&[config::ApiRole::Viewer]);
    config.api.token = vec![ApiToken {
        role: Some(viewer),
        ..token("wall", "secret-1")
    }];
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    for list in ["sessions", "streams"] {
        for query in ["key=alice", "address=192.0.2.0/24"] {
            let answer = get(api, &format!("/api/v1/{list}?{query}")).await;
            assert_eq!(answer.status, 403, "{list} {query}: {}", answer.text);
        }
        let answer = get(api, &format!("/api/v1/{list}?app=live")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_ended_by_what_they_have_in_common_on_record() {
    let disk = disk();
    let server = serving(&disk).await;
    let api = server.addresses().api;
    let cam = server.engine().publish(of("cam")).await.unwrap();
    let mut viewers = Vec::new();
    for n in 0..10 {
        let peer = format!("192.0.2.{n}:5000").parse().unwrap();
        let viewer = server.engine().play(of("cam").peer(peer)).await.unwrap();
        viewers.push(viewer);
    }
    for wrong in [
        "{}",
        "{\"role\":\"play\"}",
        "{\"app\":\"live\",\"limit\":0}",
        "{\"app\":\"live\",\"limit\":10001}",
        "{\"address\":\"x\"}",
        "{\"application\":\"live\"}",
        "",
    ] {
        let answer = post(api, "/api/v1/kicks", wrong).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text);
        assert_eq!(answer.json()["reason"], "bad_kick", "{wrong}");
    }
    let body = "{\"app\":\"live\",\"role\":\"play\",\"address\":\"192.0.2.0/29\",\"limit\":5}";
    for (ended, more) in [(5, true), (3, false), (0, false)] {
        let answer = post(api, "/api/v1/kicks", body).await.json();
        assert_eq!(
            (&answer["ended"], &answer["more"]),
            (&ended.into(), &more.into())
        );
    }
    let left = viewers
        .iter()
        .filter(|viewer| viewer.end_reason().is_none());
    assert_eq!((left.count(), cam.end_reason()), (2, None));
    let answer = post(
        api,
        "/api/v1/kicks",
        "{\"stream\":\"cam\",\"role\":\"publish\"}",
    )
    .await;
    assert_eq!(answer.json()["ended"], 1);
    assert_eq!(cam.end_reason(), Some(Reason::Kicked));
    server.stop().await;
    let trail = trail(&disk);
    let kicks = trail
        .iter()
        .filter(|record| record.action.label() == "admin_sessions_kicked");
    let kicks: Vec<_> = kicks.collect();
    let counts: Vec<_> = kicks.iter().map(|record| record.count).collect();
    assert_eq!(counts, [Some(5), Some(3), Some(1)]);
    assert!(
        kicks
            .iter()
            .all(|record| record.by.as_deref() == Some("ops"))
    );
    assert!(kicks.iter().all(|record| record.app == "live"));
    let meant = kicks[0].detail.as_ref().map(Personal::expose);
    assert_eq!(meant, Some("app=live role=play address"), "names nobody");
    let sessions = kicks[0].extra.get("sessions");
    // Base64 of five times 16 bytes.
    let length = sessions.map(|sessions| format!("{sessions:?}").len());
    assert!(length.is_some_and(|length| length > 108), "{sessions:?}");
    let (findings, _) = TrailChecker::new().check(&trail);
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_over_the_api_and_ends_when_that_is_over() {
    let disk = disk();
    let server = serving(&disk).await;
    let api = server.addresses().api;
    let cam = server.engine().publish(of("cam")).await.unwrap();
    let listed = async || get(api, "/api/v1/sessions").await.json()["sessions"][0].clone();
    let session = listed().await;
    assert_eq!(session.get("expires"), None, "it does not expire");
    let id = session["session"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}/expiry");
    let put = async |path: &str, body: &str| send(api, "PUT", path, body).await;

    for wrong in [
        "",
        "{}",
        "{\"expires_in\":-1}",
        "{\"expires_at\":99999999999}",
    ] {
        let answer = put(&path, wrong).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text);
        assert_eq!(answer.json()["reason"], "bad_expiry", "{wrong}");
    }
    let other = path.replace(&id, "01990000-0000-7000-8000-000000abcdef");
    assert_eq!(put(&other, "{\"expires_in\":60}").await.status, 404);

    let answer = put(&path, "{\"expires_at\":4102444800}").await;
    assert_eq!(answer.status, 400, "further away than ten years");
    let answer = put(&path, "{\"expires_in\":3600}").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // The list computes it from the monotonic clock.
    let time = |shown: &Value| shown.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let shown = time(&listed().await["expires"]);
    let apart = shown.duration_since(time(&answer.json()["expires"]));
    assert!(apart.as_millis().abs() < 5_000, "{apart:?}");
    assert_eq!(cam.end_reason(), None);
    assert_eq!(put(&path, "{\"expires_at\":1}").await.status, 200);
    let ends = async {
        while cam.end_reason().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ends)
        .await
        .unwrap();
    assert_eq!(cam.end_reason(), Some(Reason::TokenExpired));
    assert_eq!(put(&path, "{\"expires_in\":60}").await.status, 404);
    server.stop().await;
    let trail = trail(&disk);
    let renewed = trail
        .iter()
        .filter(|record| record.action.label() == "admin_session_renewed");
    let renewed: Vec<_> = renewed.collect();
    assert_eq!(renewed.len(), 2);
    for record in &renewed {
        assert_eq!(record.by.as_deref(), Some("ops"));
        assert_eq!(record.session.map(|id| id.to_string()), Some(id.clone()));
        assert_eq!(record.stream.as_deref(), Some("cam"));
    }
    let until = renewed[1].extra.get("until_ms");
    assert_eq!(until, Some(&livetrail_record::Value::Integer(1_000)));
    let (findings, _) = TrailChecker::new().check(&trail);
    assert!(findings.is_empty(), "{findings:?}");
}

//! Personal data over the API: erased with two approvals, held, disclosed; all on record.

use livetrail_record::{Opening, Uuid};
use livetrail_vault::{NewRow, RowKind};

use super::*;
use crate::config::ApiRole;

const ALICE: [u128; 2] = [0xa1, 0xa2];
const BOB: u128 = 0xb1;

fn tokens() -> Vec<ApiToken> {
    let of = |name: &str, role: ApiRole| ApiToken {
        role: Some(ApiRoles::of(&[role])),
        ..token(name, &secret(name))
    };
    vec![
        of("first", ApiRole::Eraser),
        of("second", ApiRole::Eraser),
        of("auditor", ApiRole::Auditor),
    ]
}

fn secret(name: &str) -> String {
    format!("secret-of-the-{name}-one")
}

/// Puts the opening of a session into the vault.
fn keep(server: &Server, session: u128, principal: &str) {
    let session = Uuid::from_u128(session);
    let mut opening = Opening::new(session, [7; 16]);
    opening.insert("principal", principal).unwrap();
    let row = NewRow {
        session: session.into_bytes(),
        kind: RowKind::Session,
        app: "live",
        time_ms: 1_000,
        principal: Some(principal),
        peer: None,
        user_agent: None,
        stream: Some("cam"),
        owner: None,
        opening: &opening.to_json(),
    };
    let view = server.trail.view();
    let kept = view.personal().with(|vault| vault.insert(&[row]));
    kept.unwrap();
}

async fn send(api: SocketAddr, request: &str, by: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(api).await.unwrap();
    let head = format!(
        "{request} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        secret(by),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let json = serde_json::from_str(body).unwrap_or_default();
    (head[9..12].parse().unwrap(), json)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_erase_and_a_hold_beats_them_until_it_is_lifted() {
    let disk = disk();
    let mut config = config();
    config.api.token = tokens();
    config.api.erasure_approvals = 2;
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    for session in ALICE {
        keep(&server, session, "alice");
    }
    keep(&server, BOB, "bob");
    let bob = Uuid::from_u128(BOB);

    let erase = "POST /api/v1/erasures";
    let of_alice = r#"{"request":"1","basis":"art17","principal":"alice"}"#;
    let dry = of_alice.replace('}', r#","dry_run":true}"#);
    let (status, counted) = send(api, erase, "first", &dry).await;
    assert_eq!((status, &counted["erased"]), (200, &2.into()), "{counted}");
    let (status, waits) = send(api, erase, "first", of_alice).await;
    assert_eq!(
        (status, &waits["approvals_missing"]),
        (202, &1.into()),
        "{waits}"
    );
    assert_eq!(send(api, erase, "second", of_alice).await.0, 409);
    let approve = |number: u32| format!("POST /api/v1/erasures/{number}/approvals");
    assert_eq!(send(api, &approve(1), "first", "").await.0, 409);
    assert_eq!(send(api, &approve(9), "second", "").await.0, 404);
    let (status, done) = send(api, &approve(1), "second", "").await;
    assert_eq!(
        (status, &done["state"]),
        (200, &"completed".into()),
        "{done}"
    );
    assert_eq!(done["erased"], 2);
    for wrong in [
        r#"{"request":"2","basis":"art17"}"#,
        r#"{"request":"of-bob","basis":"art17","principal":"bob"}"#,
        r#"{"request":"2","basis":"art17","principal":"x","before_ms":5}"#,
        r#"{"request":"2","basis":"art17","sessions":["x"]}"#,
        r#"{"request":"2","basis":"art17","network":"192.0.2.0/33"}"#,
        "",
    ] {
        assert_eq!(send(api, erase, "first", wrong).await.0, 400, "{wrong}");
    }

    let opening = |session: Uuid| format!("GET /api/v1/sessions/{session}/opening");
    let gone = opening(Uuid::from_u128(ALICE[0])) + "?purpose=case-17";
    assert_eq!(send(api, &gone, "auditor", "").await.0, 410);
    let unknown = opening(Uuid::from_u128(5)) + "?purpose=case-17";
    assert_eq!(send(api, &unknown, "auditor", "").await.0, 404);
    assert_eq!(send(api, &opening(bob), "auditor", "").await.0, 400);
    let (status, shown) = send(api, &(opening(bob) + "?purpose=case-17"), "auditor", "").await;
    assert_eq!(
        (status, &shown["opening"]["principal"]),
        (200, &"bob".into()),
        "{shown}"
    );
    let one = opening(bob) + "?purpose=case-17&field=principal";
    let (_, shown) = send(api, &one, "auditor", "").await;
    assert_eq!(shown["disclosure"]["value"], "bob", "{shown}");

    let hold = format!(r#"{{"hold":"case-17","sessions":["{bob}"]}}"#);
    let (status, held) = send(api, "POST /api/v1/holds", "auditor", &hold).await;
    assert_eq!((status, &held["sessions"]), (200, &1.into()), "{held}");
    let of_bob = format!(r#"{{"request":"3","basis":"art17","sessions":["{bob}"]}}"#);
    send(api, erase, "first", &of_bob).await;
    let (status, waits) = send(api, &approve(3), "second", "").await;
    assert_eq!((status, &waits["state"]), (200, &"held".into()), "{waits}");
    let (_, holds) = send(api, "GET /api/v1/holds", "first", "").await;
    assert_eq!(holds["holds"][0]["hold"], "case-17", "{holds}");
    let states = || async {
        let (_, list) = send(api, "GET /api/v1/erasures", "auditor", "").await;
        let state = |one: &Value| format!("{} {}", one["request"], one["state"]);
        let list = list["erasures"].as_array().unwrap().iter();
        list.map(state).collect::<Vec<_>>()
    };
    assert_eq!(states().await, [r#""3" "held""#, r#""1" "completed""#]);
    let lift = "DELETE /api/v1/holds/case-17";
    let (status, lifted) = send(api, lift, "auditor", "").await;
    assert_eq!(status, 200);
    assert_eq!(lifted["erasures"][0]["state"], "completed", "{lifted}");
    assert_eq!(send(api, lift, "auditor", "").await.0, 404);
    assert_eq!(states().await, [r#""3" "completed""#, r#""1" "completed""#]);
    let metrics = ask(api, "GET", "/metrics", Some(&secret("auditor"))).await;
    assert!(
        metrics
            .text
            .contains("livetrail_personal_erased_sessions 3")
    );
    server.stop().await;

    let trail = trail(&disk);
    let by = |label: &str| -> Vec<&str> {
        let of = trail.iter().filter(|record| record.action.label() == label);
        of.filter_map(|record| record.by.as_deref()).collect()
    };
    let approvals = by("admin_erasure_approved");
    assert_eq!(approvals, ["first", "second", "first", "second"]);
    assert_eq!(by("admin_erased"), ["first", "first"]);
    assert_eq!(by("admin_erasure_waits"), ["first"]);
    assert_eq!(by("admin_erasure_completed").len(), 2);
    assert_eq!(by("admin_held"), ["auditor", "auditor"]);
    assert!(!by("admin_disclosed").is_empty());
    let reader = Reader::open(Arc::new(disk)).unwrap();
    for entry in reader.entries(0..u64::MAX).unwrap() {
        let text = String::from_utf8(entry.unwrap()).unwrap();
        assert!(!text.contains("alice") && !text.contains("bob"), "{text}");
    }
}

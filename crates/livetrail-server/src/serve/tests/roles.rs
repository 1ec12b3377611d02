//! Who may use which path: every route with every role.

use super::*;
use crate::{
    api::{is_allowed, routes},
    config::{ApiRole, ApiRoles, ApiToken},
};

fn secret_of(role: ApiRole) -> String {
    format!("secret-of-the-{}", role.name())
}

fn tokens() -> Vec<ApiToken> {
    let of = |role: ApiRole| ApiToken {
        role: Some(ApiRoles::of(&[role])),
        application: (role == ApiRole::Regulator).then(|| "live".parse().unwrap()),
        ..token(role.name(), &secret_of(role))
    };
    ApiRole::ALL.map(of).to_vec()
}

/// A path that a client sends for a route.
fn sent(route: &str) -> String {
    route
        .replace("{id}", "01990000-0000-7000-8000-000000abcdef")
        .replace("/opening", "/opening?purpose=test")
        .replace("{request}", "1")
        .replace("{hold}", "case-1")
        .replace("{*index}", "000")
        .replace("{level}", "0")
        .replace("{key}", "00000000")
        .replace("{witnesses}", "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_each_role_as_the_table_says() {
    let disk = disk();
    let mut config = config();
    config.api.token = tokens();
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    let mut refused = 0;
    for (method, route) in routes() {
        let path = sent(route);
        let mut allowed = 0;
        for role in ApiRole::ALL {
            let answer = ask(api, method, &path, Some(&secret_of(role))).await;
            let what = format!("{method} {path} as {}: {}", role.name(), answer.text);
            if is_allowed(method, route, role) {
                allowed += 1;
                assert!(!matches!(answer.status, 401 | 403 | 405 | 429), "{what}");
            } else {
                refused += 1;
                assert_eq!(answer.status, 403, "{what}");
                assert_eq!(answer.json()["reason"], "role_not_allowed", "{what}");
            }
        }
        assert!(allowed > 0, "nobody may use {route}");
        let is_open = ApiRole::ALL.len() == allowed && route != "/api/v1/openapi.json";
        for token in [None, Some("not-a-token-of-anybody")] {
            let answer = ask(api, method, &path, token).await;
            let what = format!("{method} {path} with {token:?}: {}", answer.text);
            if is_open {
                assert!(!matches!(answer.status, 401 | 403 | 429), "{what}");
            } else {
                refused += 1;
                assert!(matches!(answer.status, 401 | 429), "{what}");
            }
        }
    }
    server.stop().await;
    let trail = trail(&disk);
    let denied = trail
        .iter()
        .filter(|record| record.action.label() == "admin_denied");
    let counted: u64 = denied.clone().map(|r| r.count.unwrap_or(1)).sum();
    assert_eq!(counted, refused, "each refusal is on record");
    assert!(denied.clone().count() < 30, "and they are few records");
    for record in denied {
        let is_of_role = record.reason.as_ref().map(|r| r.label()) == Some("role_not_allowed");
        assert_eq!(record.by.is_some(), is_of_role, "{record:?}");
    }
}

#[tokio::test]
async fn the_document_has_the_routes_of_the_table_and_their_roles() {
    let disk = disk();
    let server = start(config(), &disk).await;
    let document = ask(server.addresses().api, "GET", "/api/v1/openapi.json", None).await;
    let document = document.json();
    server.stop().await;
    let mut in_document = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if method != "head" {
                in_document.push(format!("{} {path}", method.to_uppercase()));
                let has_roles = operation.get("x-roles").is_some();
                let needs_token = operation.get("security").is_some();
                assert_eq!(has_roles, needs_token, "{method} {path}");
            }
        }
    }
    let table = routes().map(|(method, path)| format!("{method} {}", path.replace("{*", "{")));
    // The document does not describe itself.
    let mut table: Vec<_> = table.filter(|row| !row.ends_with("openapi.json")).collect();
    table.sort();
    in_document.sort();
    assert_eq!(in_document, table);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_no_persons_and_a_regulator_one_application() {
    let disk = disk();
    let mut config = config();
    config.api.token = tokens();
    let other = Application {
        name: "other".parse().unwrap(),
        ..Application::default()
    };
    config.application.push(other);
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    let here = attempt().peer("192.0.2.7:5000".parse().unwrap());
    let here = here.user_agent("OBS/31");
    let mut here = server.engine().publish(here).await.unwrap();
    here.push(keyframe(0, 100)).unwrap();
    let key = StreamKey::parse("other", "cam").unwrap();
    let mut there = server
        .engine()
        .publish(Attempt::new(key, "test"))
        .await
        .unwrap();
    there.push(keyframe(0, 100)).unwrap();
    for (role, shows, streams) in [
        (ApiRole::Viewer, false, 2),
        (ApiRole::Operator, true, 2),
        (ApiRole::Auditor, true, 2),
        (ApiRole::Regulator, true, 1),
    ] {
        let secret = secret_of(role);
        for (path, list) in [
            ("/api/v1/sessions", "sessions"),
            ("/api/v1/streams", "streams"),
        ] {
            let answer = ask(api, "GET", path, Some(&secret)).await;
            assert_eq!(
                answer.json()[list].as_array().unwrap().len(),
                streams,
                "{path}"
            );
            let tells = answer.text.contains("192.0.2.7") && answer.text.contains("OBS/31");
            assert_eq!(tells, shows, "{path} as {}: {}", role.name(), answer.text);
            assert_eq!(
                !answer.text.contains("\"peer\":null"),
                shows,
                "{}",
                answer.text
            );
            assert_eq!(
                answer.text.contains("other"),
                streams == 2,
                "{}",
                answer.text
            );
        }
    }
    drop((here, there));
    server.pipeline.sync().await.unwrap();
    let handle = server.trail.view().handle;
    let written = handle.durable_entries();
    until(|| handle.status().sealed.size >= written).await;
    for (role, more, applications) in [
        (ApiRole::Auditor, "", vec!["", "live", "other"]),
        (ApiRole::Auditor, "?app=other&limit=1", vec!["other"]),
        (ApiRole::Auditor, "?action=server_started", vec![""]),
        (ApiRole::Regulator, "", vec!["live"]),
    ] {
        let path = format!("/api/v1/trail/entries{more}");
        let answer = ask(api, "GET", &path, Some(&secret_of(role))).await;
        let entries = answer.json()["entries"].clone();
        let entries = entries.as_array().unwrap().iter();
        let mut seen: Vec<_> = entries.map(|e| e["record"]["app"].clone()).collect();
        seen.sort_by_key(ToString::to_string);
        seen.dedup();
        assert_eq!(seen, applications, "{path}: {}", answer.text);
        for person in ["192.0.2.7", "OBS/31"] {
            assert!(!answer.text.contains(person), "{}", answer.text);
        }
        let has_next = answer.json().get("next").is_some();
        assert_eq!(has_next, more.contains("limit"), "{}", answer.text);
    }
    let path = "/api/v1/trail/entries?app=other";
    let regulator = secret_of(ApiRole::Regulator);
    assert_eq!(ask(api, "GET", path, Some(&regulator)).await.status, 403);
    server.stop().await;
    let reads = trail(&disk)
        .into_iter()
        .filter(|record| record.action.label() == "admin_read")
        .collect::<Vec<_>>();
    let by: Vec<_> = reads
        .iter()
        .filter_map(|record| record.by.as_deref())
        .collect();
    assert!(
        by.contains(&"auditor") && by.contains(&"regulator"),
        "{reads:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_entries_and_reviewing_them_is_on_record_and_bounded_under_a_flood() {
    let disk = disk();
    let mut config = config();
    config.api.token = tokens();
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    let auditor = secret_of(ApiRole::Auditor);
    // What is not published is not read.
    let path = "/trail/tile/entries/900.p/7";
    assert_eq!(ask(api, "GET", path, Some(&auditor)).await.status, 404);
    server.pipeline.sync().await.unwrap();
    let handle = server.trail.view().handle;
    until(|| handle.status().sealed.size > 0).await;
    let path = "/trail/tile/entries/000.p/1";
    for _ in 0..300 {
        assert_eq!(ask(api, "GET", path, Some(&auditor)).await.status, 200);
    }
    let review = |body: &'static str| {
        let auditor = auditor.clone();
        async move {
            let mut stream = TcpStream::connect(api).await.unwrap();
            let head = format!(
                "POST /api/v1/trail/reviews HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {auditor}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer[9..12].parse::<u16>().unwrap()
        }
    };
    for (body, status) in [
        (
            r#"{"first_index":0,"last_index":0,"note":"the start"}"#,
            204,
        ),
        (
            r#"{"first_index":1,"last_index":0,"note":"the start"}"#,
            400,
        ),
        (r#"{"first_index":0,"last_index":90000,"note":"x"}"#, 400),
        (r#"{"first_index":0,"last_index":0,"note":""}"#, 400),
        (r#"{"first_index":0,"last_index":0}"#, 400),
        ("nothing", 400),
    ] {
        assert_eq!(review(body).await, status, "{body}");
    }
    server.stop().await;
    let trail = trail(&disk);
    let of = |label: &str| -> Vec<&AuditRecord> {
        let of = trail.iter().filter(|r| r.action.label() == label);
        of.collect()
    };
    let reads = of("admin_read");
    let counted: u64 = reads.iter().map(|r| r.count.unwrap_or(1)).sum();
    assert_eq!(counted, 300);
    assert!(reads.len() <= 4, "{}", reads.len());
    assert!(reads.iter().all(|r| r.by.as_deref() == Some("auditor")));
    let reviews = of("admin_reviewed");
    let [review] = reviews.as_slice() else {
        panic!("{reviews:?}");
    };
    assert_eq!(review.by.as_deref(), Some("auditor"));
    assert_eq!(
        review.detail.as_ref().map(Personal::expose),
        Some("the start")
    );
    let (findings, _) = TrailChecker::new().check(&trail);
    assert!(findings.is_empty(), "{findings:?}");
}

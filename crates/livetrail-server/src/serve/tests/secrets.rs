//! Tokens of the API are secrets wherever they arrive: neither the trail nor the log has them.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// The log of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn send(address: SocketAddr, request: &str, agent: &str, bearer: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{request} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: {agent}\r\nAuthorization: Bearer {bearer}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// All tasks run on the test's thread, whose log is checked.
#[tokio::test]
async fn a_token_of_the_api_is_in_neither_the_trail_nor_the_log() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(lines.clone())
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let tokens = ["day-shift-secret-0001", "night-shift-secret-0002"];
    let [day, night] = tokens;
    let disk = disk();
    let mut config = config();
    config.api.token = vec![token("day", day)];
    let server = start(config.clone(), &disk).await;
    let Addresses { api, http, .. } = server.addresses();
    // The token is the stream's name and the client's `User-Agent`, over each protocol.
    let key = StreamKey::parse("live", day).unwrap();
    let named = Attempt::new(key, "test").user_agent(&format!("FMLE/3.0 {day}"));
    let publication = server.engine().publish(named).await.unwrap();
    assert_eq!(publication.key().stream_id.as_str(), "key:api:day");
    // After a reload the new token is recognised, too. It opens no stream.
    config.api.token = vec![token("day", day), token("night", night)];
    config.auth.play = AdmissionRule::Keys;
    config.auth.key = vec![key_of_nobody()];
    server.reload(Ok(config));
    let shown = attempt().credentials(Credentials::token(night));
    let refused = server.engine().play(shown).await.err().unwrap();
    assert_eq!(refused.reason.label(), "unauthorized");
    for path in [format!("{day}x.flv"), format!("cam.flv?token={night}")] {
        let refused = send(http, &format!("GET /live/{path}"), night, day).await;
        assert!(refused.starts_with("HTTP/1.0 40"), "{refused}");
    }
    // The `User-Agent` of operators' programs.
    let agent = format!("ops/1 ({night})");
    let wrong = send(api, "GET /metrics", &agent, "wrong").await;
    assert!(wrong.starts_with("HTTP/1.0 401"), "{wrong}");
    let kick = format!("DELETE /api/v1/sessions/{}", publication.session());
    let kicked = send(api, &kick, &agent, night).await;
    assert!(kicked.starts_with("HTTP/1.0 204"), "{kicked}");
    for action in ["admin_denied", "admin_session_kicked"] {
        let names = openings(&server, &disk, action).await;
        let agents: Vec<_> = names.iter().map(|one| field(one, "user_agent")).collect();
        assert_eq!(agents, [Some("key:api:night")], "{action}");
    }
    for names in openings(&server, &disk, "play_denied").await {
        let names = String::from_utf8(names.to_json()).unwrap();
        assert!(tokens.iter().all(|token| !names.contains(token)), "{names}");
    }
    drop(publication);
    server.stop().await;

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("session kicked"), "{log}");
    let reader = Reader::open(Arc::new(disk.clone())).unwrap();
    let entries = reader.entries(0..u64::MAX).unwrap();
    let entries: Vec<_> = entries
        .map(|entry| String::from_utf8(entry.unwrap()).unwrap())
        .collect();
    for token in tokens {
        assert!(!log.contains(token), "{log}");
        assert!(!entries.iter().any(|entry| entry.contains(token)));
    }
}

/// A key that no client in this test uses.
fn key_of_nobody() -> config::Key {
    key("nobody", "a-key-that-nobody-shows")
}

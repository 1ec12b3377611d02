//! The lists of what is pulled from other nodes and pushed to them.

use super::{operations::paged, *};
use crate::config::Relay;

/// Publishes, with a keyframe every 20 ms, until the publication is ended.
fn publish(server: &Server, stream: &str) -> tokio::task::JoinHandle<()> {
    let (engine, stream) = (server.engine().clone(), stream.to_owned());
    tokio::spawn(async move {
        let key = StreamKey::parse("live", &stream).unwrap();
        let mut publication = engine.publish(Attempt::new(key, "test")).await.unwrap();
        for n in 0.. {
            if publication.push(keyframe(20 * n, 100)).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

fn config_of(node: &str) -> Config {
    let mut config = config();
    config.node = config::NodeName(node.to_owned());
    config.api.token = vec![token("ops", "secret-1")];
    let live = Application {
        wait_for_publisher: Span::secs(20),
        ..Application::default()
    };
    config.application = vec![live];
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pull_and_push_is_on_one_page_with_its_state() {
    let (disk, of_west) = (disk(), disk());
    let east = start(config_of("east"), &disk).await;
    let rtmp = east.addresses().rtmp;
    let relay = format!(
        "[[pull]]\napplication = \"live\"\nstream = \"far*\"\norigin = [{{ name = \"east\", url = \"rtmp://{rtmp}\" }}]\n\
         [[push]]\napplication = \"live\"\nstream = \"cam*\"\n\
         target = [{{ name = \"gone\", url = \"rtmp://127.0.0.1:1\" }}, {{ name = \"east\", url = \"rtmp://{rtmp}\" }}]"
    );
    let mut config = config_of("west");
    config.relay = toml::from_str::<Relay>(&relay).unwrap();
    let west = start(config, &of_west).await;
    let api = west.addresses().api;
    let list = async |path: &str| {
        let answer = ask(api, "GET", &format!("/api/v1/{path}"), Some("secret-1")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    };
    let count = |answer: &Value, list: &str| answer[list].as_array().unwrap().len();

    let _far = ["far1", "far2", "far3"].map(|name| publish(&east, name));
    until(|| east.engine().streams().len() == 3).await;
    let mut viewers = Vec::new();
    for name in ["far3", "far1", "far2", "far2"] {
        let key = StreamKey::parse("live", name).unwrap();
        let mut viewer = west.engine().play(Attempt::new(key, "test")).await.unwrap();
        assert!(viewer.next().await.is_some());
        viewers.push(viewer);
    }
    let (streams, pages) = paged(api, "limit=2", "pulls", "stream").await;
    assert_eq!(
        (streams, pages),
        (vec!["far1".into(), "far2".into(), "far3".into()], 2)
    );
    let pulls = list("pulls?stream=far2&node=east&state=carrying&app=live").await;
    let pull = &pulls["pulls"][0];
    assert_eq!((count(&pulls, "pulls"), &pull["viewers"]), (1, &2.into()));
    assert_eq!(
        (&pull["origin"], &pull["epoch"]),
        (&"east".into(), &0.into())
    );
    assert_eq!(pull["link"]["attempts"], 1, "{pull}");
    let sessions = list("sessions?role=publish&stream=far2").await;
    assert_eq!(pull["session"], sessions["sessions"][0]["session"]);
    let key = StreamKey::parse("live", "far2").unwrap();
    let at_east = east.engine().sessions_after(None, 10, |session| {
        session.key == key && session.role == livetrail_engine::Role::Play
    });
    let at_east = at_east.sessions[0].context.session.to_string();
    assert_eq!(pull["upstream_session"], at_east);

    let _cams: Vec<_> = (0..5).map(|n| publish(&west, &format!("cam{n}"))).collect();
    for wanted in ["node=east&state=carrying", "node=gone&state=waiting"] {
        let path = format!("pushes?{wanted}");
        let shown = async {
            while count(&list(&path).await, "pushes") < 5 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), shown).await;
        waited.unwrap_or_else(|_| panic!("{wanted} takes longer than 10 s"));
    }
    let (targets, pages) = paged(api, "limit=4", "pushes", "target").await;
    assert_eq!((targets.len(), pages), (10, 3));
    let pushes = list("pushes?node=gone&stream=cam3").await;
    let push = &pushes["pushes"][0];
    assert!(push["link"]["failures"].as_u64() >= Some(1), "{push}");
    let carried = list("pushes?node=east&stream=cam3").await;
    let sessions = list("sessions?role=publish&stream=cam3").await;
    assert_eq!(
        carried["pushes"][0]["session"],
        sessions["sessions"][0]["session"]
    );
    for query in ["limit=0", "cursor=x", "state=idle", "role=play"] {
        for list in ["pulls", "pushes"] {
            let path = format!("/api/v1/{list}?{query}");
            let answer = ask(api, "GET", &path, Some("secret-1")).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        }
    }
    drop(viewers);
    west.stop().await;
    east.stop().await;
}

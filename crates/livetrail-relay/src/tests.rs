//! Nodes in one process, over sockets of this machine.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use livetrail_engine::{
    AppSpec, Attempt, CodecId, Denied, Engine, FrameFlags, MediaFrame, Observer, Playback,
    Publication, Reason, Role, SessionContext, StreamEvent, StreamEventKind, StreamKey,
};
use livetrail_rtmp::{RtmpConfig, RtmpServer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::JoinHandle,
    time::sleep,
};

use crate::{
    LinkState, Node, PullInfo, PullOptions, PullRule, Pulls, PushInfo, PushRule, Pushes, Streams,
};

const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(5);

/// All events of an engine, in their order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<StreamEvent>>>);

impl Observer for Journal {
    fn on_event(&self, event: &StreamEvent) {
        self.0.lock().unwrap().push(event.clone());
    }

    fn wants_frames(&self) -> bool {
        false
    }
}

impl Journal {
    fn all(&self, wanted: impl Fn(&StreamEvent) -> bool) -> Vec<StreamEvent> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter(|event| wanted(event))
            .cloned()
            .collect()
    }

    fn publishers(&self) -> Vec<Arc<SessionContext>> {
        let started = |event: &StreamEvent| event.kind == StreamEventKind::PublishStarted;
        let started = self.all(started);
        started.into_iter().map(|event| event.context).collect()
    }

    fn labels(&self, role: Role) -> Vec<String> {
        let events = self.all(|event| event.context.role == role);
        let label = |event: &StreamEvent| match event.kind.reason() {
            Some(reason) => format!("{} {reason}", event.kind.label()),
            None => event.kind.label().to_owned(),
        };
        events.iter().map(label).collect()
    }
}

/// A node that serves RTMP.
struct Site {
    engine: Engine,
    journal: Journal,
    pulls: Pulls,
    pushes: Pushes,
    address: String,
    serving: JoinHandle<()>,
}

impl Site {
    async fn new(name: &str) -> Self {
        let journal = Journal::default();
        let pulls = Pulls::new(PullOptions::default(), Handle::current());
        let pushes = Pushes::new(Handle::current());
        let engine = Engine::builder()
            .node(name)
            .application(AppSpec::new("live").wait_for_publisher(PATIENCE))
            .application(AppSpec::new("plain"))
            .observer(journal.clone())
            .observer(pushes.clone())
            .gate(pulls.clone())
            .build()
            .unwrap();
        pulls.start(engine.clone());
        pushes.start(engine.clone());
        let config = RtmpConfig::default();
        let server = RtmpServer::bind("127.0.0.1:0", engine.clone(), config)
            .await
            .unwrap();
        Self {
            address: format!("rtmp://{}", server.local_addr()),
            serving: tokio::spawn(server.run(std::future::pending())),
            engine,
            journal,
            pulls,
            pushes,
        }
    }

    fn pulls_from(&self, origins: &[(&str, &str)], options: PullOptions) {
        let nodes = origins
            .iter()
            .map(|(name, at)| Node::new(name, at).unwrap());
        let mut rule = PullRule::new(Streams::new("*".parse().unwrap(), "*"), nodes.collect());
        rule.grace = Duration::from_millis(250);
        rule.silence = Duration::from_millis(500);
        self.pulls.exchange(options, [rule]);
    }

    fn pushes_to(&self, targets: &[(&str, &str)]) {
        let nodes = targets
            .iter()
            .map(|(name, at)| Node::new(name, at).unwrap());
        let streams = Streams::new("live".parse().unwrap(), "cam*");
        self.pushes
            .exchange(100, [PushRule::new(streams, nodes.collect())]);
    }

    async fn publish(&self) -> Encoder {
        self.publish_frames_of(10).await
    }

    async fn publish_frames_of(&self, bytes: usize) -> Encoder {
        let attempt = Attempt::new(key("live"), "test");
        let publication = self.engine.publish(attempt).await.unwrap();
        Encoder::new(publication, bytes)
    }

    /// The pull of this site, if it has one.
    fn pull(&self) -> Option<PullInfo> {
        self.pulls.list_after(None, 10, |_| true).items.pop()
    }

    /// The push to this target.
    fn push_to(&self, target: &str) -> PushInfo {
        let is_meant = |push: &PushInfo| &*push.target == target;
        let mut page = self.pushes.list_after(None, 10, is_meant);
        page.items.pop().expect("a push")
    }

    async fn play(&self) -> Result<Playback, Denied> {
        self.engine.play(Attempt::new(key("live"), "test")).await
    }

    /// As if the process had been killed: its sockets are closed, and nothing is said.
    fn kill(&self) {
        self.serving.abort();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.pulls.stop();
        self.pushes.stop();
    }
}

/// A publisher whose every frame is a keyframe.
struct Encoder(JoinHandle<()>);

impl Encoder {
    fn new(mut publication: Publication, bytes: usize) -> Self {
        Self(tokio::spawn(async move {
            for n in 0.. {
                let flags = FrameFlags::KEYFRAME;
                let at = n * 5;
                let frame = MediaFrame::video(CodecId::H264, at, at, flags, vec![7; bytes].into());
                if publication.push(frame).is_err() {
                    return;
                }
                sleep(MOMENT).await;
            }
        }))
    }

    async fn end(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

fn key(app: &str) -> StreamKey {
    StreamKey::parse(app, "cam").unwrap()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..(PATIENCE.as_millis() / MOMENT.as_millis()) {
        if done() {
            return;
        }
        sleep(MOMENT).await;
    }
    panic!("{what}");
}

async fn frames(viewer: &mut Playback, n: usize) {
    for _ in 0..n {
        assert!(viewer.next().await.is_some(), "{:?}", viewer.end_reason());
    }
}

#[tokio::test]
async fn a_client_that_asks_whether_it_may_watch_opens_the_pull_and_no_session() {
    let (origin, edge) = (Site::new("origin").await, Site::new("edge").await);
    let ask = || edge.engine.authorize(Attempt::new(key("live"), "test"));
    edge.pulls_from(&[("origin", &origin.address)], PullOptions::default());
    let encoder = origin.publish().await;
    ask().await.unwrap();
    until("the stream is there", || {
        edge.engine.tap(&key("live")).is_ok()
    })
    .await;
    assert_eq!(edge.journal.labels(Role::Play), [""; 0]);
    until("the pull ends", || edge.pulls.counts().open == 0).await;
    encoder.end().await;
    // An origin that cannot be reached is named at once.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("rtmp://{}", closed.local_addr().unwrap());
    drop(closed);
    edge.pulls_from(&[("origin", &address)], PullOptions::default());
    assert_eq!(
        ask().await.unwrap_err().reason.label(),
        "origin_unavailable"
    );
    assert_eq!(
        edge.journal.labels(Role::Play),
        ["play_denied origin_unavailable"]
    );
}

#[tokio::test]
async fn many_viewers_are_one_session_at_the_origin_and_the_last_one_closes_it() {
    let (origin, edge) = (Site::new("origin").await, Site::new("edge").await);
    edge.pulls_from(&[("origin", &origin.address)], PullOptions::default());
    let _encoder = origin.publish().await;
    let mut viewers = Vec::new();
    for _ in 0..10 {
        viewers.push(edge.play().await.unwrap());
    }
    for viewer in &mut viewers {
        frames(viewer, 5).await;
    }
    assert_eq!(origin.journal.labels(Role::Play), ["play_started"]);
    let at_origin = origin.journal.all(|event| event.context.role == Role::Play);
    let publishers = edge.journal.publishers();
    let [publisher] = &publishers[..] else {
        panic!("{publishers:?}");
    };
    assert_eq!(publisher.principal.as_deref(), Some("node:origin"));
    assert_eq!(publisher.protocol, "relay");
    let upstream = publisher.upstream().unwrap();
    assert_eq!(upstream.peer(), Some("origin"));
    assert_eq!(upstream.session, Some(at_origin[0].session));
    assert_eq!(upstream.epoch, Some(0));
    let pull = edge.pull().expect("a pull");
    assert_eq!(pull.key, key("live"));
    assert_eq!(pull.link.state, LinkState::Carrying);
    assert_eq!((pull.link.attempts, pull.link.failures), (1, 0));
    assert_eq!(pull.origin.as_deref(), Some("origin"));
    assert_eq!(pull.session, Some(publisher.session));
    assert_eq!((pull.upstream, pull.epoch), (upstream.session, Some(0)));
    assert!(pull.idle.is_some() && pull.link.retry_in.is_none());

    viewers.pop();
    sleep(Duration::from_millis(600)).await;
    assert_eq!(edge.pulls.counts().open, 1);
    viewers.clear();
    until("the pull ends", || edge.pulls.counts().open == 0).await;
    assert_eq!(edge.pull(), None);
    until("its session ends", || {
        origin.journal.labels(Role::Play).len() == 2
    })
    .await;
    let counts = edge.pulls.counts();
    assert_eq!((counts.opened, counts.sessions, counts.lost), (1, 1, 0));
}

#[tokio::test]
async fn viewers_who_come_at_once_open_one_pull() {
    let (origin, edge) = (Site::new("origin").await, Site::new("edge").await);
    edge.pulls_from(&[("origin", &origin.address)], PullOptions::default());
    let _encoder = origin.publish().await;
    let viewers = [(); 20].map(|()| {
        let engine = edge.engine.clone();
        tokio::spawn(async move { engine.play(Attempt::new(key("live"), "test")).await })
    });
    for viewer in viewers {
        frames(&mut viewer.await.unwrap().unwrap(), 5).await;
    }
    assert_eq!(edge.pulls.counts().opened, 1);
    assert_eq!(origin.journal.labels(Role::Play), ["play_started"]);
}

#[tokio::test]
async fn who_comes_back_within_the_grace_period_finds_the_same_pull() {
    let (origin, edge) = (Site::new("origin").await, Site::new("edge").await);
    let node = Node::new("origin", &origin.address).unwrap();
    let mut rule = PullRule::new(Streams::new("*".parse().unwrap(), "*"), vec![node]);
    rule.grace = PATIENCE;
    edge.pulls.exchange(PullOptions::default(), [rule]);
    let _encoder = origin.publish().await;
    let mut viewer = edge.play().await.unwrap();
    frames(&mut viewer, 5).await;
    drop(viewer);
    // Longer than it takes to see that there is no viewer.
    sleep(Duration::from_millis(600)).await;
    let watched = edge.engine.watched(&key("live")).map(|of| of.viewers);
    assert_eq!((watched, edge.pulls.counts().open), (Some(0), 1));
    let mut viewer = edge.play().await.unwrap();
    frames(&mut viewer, 5).await;
    assert_eq!(origin.journal.labels(Role::Play), ["play_started"]);
    assert_eq!(edge.pulls.counts().opened, 1);
}

#[tokio::test]
async fn a_stream_that_no_origin_has_is_refused_and_that_is_remembered() {
    let (origin, edge) = (Site::new("origin").await, Site::new("edge").await);
    edge.pulls_from(&[("origin", &origin.address)], PullOptions::default());
    for _ in 0..5 {
        let denied = edge.play().await.err().map(|denied| denied.reason);
        assert_eq!(denied, Some(Reason::StreamNotFound));
    }
    // It had no rule for the stream, so it refused the node at once.
    assert_eq!(origin.journal.labels(Role::Play).len(), 2);
    let counts = edge.pulls.counts();
    assert_eq!(
        (counts.opened, counts.refused, counts.remembered),
        (1, 1, 4)
    );
    let now = PullOptions {
        remember: Duration::ZERO,
        ..PullOptions::default()
    };
    edge.pulls_from(&[("gone", "rtmp://127.0.0.1:1")], now);
    sleep(Duration::from_secs(2)).await;
    let denied = edge.play().await.err().map(|denied| denied.reason);
    assert_eq!(denied, Some(Reason::from_label("origin_unavailable")));
}

#[tokio::test]
async fn viewers_stay_when_an_origin_is_killed_or_says_nothing_more() {
    let (first, second) = (Site::new("first").await, Site::new("second").await);
    let (third, edge) = (Site::new("third").await, Site::new("edge").await);
    let origins = [
        ("first", &*first.address),
        ("second", &*second.address),
        ("third", &*third.address),
    ];
    edge.pulls_from(&origins, PullOptions::default());
    let of_first = first.publish().await;
    let (of_second, of_third) = (second.publish().await, third.publish().await);
    let mut viewer = edge.play().await.unwrap();
    frames(&mut viewer, 5).await;
    first.kill();
    let from = |name: &str| {
        let publisher = edge
            .engine
            .watched(&key("live"))
            .and_then(|of| of.publisher);
        publisher.is_some_and(|of| of.principal.as_deref() == Some(&format!("node:{name}")))
    };
    until("the second origin", || from("second")).await;
    frames(&mut viewer, 50).await;

    // The second has no publisher any more. It lets the edge wait, and says nothing.
    of_second.end().await;
    until("the third origin", || from("third")).await;
    frames(&mut viewer, 50).await;
    drop(of_first);
    assert_eq!(
        edge.pull().and_then(|pull| pull.origin).as_deref(),
        Some("third")
    );
    assert_eq!(edge.journal.labels(Role::Play), ["play_started"]);
    let publishing = edge.journal.labels(Role::Publish);
    let lost = [
        "publish_started",
        "publish_ended network_error",
        "publish_started",
    ];
    assert_eq!(publishing[..2], lost[..2]);
    assert_eq!(
        publishing[2..4],
        lost[..2].iter().map(|l| l.to_string()).collect::<Vec<_>>()[..]
    );

    // Now nobody has it. The viewer waits, and the pull asks all of them again and again.
    of_third.end().await;
    third.kill();
    second.kill();
    let is_waiting =
        |pull: PullInfo| pull.link.state == LinkState::Waiting && pull.link.failures > 3;
    until("a wait", || edge.pull().is_some_and(is_waiting)).await;
    let pull = edge.pull().expect("a pull");
    assert_eq!((pull.session, pull.epoch, pull.idle), (None, None, None));
    assert_eq!(viewer.end_reason(), None);
}

/// A proxy in front of an address, and the switch with which it takes nothing more from clients.
async fn proxy(to: &str) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stuck: Arc<AtomicBool> = Arc::default();
    let address = format!("rtmp://{}", listener.local_addr().unwrap());
    let (to, is_stuck) = (to.replace("rtmp://", ""), Arc::clone(&stuck));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let is_stuck = is_stuck.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    while is_stuck.load(Relaxed) {
                        sleep(MOMENT).await;
                    }
                    to_server.write_all(&buffer[..read]).await.unwrap();
                }
            });
        }
    });
    (address, stuck)
}

#[tokio::test]
async fn the_list_of_pushes_says_who_is_behind_and_who_is_waited_for() {
    let (node, slow) = (Site::new("node").await, Site::new("slow").await);
    let (address, stuck) = proxy(&slow.address).await;
    node.pushes_to(&[("slow", &address), ("gone", "rtmp://127.0.0.1:1")]);
    let encoder = node.publish_frames_of(128 << 10).await;
    let mut viewer = slow.play().await.unwrap();
    frames(&mut viewer, 10).await;
    let push = node.push_to("slow");
    assert_eq!(push.link.state, LinkState::Carrying);
    assert_eq!((push.link.attempts, push.link.failures), (1, 0));
    assert_eq!(push.session, node.journal.publishers()[0].session);
    // More than sockets and proxy have room for.
    stuck.store(true, Relaxed);
    until("it is behind", || node.push_to("slow").lag_frames > 50).await;
    stuck.store(false, Relaxed);
    until("it has caught up", || node.push_to("slow").lag_frames < 10).await;

    let is_waiting = |push: &PushInfo| push.link.state == LinkState::Waiting;
    until("a wait", || is_waiting(&node.push_to("gone"))).await;
    let gone = node.push_to("gone");
    assert!(
        gone.link.retry_in.is_some() && gone.link.attempts > 1,
        "{gone:?}"
    );
    let numbers = node.pushes.list_after(None, 1, |_| true);
    assert!(numbers.has_more && &*numbers.items[0].target == "slow");
    let rest = node
        .pushes
        .list_after(Some(numbers.items[0].number), 1, |_| true);
    assert!(!rest.has_more && &*rest.items[0].target == "gone");
    encoder.end().await;
    until("the pushes end", || node.pushes.counts().open == 0).await;
    assert!(node.pushes.list_after(None, 10, |_| true).items.is_empty());
}

#[tokio::test]
async fn a_request_that_comes_back_is_refused() {
    let (a, b) = (Site::new("a").await, Site::new("b").await);
    a.pulls_from(&[("b", &b.address)], PullOptions::default());
    b.pulls_from(&[("a", &a.address)], PullOptions::default());
    let denied = a.play().await.err().map(|denied| denied.reason);
    assert_eq!(denied, Some(Reason::StreamNotFound));
    // `b` does not even ask, because the request has come from there.
    assert_eq!(a.journal.labels(Role::Play).len(), 2);

    // Under another name it asks, and is refused on record.
    b.pulls_from(&[("c", &a.address)], PullOptions::default());
    let (a2, c) = (Site::new("a").await, Site::new("c").await);
    a2.pulls_from(&[("c", &c.address)], PullOptions::default());
    c.pulls_from(&[("x", &a2.address)], PullOptions::default());
    assert!(a2.play().await.is_err());
    let refused = "play_denied relay_loop".to_owned();
    assert!(a2.journal.labels(Role::Play).contains(&refused));
}

#[tokio::test]
async fn the_next_publication_at_the_origin_is_the_next_one_at_the_edge() {
    let (origin, edge) = (Site::new("origin").await, Site::new("edge").await);
    edge.pulls_from(&[("origin", &origin.address)], PullOptions::default());
    let encoder = origin.publish().await;
    let mut viewer = edge.play().await.unwrap();
    frames(&mut viewer, 5).await;
    encoder.end().await;
    let _encoder = origin.publish().await;
    let epochs = || -> Vec<_> {
        let publishers = edge.journal.publishers();
        let epochs = publishers
            .iter()
            .map(|of| of.upstream().and_then(|of| of.epoch));
        epochs.collect()
    };
    until("the second publication", || epochs() == [Some(0), Some(1)]).await;
    frames(&mut viewer, 50).await;
    let publishers = edge.journal.publishers();
    let sessions = publishers
        .iter()
        .map(|of| of.upstream().and_then(|of| of.session));
    let sessions: Vec<_> = sessions.collect();
    assert_eq!(sessions[0], sessions[1], "one session at the origin");
    assert_eq!(origin.journal.labels(Role::Play), ["play_started"]);
}

#[tokio::test]
async fn pulls_are_bounded() {
    let origin = Site::new("origin").await;
    let edge = Site::new("edge").await;
    let one = PullOptions {
        max_pulls: 1,
        ..PullOptions::default()
    };
    edge.pulls_from(&[("origin", &origin.address)], one);
    let _encoder = origin.publish().await;
    let _viewer = edge.play().await.unwrap();
    let other = StreamKey::parse("live", "other").unwrap();
    let denied = edge.engine.play(Attempt::new(other, "test")).await.err();
    assert_eq!(
        denied.map(|denied| denied.reason),
        Some(Reason::LimitReached)
    );
    assert_eq!(edge.pulls.counts().limited, 1);
}

#[tokio::test]
async fn each_target_gets_the_stream_whatever_the_others_do() {
    let (node, good) = (Site::new("node").await, Site::new("good").await);
    // It accepts connections and reads nothing.
    let stuck = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stuck = format!("rtmp://{}", stuck.local_addr().unwrap());
    node.pushes_to(&[
        ("stuck", &stuck),
        ("good", &good.address),
        ("node", "rtmp://127.0.0.1:1"),
    ]);
    let encoder = node.publish().await;
    let mut viewer = good.play().await.unwrap();
    frames(&mut viewer, 50).await;
    let counts = node.pushes.counts();
    assert_eq!(
        (counts.open, counts.carrying),
        (2, 1),
        "a stream does not go back"
    );
    let publisher = good.journal.publishers().remove(0);
    let hops = publisher.hops.as_ref().unwrap();
    assert_eq!(hops.peer(), Some("node"));
    let pushed = node.journal.publishers().remove(0).session;
    assert_eq!(hops.session, Some(pushed));
    assert!(
        publisher.upstream().is_none(),
        "nobody has proven that name"
    );
    encoder.end().await;
    until("the pushes end", || node.pushes.counts().open == 0).await;
    until("the target ends", || {
        good.journal
            .labels(Role::Publish)
            .contains(&"publish_ended client_closed".to_owned())
    })
    .await;
}

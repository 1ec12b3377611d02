//! Viewers with every bad habit, over real sockets: how many sessions there are, and how they end.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use livetrail_engine::{
    AppSpec, CodecId, Engine, FrameFlags, ManualClock, MediaFrame, Observer, Publication, Reason,
    SessionId, StreamEvent, StreamEventKind,
};
use livetrail_hls::token::{Key, Keys};
use livetrail_http::{Hls, HlsOptions, HlsStart, HttpConfig, HttpGateway};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::common::{publish, until, within};

/// Viewers of each habit.
const EACH: u8 = 20;

const AVC: &[u8] = b"\x01\x4d\x40\x0c\xff\xe1\x00\x19\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
    \x00\x00\x03\x01\x90\x78\xa1\x4c\xd0\x01\x00\x05\x68\xe9\x78\x44\xb2";

/// Keeps the events of viewers.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<StreamEvent>>>);

impl Observer for Journal {
    fn on_event(&self, event: &StreamEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A connection that stays open, as HTTP/1.1 has them, from one of the machine's own addresses.
struct Link(TcpStream);

impl Link {
    async fn open(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self(socket.connect(to).await.unwrap())
    }

    /// The status and the body of an answer.
    async fn ask(&mut self, method: &str, path: &str) -> (u16, String) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(self.0.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.to_ascii_lowercase();
        lines = lines.split_off(lines.find("content-length:").unwrap() + 15);
        let length = lines.lines().next().unwrap().trim().parse().unwrap();
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        within(self.0.read_exact(&mut body)).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// The path before the names of a new token.
    async fn token(&mut self) -> String {
        let (status, text) = self.ask("GET", "/live/cam/index.m3u8").await;
        assert_eq!(status, 200, "{text}");
        let name = text.lines().find(|line| line.ends_with("video.m3u8"));
        let token = name.unwrap().strip_suffix("video.m3u8").unwrap();
        format!("/live/cam/{token}")
    }

    /// Asks for the playlist and the newest segment in it, as players do.
    async fn play(&mut self, token: &str) {
        let (status, text) = self.ask("GET", &format!("{token}video.m3u8")).await;
        assert_eq!(status, 200, "{text}");
        let name = text.lines().rfind(|line| line.ends_with(".m4s")).unwrap();
        let (status, _) = self.ask("GET", &format!("{token}{name}")).await;
        assert_eq!(status, 200);
    }
}

struct Server {
    engine: Engine,
    clock: ManualClock,
    journal: Journal,
    publication: Publication,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let (clock, journal) = (ManualClock::at(1_796_113_800_000), Journal::default());
        let engine = Engine::builder()
            .application(AppSpec::new("live"))
            .clock(Arc::new(clock.clone()))
            .observer(journal.clone());
        let engine = engine.build().unwrap();
        let keys = Keys::new(vec![Key::new([7; 32], 0)]).unwrap();
        let mut options = HlsOptions::default();
        options.start = HlsStart::Publish;
        options.segment = Duration::from_secs(1);
        let hls = Hls::new(engine.clone(), options, keys).unwrap();
        let gateway = HttpGateway::bind("127.0.0.1:0", engine.clone(), HttpConfig::default());
        let gateway = gateway.await.unwrap().hls(&hls);
        let address = gateway.local_addr();
        tokio::spawn(gateway.run(std::future::pending()));
        tokio::spawn(hls.clone().run(std::future::pending()));
        let mut publication = publish(&engine).await;
        until(|| hls.counts().streams == 1).await;
        let config = FrameFlags::CONFIG;
        let video = MediaFrame::video(CodecId::H264, 0, 0, config, AVC.into());
        publication.push(video).unwrap();
        for picture in 0..150 {
            publication.push(Self::picture(picture)).unwrap();
        }
        Self {
            engine,
            clock,
            journal,
            publication,
            address,
        }
    }

    fn picture(n: i64) -> MediaFrame {
        let flags = match n % 25 {
            0 => FrameFlags::KEYFRAME,
            _ => FrameFlags::NONE,
        };
        let payload = [&100_u32.to_be_bytes()[..], &[7; 100]].concat();
        MediaFrame::video(CodecId::H264, n * 40, n * 40, flags, payload.into())
    }

    /// A minute without a request. The publisher is not silent.
    fn sleep_a_minute(&mut self) {
        self.clock.advance(Duration::from_secs(60));
        self.publication.push(Self::picture(150)).unwrap();
        self.engine.sweep();
    }
}

/// The tokens of viewers who come back after they have slept.
type Asleep = Arc<Mutex<Vec<(u8, String)>>>;

/// One viewer with a habit, who comes from addresses of its own.
async fn watch(habit: u8, viewer: u8, to: SocketAddr, asleep: Asleep) {
    let from = |n: u8| [127, 10 + n, habit, viewer];
    let mut link = Link::open(from(0), to).await;
    match habit {
        // Plays, on one connection.
        0 => {
            let token = link.token().await;
            for _ in 0..3 {
                link.play(&token).await;
            }
        }
        // A link preview.
        1 => drop(link.token().await),
        // Looks at heads only.
        2 => {
            link.ask("HEAD", "/live/cam/index.m3u8").await;
            let token = link.token().await;
            link.ask("HEAD", &format!("{token}video.m3u8")).await;
        }
        // Probes the entry, and then loads it.
        3 => {
            link.token().await;
            let token = link.token().await;
            link.play(&token).await;
        }
        // Two tabs.
        4 => {
            let mut other = Link::open(from(0), to).await;
            let (one, two) = (link.token().await, other.token().await);
            link.play(&one).await;
            other.play(&two).await;
            link.play(&one).await;
        }
        // Reloads the page.
        5 => {
            for _ in 0..2 {
                let token = link.token().await;
                link.play(&token).await;
            }
        }
        // Has another address for each request.
        6 => {
            let token = link.token().await;
            for n in 0..4 {
                Link::open(from(n), to).await.play(&token).await;
            }
        }
        // Two viewers behind a proxy that pools connections, and a connection for each request.
        7 => {
            let (one, two) = (link.token().await, link.token().await);
            for token in [&one, &two, &one, &two] {
                link.play(token).await;
                Link::open(from(0), to).await.play(token).await;
            }
        }
        // Sleeps for a minute.
        8 => {
            let token = link.token().await;
            link.play(&token).await;
            asleep.lock().unwrap().push((viewer, token));
        }
        // Passes its token on.
        _ => {
            let token = link.token().await;
            let mut friend = Link::open(from(1), to).await;
            for _ in 0..2 {
                link.play(&token).await;
                friend.play(&token).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_viewers_with_every_bad_habit_are_counted_exactly() {
    let mut server = Server::start().await;
    let asleep = Asleep::default();
    let mut viewers = JoinSet::new();
    for habit in 0..10 {
        for viewer in 1..=EACH {
            viewers.spawn(watch(habit, viewer, server.address, asleep.clone()));
        }
    }
    while let Some(done) = viewers.join_next().await {
        done.unwrap();
    }
    // Sessions of one viewer of each habit.
    let sessions = [1, 0, 0, 1, 2, 2, 1, 2, 1, 1];
    let open = |server: &Server| server.engine.sessions().len() - 1;
    assert_eq!(
        open(&server),
        usize::from(EACH) * sessions.iter().sum::<usize>()
    );
    server.sleep_a_minute();
    assert_eq!(open(&server), 0);
    let asleep = std::mem::take(&mut *asleep.lock().unwrap());
    for (viewer, token) in &asleep {
        let mut link = Link::open([127, 10, 8, *viewer], server.address).await;
        link.play(token).await;
    }
    assert_eq!(open(&server), usize::from(EACH), "those who slept");
    server.sleep_a_minute();
    assert_eq!(open(&server), 0);
    check(&server.journal.0.lock().unwrap());
}

/// What was reported, for each habit: the third part of the address.
fn check(events: &[StreamEvent]) {
    let habit_of = |event: &StreamEvent| match event.context.peer {
        Some(SocketAddr::V4(peer)) => peer.ip().octets()[2],
        other => panic!("{other:?}"),
    };
    let mut started = BTreeMap::<u8, u32>::new();
    let (mut shared, mut peers) = (started.clone(), started.clone());
    let mut before = HashMap::<SessionId, SessionId>::new();
    let mut ends = HashMap::<SessionId, u32>::new();
    for event in events
        .iter()
        .filter(|event| event.context.protocol == "hls")
    {
        let habit = habit_of(event);
        match &event.kind {
            StreamEventKind::PlayStarted => {
                *started.entry(habit).or_default() += 1;
                let token = event.context.token.as_ref().unwrap();
                before.extend(token.resumes.map(|before| (event.session, before)));
            }
            StreamEventKind::TokenShared { .. } => *shared.entry(habit).or_default() += 1,
            StreamEventKind::PlayEnded { reason, totals, .. } => {
                assert_eq!(*reason, Reason::Idle, "habit {habit}");
                assert!(totals.frames > 0 && totals.bytes > 0, "habit {habit}");
                let of_habit = peers.entry(habit).or_default();
                *of_habit = totals.requests.unwrap().peers.get().max(*of_habit);
                *ends.entry(event.session).or_default() += 1;
            }
            other => panic!("habit {habit}: {other:?}"),
        }
    }
    let each = u32::from(EACH);
    let expected = [
        (0, 1),
        (3, 1),
        (4, 2),
        (5, 2),
        (6, 1),
        (7, 2),
        (8, 2),
        (9, 1),
    ];
    assert_eq!(started, expected.map(|(habit, n)| (habit, n * each)).into());
    assert_eq!(
        shared,
        [(9, each)].into(),
        "a token in use at two addresses"
    );
    let of_habit = [
        (0, 1),
        (3, 1),
        (4, 1),
        (5, 1),
        (6, 4),
        (7, 1),
        (8, 1),
        (9, 2),
    ];
    assert_eq!(peers, of_habit.into());
    assert_eq!(before.len(), usize::from(EACH), "those who slept");
    for (later, earlier) in &before {
        assert!(later > earlier && ends.contains_key(earlier));
    }
    assert!(ends.values().all(|n| *n == 1), "each session ends once");
    assert_eq!(ends.len() as u32, started.values().sum::<u32>());
}

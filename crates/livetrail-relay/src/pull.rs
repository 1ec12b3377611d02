//! One pull: a stream's frames, from one origin after the other.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use livetrail_engine::{
    Admission, Attempt, Clock, Engine, Hops, MediaFrame, MediaKind, Publication, Reason, StreamKey,
    log,
};
use livetrail_rtmp::{Error, RtmpPlayer};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    backoff::{Backoff, random},
    counts::{Counted, LivePullCounts, count},
    link::{Fed, Link, LinkState},
    list::PullInfo,
    order::Order,
    pulls::unavailable,
    rules::{Node, PullRule},
};

/// The protocol of the sessions of pulls in records.
pub const PROTOCOL: &str = "relay";
/// The interval between checks whether a pull has viewers.
const LOOK: Duration = Duration::from_millis(250);
/// An origin that has sent frames for this long works: when it is lost, there is no wait.
const STEADY: Duration = Duration::from_secs(2);
/// The maximum number of configurations that are kept for the next publication.
const MAX_CONFIGS: usize = 32;

/// The state of a pull, for the viewers that wait for it.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// No origin has admitted this node yet.
    Opening,
    /// An origin has.
    Open,
    /// None will.
    Failed(Reason),
}

pub(crate) struct Pull {
    key: StreamKey,
    rule: Arc<PullRule>,
    /// The nodes that wait for the stream, this one last.
    hops: Hops,
    state: watch::Sender<State>,
    link: Link,
}

/// How an attempt at an origin ended.
enum Tried {
    /// It refused this node.
    Refused,
    /// It could not be reached, did not answer, or sent no frame.
    Unreachable,
    /// It was lost after it had sent frames. It had worked for a while, or not.
    Lost { steady: bool },
    /// The pull is over: another publisher has the stream, or the engine ended the session.
    Over,
}

impl Pull {
    /// One that is opened at this time.
    pub(crate) fn new(key: StreamKey, rule: Arc<PullRule>, hops: Hops, now: Duration) -> Self {
        Self {
            key,
            rule,
            hops,
            state: watch::Sender::new(State::Opening),
            link: Link::new(now),
        }
    }

    /// The pull at this time.
    pub(crate) fn info(&self, now: Duration) -> PullInfo {
        let (link, at) = self.link.info(now);
        let last_frame = Duration::from_millis(self.link.gauge());
        let fed = at.fed;
        PullInfo {
            key: self.key.clone(),
            origin: at.node,
            session: fed.as_ref().map(|fed| fed.session),
            upstream: fed.as_ref().and_then(|fed| fed.upstream),
            epoch: fed.as_ref().and_then(|fed| fed.epoch),
            idle: (link.state == LinkState::Carrying).then(|| now.saturating_sub(last_frame)),
            link,
        }
    }

    pub(crate) fn key(&self) -> &StreamKey {
        &self.key
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Ends the wait of its viewers. Returns why the pull has failed, if it has.
    pub(crate) fn close(&self) -> Option<Reason> {
        self.state.send_if_modified(|state| {
            let is_opening = matches!(state, State::Opening);
            if is_opening {
                *state = State::Open;
            }
            is_opening
        });
        match &*self.state.borrow() {
            State::Failed(reason) => Some(reason.clone()),
            State::Opening | State::Open => None,
        }
    }

    /// Resolves when there was no viewer for the time of the rule.
    pub(crate) async fn unwatched(&self, engine: &Engine) {
        let mut alone = Duration::ZERO;
        loop {
            sleep(LOOK).await;
            let viewers = engine.watched(&self.key).map_or(0, |stream| stream.viewers);
            alone = match viewers {
                0 => alone.saturating_add(LOOK),
                _ => Duration::ZERO,
            };
            if !alone.is_zero() && alone >= self.rule.grace {
                info!(
                    stream = log::stream(&self.key),
                    "a pull has no viewer any more"
                );
                return;
            }
        }
    }

    /// Carries the stream from one origin after the other, until the pull fails or is over. If the
    /// future is dropped, the session at the origin and the publication end.
    pub(crate) async fn carry(&self, engine: &Engine, counts: &Arc<LivePullCounts>) {
        let mut order = Order::new(self.rule.origins.len());
        let mut backoff = Backoff::default();
        let mut all_refused = true;
        let clock = engine.clock();
        loop {
            let next = order.next();
            let Some((at, origin)) = next.and_then(|at| Some((at, self.rule.origins.get(at)?)))
            else {
                if matches!(*self.state.borrow(), State::Opening) {
                    let reason = match all_refused {
                        true => Reason::StreamNotFound,
                        false => unavailable(),
                    };
                    self.state.send_replace(State::Failed(reason));
                    return;
                }
                let wait = backoff.next(random());
                self.link.waits(wait, clock.monotonic());
                sleep(wait).await;
                order.restart();
                continue;
            };
            self.link.connects(origin.name(), clock.monotonic());
            let tried = self.attempt(engine, origin, counts).await;
            self.link.fails(clock.monotonic());
            match tried {
                Tried::Over => return,
                Tried::Refused => count(&counts.refused),
                Tried::Unreachable => {
                    all_refused = false;
                    count(&counts.unreachable);
                }
                Tried::Lost { steady } => {
                    count(&counts.lost);
                    if steady {
                        backoff.reset();
                        order.lost(at);
                    }
                }
            }
        }
    }

    /// Plays the stream at one origin for as long as that works.
    async fn attempt(&self, engine: &Engine, origin: &Node, counts: &Arc<LivePullCounts>) -> Tried {
        let (stream, name) = (log::stream(&self.key), origin.name());
        // A request that comes from there must not go back there.
        let url = origin.url_of(&self.key).filter(|_| !self.hops.have(name));
        let Some(url) = url else {
            return Tried::Refused;
        };
        let client = origin.client(&self.rule.client_config());
        let client = client.hops(self.hops.clone());
        let mut player = match client.play(&url).await {
            Ok(player) => player,
            Err(error @ Error::Refused { .. }) => {
                debug!(stream, origin = %name, %error, "an origin refused");
                return Tried::Refused;
            }
            Err(error) => {
                warn!(stream, origin = %name, %error, "an origin cannot be reached");
                return Tried::Unreachable;
            }
        };
        let is_loop = |from: &Hops| from.forbid(engine.node().map(|node| &**node));
        if player.upstream().is_some_and(is_loop) {
            warn!(stream, origin = %name, "an origin has the stream from this node");
            return Tried::Refused;
        }
        if player
            .upstream()
            .and_then(Hops::peer)
            .is_some_and(|peer| peer != &**name)
        {
            warn!(stream, origin = %name, "an origin has another `node`; trails cannot be joined");
        }
        count(&counts.sessions);
        self.state.send_replace(State::Open);
        info!(stream, origin = %name, "a pull is open");
        let mut carrying = Carrying {
            pull: self,
            engine,
            origin,
            current: None,
            configs: Vec::new(),
            counts,
            clock: engine.clock(),
        };
        let tried = carrying.run(&mut player).await;
        if let Tried::Lost { .. } = tried {
            warn!(stream, origin = %name, "an origin is lost");
        }
        tried
    }
}

/// A stream that comes from one origin, in one or more publications.
struct Carrying<'a> {
    pull: &'a Pull,
    engine: &'a Engine,
    origin: &'a Node,
    current: Option<Current>,
    /// The newest configurations, one for each kind, codec and track.
    configs: Vec<MediaFrame>,
    counts: &'a Arc<LivePullCounts>,
    clock: Arc<dyn Clock>,
}

struct Current {
    publication: Publication,
    epoch: Option<u64>,
    since: Duration,
    _carrying: Counted<LivePullCounts>,
}

impl Carrying<'_> {
    async fn run(&mut self, player: &mut RtmpPlayer) -> Tried {
        loop {
            let silence = self.pull.rule.silence;
            let limit = match self.current {
                Some(_) => silence,
                None => silence.saturating_mul(3),
            };
            let lost = match timeout(limit, player.next()).await {
                Ok(Ok(Some(frame))) => match self.push(frame, player).await {
                    Ok(()) => continue,
                    Err(tried) => return tried,
                },
                Ok(Ok(None)) => (Reason::ClientClosed, String::new()),
                Ok(Err(error)) => (Reason::NetworkError, error.to_string()),
                Err(_) => {
                    let detail = format!("the origin has sent no frame for {limit:?}");
                    (Reason::NetworkError, detail)
                }
            };
            return self.lost(&lost.0, &lost.1);
        }
    }

    fn lost(&mut self, reason: &Reason, detail: &str) -> Tried {
        let Some(current) = self.current.take() else {
            return Tried::Unreachable;
        };
        let now = self.clock.monotonic();
        let steady = now.saturating_sub(current.since) >= STEADY;
        current.publication.end_with(reason.clone(), detail);
        Tried::Lost { steady }
    }

    /// Passes a frame on. It begins a publication with the first frame, and another one when the
    /// origin has said that its stream was published again. That one begins with a keyframe, so
    /// that no picture is missing between the two.
    async fn push(&mut self, frame: MediaFrame, player: &RtmpPlayer) -> Result<(), Tried> {
        let epoch = player.upstream().and_then(|from| from.epoch);
        let has_video = self
            .configs
            .iter()
            .any(|config| config.kind == MediaKind::Video);
        let begins = match &self.current {
            None => true,
            Some(current) if current.epoch == epoch => false,
            Some(_) if frame.is_config() => false,
            Some(_) => !has_video || (frame.kind == MediaKind::Video && frame.is_keyframe()),
        };
        if begins {
            self.publish(player.upstream(), epoch, &frame).await?;
        }
        if frame.is_config() {
            self.note(&frame);
        }
        let Some(current) = &mut self.current else {
            return Err(Tried::Over);
        };
        match current.publication.push(frame) {
            Ok(_) => {
                self.pull.link.set_gauge(millis(self.clock.monotonic()));
                Ok(())
            }
            Err(ended) => {
                self.current = None;
                Err(match ended.reason {
                    Reason::Idle | Reason::RateLimited => Tried::Lost { steady: false },
                    reason => {
                        info!(stream = log::stream(&self.pull.key), %reason, "a pull is over");
                        Tried::Over
                    }
                })
            }
        }
    }

    /// Begins a publication whose first frame is this one.
    async fn publish(
        &mut self,
        upstream: Option<&Hops>,
        epoch: Option<u64>,
        first: &MediaFrame,
    ) -> Result<(), Tried> {
        if let Some(before) = self.current.take() {
            before.publication.end(Reason::ClientClosed);
        }
        let name = self.origin.name();
        let from = match upstream {
            Some(from) if from.peer() == Some(name) => from.clone(),
            // Trails call it by its configured name.
            Some(from) => with_session(from.then(name), from),
            None => Hops::default().then(name),
        };
        let upstream = from.session;
        let attempt = Attempt::new(self.pull.key.clone(), PROTOCOL)
            .hops(Arc::new(from))
            .admitted(Admission::of(format!("node:{name}")));
        let publication = self.engine.publish(attempt).await.map_err(|denied| {
            let stream = log::stream(&self.pull.key);
            info!(stream, reason = %denied.reason, "a pulled stream cannot be published");
            Tried::Over
        })?;
        let now = self.clock.monotonic();
        self.pull.link.set_gauge(millis(now));
        let fed = Fed {
            session: publication.session(),
            upstream,
            epoch,
        };
        self.pull.link.carries(Some(fed), now);
        let open: fn(&LivePullCounts) -> &AtomicU64 = |counts| &counts.carrying;
        let mut current = Current {
            publication,
            epoch,
            since: now,
            _carrying: Counted::new(self.counts, open),
        };
        for config in &self.configs {
            let mut config = config.clone();
            (config.pts, config.dts) = (first.pts, first.dts);
            config.time_base = first.time_base;
            // If the session has ended, the frame that follows finds out.
            let _ = current.publication.push(config);
        }
        self.current = Some(current);
        Ok(())
    }

    /// Keeps a configuration for the next publication.
    fn note(&mut self, config: &MediaFrame) {
        let same = |other: &MediaFrame| {
            (other.kind, other.codec, other.track) == (config.kind, config.codec, config.track)
        };
        self.configs.retain(|other| !same(other));
        if self.configs.len() < MAX_CONFIGS {
            self.configs.push(config.clone());
        }
    }
}

fn with_session(mut hops: Hops, of: &Hops) -> Hops {
    (hops.session, hops.epoch) = (of.session, of.epoch);
    hops
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

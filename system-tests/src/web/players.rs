//! Players of HLS in one browser, a window each: the server's own page with hls.js, Shaka Player
//! and video.js. The pages of the latter two come from a server of the test, so that they are from
//! another origin than the stream.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Component;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Chromium, Tab, folder};
use crate::browser::escaped;
use crate::clock::Stopwatch;

const SHAKA: &str = include_str!("../../browser/shaka.html");
const VIDEO_JS: &str = include_str!("../../browser/videojs.html");

/// Time between two looks at a player.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What a page shows. A stall is counted from the first look on.
const LOOK: &str = r##"(() => {
  const video = document.querySelector("video");
  if (!video) {
    return {};
  }
  if (!window.stalls) {
    window.stalls = { count: 0 };
    video.addEventListener("waiting", () => { window.stalls.count += 1; });
  }
  const shown = document.querySelector("#latency");
  return {
    time: video.currentTime,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    stalls: window.stalls.count,
    behind: shown ? parseFloat(shown.value) : window.behind(),
    problems: (window.problems || []).join("; "),
  };
})()"##;

/// A player of HLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    /// The server's own page, with hls.js.
    Own,
    /// Shaka Player, for low latency.
    Shaka,
    /// video.js, with what it has for low latency.
    VideoJs,
}

impl Player {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Own, Self::Shaka, Self::VideoJs];

    fn name(self) -> &'static str {
        match self {
            Self::Own => "hls.js",
            Self::Shaka => "Shaka",
            Self::VideoJs => "video.js",
        }
    }
}

/// The players of one stream.
pub struct Players {
    browser: Chromium,
    tabs: Vec<(Player, Tab)>,
}

/// What a player showed for some time.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Which one.
    pub player: Player,
    /// How long it was watched.
    pub span: Duration,
    /// How far it came in the stream, in seconds.
    pub played_s: f64,
    /// Pictures that were shown, or dropped because they were late.
    pub frames: u64,
    /// How often it had nothing to show.
    pub stalls: u64,
    /// How far behind live it was, in seconds, in ascending order.
    pub behind_s: Vec<f64>,
    /// What it reported as wrong since the page was opened; empty if nothing.
    pub problems: String,
}

impl Players {
    /// Opens the stream `app/name` of the server at this HTTP address in these players. The server
    /// must allow pages of other origins.
    ///
    /// # Panics
    /// When Chromium is not installed, or the players cannot be downloaded; the message says what
    /// to do.
    #[track_caller]
    #[must_use]
    pub fn open(players: &[Player], origin: &str, stream: &str, further: &[&str]) -> Self {
        let pages = serve();
        let mut browser = Chromium::start(further);
        let entry = escaped(&format!("{origin}/{stream}/index.m3u8"));
        let tabs = players.iter().map(|player| {
            let page = match player {
                Player::Own => format!("{origin}/{stream}"),
                Player::Shaka => format!("http://{pages}/shaka.html?url={entry}"),
                Player::VideoJs => format!("http://{pages}/videojs.html?url={entry}"),
            };
            (*player, browser.open(&page))
        });
        let tabs = tabs.collect();
        Self { browser, tabs }
    }

    /// Closes the page of this player.
    ///
    /// # Panics
    /// When the browser does not answer.
    #[track_caller]
    pub fn close(&mut self, player: Player) {
        for (_, tab) in self.tabs.extract_if(.., |(other, _)| *other == player) {
            let left = self.browser.evaluate(&tab, "location.href = 'about:blank'");
            left.expect("the page is left");
        }
    }

    /// Watches all players for this long.
    ///
    /// # Panics
    /// When the browser does not answer.
    #[track_caller]
    pub fn watch(&mut self, span: Duration) -> Vec<Watched> {
        let watch = Stopwatch::start();
        let mut first = self.look();
        let mut behind = vec![Vec::new(); first.len()];
        let last = loop {
            thread::sleep(LOOK_INTERVAL.min(span.saturating_sub(watch.elapsed())));
            let looks = self.look();
            for ((now, first), behind) in looks.iter().zip(&mut first).zip(&mut behind) {
                behind.extend(now["behind"].as_f64());
                if first["time"].is_null() {
                    first.clone_from(now);
                }
            }
            if watch.elapsed() >= span {
                break looks;
            }
        };
        let span = watch.elapsed();
        let players = self.tabs.iter().map(|(player, _)| *player);
        let seen = players.zip(first).zip(last).zip(behind);
        seen.map(|(((player, first), last), mut behind_s)| {
            behind_s.sort_by(f64::total_cmp);
            let number = |key: &str| last[key].as_u64().zip(first[key].as_u64());
            let since = |key: &str| number(key).map_or(0, |(last, first)| last - first.min(last));
            let time = |look: &Value| look["time"].as_f64().unwrap_or_default();
            Watched {
                player,
                span,
                played_s: time(&last) - time(&first),
                frames: since("frames"),
                stalls: since("stalls"),
                behind_s,
                problems: last["problems"].as_str().unwrap_or_default().to_owned(),
            }
        })
        .collect()
    }

    /// Lets each player go to live, as a viewer does who has fallen behind.
    ///
    /// # Panics
    /// When the browser does not answer.
    #[track_caller]
    pub fn go_to_live(&mut self) {
        for (player, tab) in &self.tabs {
            let script = match player {
                Player::Own => "document.querySelector('#edge').click()",
                Player::Shaka => "player.goToLive()",
                Player::VideoJs => "player.liveTracker.seekToLiveEdge()",
            };
            // A page that is not loaded yet has nothing to press.
            let _ = self.browser.evaluate(tab, script);
        }
    }

    /// What each page shows now. A page that is not loaded yet shows nothing.
    #[track_caller]
    fn look(&mut self) -> Vec<Value> {
        let browser = &mut self.browser;
        let looks = self
            .tabs
            .iter()
            .map(|(_, tab)| browser.evaluate(tab, LOOK).unwrap_or_default());
        looks.collect()
    }
}

impl Watched {
    /// Whether it played all the time, at playing speed.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.continues() && self.stalls == 0
    }

    /// Whether it came as far as it should, with stalls for which it made up.
    #[must_use]
    pub fn continues(&self) -> bool {
        let wanted_s = self.span.as_secs_f64();
        // It may catch up a little, and the looks are not exactly at the ends.
        (wanted_s * 0.93..wanted_s * 1.15).contains(&self.played_s)
    }

    /// How far it was behind live at least, in seconds.
    #[must_use]
    pub fn least_behind_s(&self) -> f64 {
        self.behind_s.first().copied().unwrap_or(f64::INFINITY)
    }

    /// How far it was behind live at most, in seconds.
    #[must_use]
    pub fn most_behind_s(&self) -> f64 {
        self.behind_s.last().copied().unwrap_or(f64::INFINITY)
    }

    /// How far it was behind live half of the time, in seconds.
    #[must_use]
    pub fn median_behind_s(&self) -> f64 {
        let middle = self.behind_s.get(self.behind_s.len() / 2);
        middle.copied().unwrap_or(f64::INFINITY)
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:.1} s and {} pictures in {:.1} s, {} stalls, behind live {:.2} s (median), {:.2} s (most)",
            self.player.name(),
            self.played_s,
            self.frames,
            self.span.as_secs_f64(),
            self.stalls,
            self.median_behind_s(),
            self.most_behind_s()
        )?;
        match self.problems.as_str() {
            "" => Ok(()),
            problems => write!(f, "; {problems}"),
        }
    }
}

/// Serves the pages and the packages until the test ends.
#[track_caller]
fn serve() -> SocketAddr {
    let packages = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address for the pages");
    let address = listener.local_addr().expect("its own address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let packages = packages.clone();
            thread::spawn(move || answer(&stream, &packages));
        }
    });
    address
}

/// One request on a connection. Errors are the browser's: its page reports what is missing.
fn answer(mut stream: &TcpStream, packages: &std::path::Path) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next()?;
    lines.find(String::is_empty)?;
    let target = request.split(' ').nth(1)?;
    let path = target.split('?').next()?;
    let (kind, body) = match path {
        "/shaka.html" => ("text/html", SHAKA.as_bytes().to_vec()),
        "/videojs.html" => ("text/html", VIDEO_JS.as_bytes().to_vec()),
        _ => {
            let name = std::path::Path::new(path.strip_prefix("/node_modules/")?);
            let is_below = |part| matches!(part, Component::Normal(_));
            if !name.components().all(is_below) {
                return None;
            }
            let is_style = path.ends_with(".css");
            let kind = if is_style {
                "text/css"
            } else {
                "text/javascript"
            };
            (kind, std::fs::read(packages.join(name)).ok()?)
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

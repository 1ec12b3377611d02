//! `livetrail demo`: the whole server, its own clients, a stream, and the proof that the trail is
//! what happened.
//!
//! Every part is real: the server is the one of `livetrail serve`, on sockets of the loopback
//! interface. The publisher and the viewers are those of `livetrail publish` and `livetrail play`.

mod cast;
mod evidence;
mod names;
mod report;
mod verify;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use livetrail_audit::AuditRecord;
use livetrail_engine::{Clock, MediaFrame, SessionId, SystemClock};
use livetrail_ledger::{Reader, RealStore};
use livetrail_record::{Uuid, parse_canonical};
use livetrail_trail::{Trail, trail_directory};
use tokio::time::{sleep, timeout};

use self::{
    cast::{Played, Published},
    evidence::Evidence,
    names::Names,
};
use crate::{
    client::FlvReader,
    config::{Auth, Config, GrantName, Key, Log, LogFilter, SecretText},
    output::{Failure, Outcome, say},
    serve::{Server, init_log, trail_settings},
};

/// Show a stream, two viewers, two refusals and their trail, in a few seconds, without other
/// programs.
///
/// Starts the server on free ports of this machine and publishes a bundled clip over RTMP in real
/// time. One viewer watches over RTMP and one over HTTP-FLV. A viewer and a publisher without the
/// right key are refused. Then it prints the sessions and the trail, verifies the trail as an
/// outsider would, proves one record with a receipt, and finds one changed byte in a copy. It exits
/// with 0 only if every frame arrived, the trail is exactly what happened, and the outsider agrees.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail demo
  livetrail demo --keep ./demo-data && livetrail trail query ./demo-data")]
pub(crate) struct Args {
    /// Keep the data in this directory instead of a temporary one; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// The clip that is published: 5 seconds of a test picture and a tone.
const CLIP: &[u8] = include_bytes!("../../assets/clip.flv");

/// The demo ends after this time, even if something hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The viewers start this long after the publisher. Each starts in the middle of a GOP, the second
/// one a GOP later.
const RTMP_VIEWER_AT: Duration = Duration::from_millis(1_400);
const HTTP_VIEWER_AT: Duration = Duration::from_millis(2_200);
const REFUSED_VIEWER_AT: Duration = Duration::from_millis(3_000);

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let data = Data::prepare(args.keep.as_deref()).map_err(Failure::unusable)?;
    init_log(&Log {
        filter: LogFilter("error".to_owned()),
        ..Log::default()
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let shown = runtime.block_on(async {
        tokio::select! {
            shown = timeout(TIME_LIMIT, play_it(data.path())) => {
                shown.unwrap_or_else(|_| bail!("it took longer than {} s", TIME_LIMIT.as_secs()))
            }
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })?;
    let findings = verify::all(&shown);
    report::print(&shown, &findings)?;
    if let Data::Kept(path) = &data {
        say(&format!("kept: {}", path.display()))?;
    }
    Ok(if findings.iter().all(verify::Finding::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The data directory of the demo's server.
enum Data {
    /// A directory that is removed when the demo ends.
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Data {
    fn prepare(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = keep else {
            let directory = tempfile::Builder::new().prefix("livetrail-demo-").tempdir();
            return Ok(Self::Temporary(
                directory.context("cannot make a temporary directory")?,
            ));
        };
        let is_used = path
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some());
        ensure!(!is_used, "{} is not empty", path.display());
        Ok(Self::Kept(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

/// Everything that happened, from both sides: what the clients did and saw, and the records.
struct Shown {
    clip: Vec<MediaFrame>,
    published: Published,
    rtmp: Played,
    http: Played,
    refused_publisher: String,
    refused_viewer: String,
    trail: Vec<AuditRecord>,
    /// By session. The records of the trail have no names.
    names: HashMap<Uuid, Names>,
    evidence: Evidence,
    wrote_everything: bool,
}

/// Random secrets, which are valid for one run.
struct Secrets {
    publish: String,
    play: String,
}

async fn play_it(data: &Path) -> anyhow::Result<Shown> {
    let steps = Steps::begin()?;
    let clip = read_clip().context("the bundled clip")?;
    let secrets = Secrets {
        publish: secret(),
        play: secret(),
    };
    let config = config(data, &secrets);
    let created = livetrail_trail::create(&config.trail.settings(data)?)?;
    steps.say(&format!("a trail is made: {}", created.origin))?;
    let settings = trail_settings(&config)?;
    let trail = Trail::open(&settings)?;
    let server = Server::start_with(config, trail).await?;
    let at = server.addresses();
    let rtmp = format!("rtmp://{}/live/demo", at.rtmp);
    let http = format!("http://{}/live/demo.flv", at.http);
    steps.say(&format!("the server listens: {rtmp} and {http}"))?;

    let refused_publisher = cast::refused_publisher(&rtmp, "a-wrong-key").await?;
    steps.say(&format!(
        "a publisher with a wrong key is refused: {refused_publisher}"
    ))?;
    let publisher = cast::publish(&rtmp, &secrets.publish, clip.clone()).await?;
    steps
        .say("studio-1 publishes the bundled clip over RTMP, in real time: 5 s of H.264 and AAC")?;
    sleep(RTMP_VIEWER_AT).await;
    let by_rtmp = cast::play(rtmp, secrets.play.clone()).await?;
    steps.say("a viewer joins over RTMP")?;
    sleep(HTTP_VIEWER_AT.saturating_sub(RTMP_VIEWER_AT)).await;
    let by_http = cast::play(http.clone(), secrets.play).await?;
    steps.say("a viewer joins over HTTP-FLV")?;
    sleep(REFUSED_VIEWER_AT.saturating_sub(HTTP_VIEWER_AT)).await;
    let refused_viewer = cast::refused_viewer(&http, "a-wrong-key").await?;
    steps.say(&format!(
        "a viewer with a wrong key is refused: {refused_viewer}"
    ))?;

    let published = steps.while_streaming(publisher).await??;
    let (rtmp, http) = (by_rtmp.await??, by_http.await??);
    steps.say("the stream has ended, and with it its viewers")?;
    let stopped = server.stop().await;
    steps.say("the server has stopped, and its trail is on disk and sealed")?;
    let trail = read_trail(&trail_directory(data))?;
    let names = names::read(&settings, &trail)?;
    let evidence = evidence::collect(data).context("verifying the trail")?;
    steps.say("an outsider has verified the trail, and a copy of it with one byte changed")?;
    Ok(Shown {
        clip,
        published,
        rtmp,
        http,
        refused_publisher,
        refused_viewer,
        trail,
        names,
        evidence,
        wrote_everything: stopped.is_clean() && stopped.records.dropped == 0,
    })
}

fn read_clip() -> anyhow::Result<Vec<MediaFrame>> {
    let mut reader = FlvReader::new(CLIP);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn read_trail(directory: &Path) -> anyhow::Result<Vec<AuditRecord>> {
    let reader = Reader::open(Arc::new(RealStore::new(directory)))?;
    let entries = reader.entries(0..u64::MAX)?;
    entries.map(|entry| Ok(parse_canonical(&entry?)?)).collect()
}

/// A secret of 122 random bits.
fn secret() -> String {
    SessionId::at(SystemClock::new().unix_ms()).to_string()
}

fn config(data: &Path, secrets: &Secrets) -> Config {
    let key = |name: &str, secret: &str, grant| Key {
        name: name.to_owned(),
        secret: Some(SecretText::new(secret)),
        secret_file: None,
        app: None,
        stream: None,
        grant,
    };
    let mut config = Config {
        node: "demo".parse().unwrap_or_else(|_| Config::default().node),
        data: data.to_owned(),
        auth: Auth {
            key: vec![
                key("studio-1", &secrets.publish, GrantName::Publish),
                key("audience", &secrets.play, GrantName::Play),
            ],
            ..Auth::default()
        },
        ..Config::default()
    };
    config.rtmp.listen = ([127, 0, 0, 1], 0).into();
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config
}

/// Prints the steps as they happen, with the time since the beginning.
struct Steps {
    clock: SystemClock,
}

impl Steps {
    fn begin() -> anyhow::Result<Self> {
        say(
            "Livetrail demo: a stream, its viewers, two who are refused, and what is on record of it.\n",
        )?;
        Ok(Self {
            clock: SystemClock::new(),
        })
    }

    fn say(&self, what: &str) -> anyhow::Result<()> {
        say(&format!(
            "  {:4.1} s  {what}",
            self.clock.monotonic().as_secs_f64()
        ))
    }

    /// Shows that time passes. On a terminal this is a bar.
    async fn while_streaming<T>(&self, task: tokio::task::JoinHandle<T>) -> anyhow::Result<T> {
        let bar = crate::commands::progress(None, "  {spinner} streaming … {elapsed}");
        let ended = task.await;
        bar.finish_and_clear();
        Ok(ended?)
    }
}

//! `livetrail publish`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use indicatif::ProgressBar;
use livetrail_engine::{MediaFrame, MediaKind};
use livetrail_rtmp::{Pacer, RtmpClient, RtmpPublisher, RtmpUrl};
use tokio::time::timeout;

use super::{ClientToken, ClientTrust, progress, runtime, show};
use crate::{
    client::{Ended, FlvReader, Tally, refusal_of},
    output::{Failure, Outcome},
};

/// Publish an FLV file to a server over RTMP or RTMPS, in real time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail publish clip.flv rtmp://127.0.0.1/live/cam
  livetrail publish clip.flv 'rtmp://127.0.0.1/live/cam?token=SECRET' --loop 0
  livetrail publish clip.flv rtmp://127.0.0.1/live/cam --fast --json

Exit codes: 0 all was sent; 1 refused, or the connection failed; 2 wrong usage.")]
pub(crate) struct Args {
    /// The file to publish.
    #[arg(value_name = "FILE.flv")]
    pub(crate) file: PathBuf,
    /// The stream to publish to.
    #[arg(
        value_name = "URL",
        help = "rtmp://HOST[:PORT]/APPLICATION/STREAM[?token=SECRET]; rtmps:// with TLS"
    )]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) token: ClientToken,
    #[command(flatten)]
    pub(crate) trust: ClientTrust,
    /// Send as fast as the server reads, instead of in real time.
    #[arg(long)]
    pub(crate) fast: bool,
    /// Publish the file this many times in a row; 0 is for ever.
    #[arg(long = "loop", value_name = "N", default_value_t = 1)]
    pub(crate) times: u64,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The exit code of shells for Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Time between the last frame of one round and the first of the next, if the file does not define
/// it.
const DEFAULT_FRAME_MS: i64 = 40;

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let mut url = RtmpUrl::parse(&args.url).map_err(Failure::unusable)?;
    if let Some(token) = &args.token.token {
        url = url.with_token(token);
    }
    // An error in the start of the file is reported before anything is sent.
    FlvReader::open(&args.file)
        .and_then(|mut file| file.next())
        .map_err(|error| Failure::unusable(error.context(args.file.display().to_string())))?;
    let client = match args.trust.tls(url.tls)? {
        Some(tls) => RtmpClient::new().tls(tls),
        None => RtmpClient::new(),
    };
    let mut tally = Tally::new();
    let published = runtime()?.block_on(publish(args, &client, &url, &mut tally));
    let ended = *published.as_ref().unwrap_or(&Ended::Failed);
    let summary = tally.summary(url.to_string(), ended);
    if published.is_ok() || summary.bytes > 0 {
        show(&summary, "published", args.json, false)?;
    }
    match published.map_err(|error| error.context(format!("publishing to {url}")))? {
        Ended::Interrupted => Ok(ExitCode::from(INTERRUPTED)),
        Ended::Complete | Ended::Time | Ended::Failed => Ok(ExitCode::SUCCESS),
    }
}

async fn publish(
    args: &Args,
    client: &RtmpClient,
    url: &RtmpUrl,
    tally: &mut Tally,
) -> anyhow::Result<Ended> {
    let publisher = client.publish(url).await.map_err(refusal_of)?;
    let size = std::fs::metadata(&args.file).map_or(0, |metadata| metadata.len());
    let bar = progress(Some(size), "{elapsed_precise} [{bar:30}] {msg}");
    let mut sender = Sender {
        publisher,
        pacer: (!args.fast).then(Pacer::new),
        tally,
        bar: &bar,
        round: Round::default(),
    };
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let sent = tokio::select! {
        sent = sender.send_all(args) => sent.map(|()| Ended::Complete),
        _ = &mut interrupted => Ok(Ended::Interrupted),
    };
    bar.finish_and_clear();
    let ended = sent?;
    timeout(Duration::from_secs(10), sender.publisher.close()).await??;
    Ok(ended)
}

struct Sender<'a> {
    publisher: RtmpPublisher,
    pacer: Option<Pacer>,
    tally: &'a mut Tally,
    bar: &'a ProgressBar,
    round: Round,
}

impl Sender<'_> {
    async fn send_all(&mut self, args: &Args) -> anyhow::Result<()> {
        let mut done: u64 = 0;
        while args.times == 0 || done < args.times {
            let mut file = FlvReader::open(&args.file)?;
            while let Some(frame) = file.next()? {
                self.send(frame).await?;
                self.bar.set_position(file.read_bytes());
            }
            self.round.turn();
            done = done.saturating_add(1);
        }
        Ok(())
    }

    async fn send(&mut self, frame: MediaFrame) -> anyhow::Result<()> {
        let frame = self.round.shifted(frame);
        if let Some(pacer) = &mut self.pacer
            && frame.kind != MediaKind::Data
        {
            let due = pacer.due(frame.dts_ms());
            self.publisher.wait_until(due).await?;
        }
        self.publisher.push(&frame).await?;
        self.tally.count(&frame);
        self.bar.set_message(self.tally.line());
        Ok(())
    }
}

/// Shifts the times of a repeated file behind those of the round before.
#[derive(Debug, Default)]
struct Round {
    offset_ms: i64,
    first_dts_ms: Option<i64>,
    last_dts_ms: i64,
    last_video_dts_ms: Option<i64>,
    frame_ms: Option<i64>,
}

impl Round {
    fn shifted(&mut self, mut frame: MediaFrame) -> MediaFrame {
        if frame.kind != MediaKind::Data && !frame.is_config() {
            let dts_ms = frame.dts_ms();
            self.first_dts_ms.get_or_insert(dts_ms);
            self.last_dts_ms = self.last_dts_ms.max(dts_ms);
            if frame.kind == MediaKind::Video {
                let last = self.last_video_dts_ms.replace(dts_ms);
                let since = last.map(|last| dts_ms.saturating_sub(last));
                self.frame_ms = since.filter(|ms| *ms > 0).or(self.frame_ms);
            }
        }
        // The times of an FLV file are in milliseconds.
        frame.dts = frame.dts.saturating_add(self.offset_ms);
        frame.pts = frame.pts.saturating_add(self.offset_ms);
        frame
    }

    fn turn(&mut self) {
        let first = self.first_dts_ms.unwrap_or(0);
        let length = self
            .last_dts_ms
            .saturating_sub(first)
            .saturating_add(self.frame_ms.unwrap_or(DEFAULT_FRAME_MS));
        *self = Self {
            offset_ms: self.offset_ms.saturating_add(length),
            frame_ms: self.frame_ms,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{CodecId, FrameFlags};

    use super::*;

    #[test]
    fn a_second_round_goes_on_where_the_first_ended() {
        let mut round = Round::default();
        let mut times = Vec::new();
        for _ in 0..2 {
            for dts in [100, 140, 180] {
                let frame =
                    MediaFrame::video(CodecId::H264, dts, dts + 80, FrameFlags::NONE, "x".into());
                let frame = round.shifted(frame);
                times.push((frame.dts, frame.pts));
            }
            round.turn();
        }
        let dts: Vec<_> = times.iter().map(|(dts, _)| *dts).collect();
        assert_eq!(dts, [100, 140, 180, 220, 260, 300]);
        assert!(times.iter().all(|(dts, pts)| pts - dts == 80));
    }
}

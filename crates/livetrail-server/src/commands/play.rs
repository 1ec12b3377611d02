//! `livetrail play`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::anyhow;
use livetrail_tls::ClientTls;
use tokio::time::{sleep, timeout};

use super::{ClientToken, ClientTrust, progress, runtime, show};
use crate::{
    client::{Ended, FlvWriter, PlayAddress, Player, Tally},
    output::{Failure, Outcome},
};

/// Play a stream over RTMP(S) or HTTP(S)-FLV, and count or save the frames.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail play rtmp://127.0.0.1/live/cam --seconds 10
  livetrail play http://127.0.0.1:8080/live/cam.flv -o cam.flv
  livetrail play 'http://127.0.0.1:8080/live/cam.flv?token=SECRET' --seconds 5 --json

Exit codes: 0 frames were played; 1 refused, the connection failed, or no frame came; 2 wrong usage.")]
pub(crate) struct Args {
    /// The stream to play.
    #[arg(
        value_name = "URL",
        help = "rtmp://HOST[:PORT]/APPLICATION/STREAM or http://HOST[:PORT]/APPLICATION/STREAM.flv; \
                rtmps:// and https:// with TLS"
    )]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) token: ClientToken,
    #[command(flatten)]
    pub(crate) trust: ClientTrust,
    /// Stop after this many seconds. Without it, stop at the stream's end or at Ctrl-C.
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Write the stream to this file; `-` is standard output.
    #[arg(long, short, value_name = "FILE.flv")]
    pub(crate) output: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "allowed is a number of seconds, such as 5 or 0.5".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let address =
        PlayAddress::parse(&args.url, args.token.token.as_deref()).map_err(Failure::unusable)?;
    let tls = args.trust.tls(address.is_tls())?;
    let mut tally = Tally::new();
    let played = runtime()?.block_on(play(args, &address, tls, &mut tally));
    let ended = *played.as_ref().unwrap_or(&Ended::Failed);
    let summary = tally.summary(address.to_string(), ended);
    let began = played.is_ok() || summary.bytes > 0;
    if began {
        let stdout_is_taken = args.output.as_deref() == Some(Path::new("-"));
        show(&summary, "played", args.json, stdout_is_taken)?;
    }
    played.map_err(|error| error.context(format!("playing {address}")))?;
    if summary.frames == 0 {
        return Err(anyhow!("playing {address}: no frame came").into());
    }
    Ok(ExitCode::SUCCESS)
}

async fn play(
    args: &Args,
    address: &PlayAddress,
    tls: Option<ClientTls>,
    tally: &mut Tally,
) -> anyhow::Result<Ended> {
    let mut player = Player::start(address, tls).await?;
    let mut file = match &args.output {
        Some(path) => Some(FlvWriter::create(path)?),
        None => None,
    };
    let bar = progress(None, "{spinner} {elapsed_precise} {msg}");
    let over = async {
        match args.seconds {
            Some(after) => sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let mut over = std::pin::pin!(over);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let ended = loop {
        let frame = tokio::select! {
            frame = player.next() => frame,
            () = &mut over => break Ok(Ended::Time),
            _ = &mut interrupted => break Ok(Ended::Interrupted),
        };
        match frame {
            Ok(Some(frame)) => {
                tally.count(&frame);
                bar.set_message(tally.line());
                if let Some(file) = &mut file
                    && let Err(error) = file.write(&frame)
                {
                    break Err(error);
                }
            }
            Ok(None) => break Ok(Ended::Complete),
            Err(error) => break Err(error),
        }
    };
    bar.finish_and_clear();
    // The received frames are kept, whatever the reason of the end.
    let finished = file.map_or(Ok(()), FlvWriter::finish);
    // A busy server must not delay the end.
    let _ = timeout(Duration::from_secs(2), player.close()).await;
    let ended = ended?;
    finished?;
    Ok(ended)
}

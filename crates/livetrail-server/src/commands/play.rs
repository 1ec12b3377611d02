//! `livetrail play`.

use std::{path::Path, process::ExitCode};

use anyhow::anyhow;
use tokio::time::{sleep, timeout};

use super::{progress, runtime, show};
use crate::{
    cli::Play,
    client::{Ended, FlvWriter, PlayAddress, Player, Tally},
    output::{Failure, Outcome},
};

/// Runs it.
pub(crate) fn run(args: &Play) -> Outcome {
    let address =
        PlayAddress::parse(&args.url, args.token.token.as_deref()).map_err(Failure::unusable)?;
    let mut tally = Tally::new();
    let played = runtime()?.block_on(play(args, &address, &mut tally));
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

async fn play(args: &Play, address: &PlayAddress, tally: &mut Tally) -> anyhow::Result<Ended> {
    let mut player = Player::start(address).await?;
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
    // What came is kept, also when the end was not what one wished.
    let finished = file.map_or(Ok(()), FlvWriter::finish);
    // A server that is busy must not keep us.
    let _ = timeout(std::time::Duration::from_secs(2), player.close()).await;
    let ended = ended?;
    finished?;
    Ok(ended)
}

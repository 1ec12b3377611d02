//! `livetrail serve`.

use std::process::ExitCode;

use anyhow::Context;
use livetrail_trail::Trail;

use super::trail::created_words;
use crate::{
    config::{self, ConfigFile, Overrides, ServeOverrides},
    output::{Failure, Outcome, complain, say},
    serve::{Harmless, Server, Signals, init_log, raise_open_files, trail_settings},
};

/// Run the server until SIGTERM or SIGINT.
///
/// Publishers and viewers connect over RTMP; viewers also over HTTP-FLV. Every session is recorded
/// in the trail in DATA/trail, a log with signed checkpoints that others can verify. The trail must
/// exist: `livetrail trail init` creates it, or --init at the first start. SIGHUP reads keys,
/// applications and limits again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail serve --init                               the first start; later without --init
  livetrail config example > livetrail.toml && livetrail serve --config livetrail.toml
  livetrail serve --data /var/lib/livetrail --rtmp 0.0.0.0:1935 --http 127.0.0.1:8080
  LIVETRAIL__LIMITS__IDLE_TIMEOUT=1m livetrail serve   any setting, as a variable

Then:
  ffmpeg -re -i clip.mp4 -c copy -f flv rtmp://127.0.0.1/live/cam
  ffplay http://127.0.0.1:8080/live/cam.flv
  curl http://127.0.0.1:8080/api/v1/sessions")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    #[command(flatten)]
    pub(crate) overrides: ServeOverrides,
    /// Create the trail before serving, as `livetrail trail init` does; refused if there is one.
    #[arg(long)]
    pub(crate) init: bool,
    /// Check the configuration, the files that it names, the trail and the addresses, print what a
    /// start would do, and exit: 0 if nothing hinders it, 1 if it would fail now, 2 if the
    /// configuration is invalid. Nothing is created.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the configuration file with every setting and its default, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Outcome {
    if args.print_config {
        say(config::EXAMPLE.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let overrides = Overrides::from(args.overrides);
    if args.check {
        return super::config::check_start(args.file.config.as_deref(), &overrides, args.init);
    }
    let load = move || config::load(args.file.config.as_deref(), config::variables(), &overrides);
    let config = load().map_err(Failure::configuration)?;
    init_log(&config.log);
    for warning in super::config::warnings(&config) {
        tracing::warn!("{warning}");
    }
    raise_open_files();
    if args.init {
        let settings = config.trail.settings(&config.data);
        let created = settings.and_then(|settings| Ok(livetrail_trail::create(&settings)?));
        let created = created.map_err(Failure::unusable)?;
        let words = created_words(&created, &config.data);
        if config.sink.iter().any(|sink| sink.stdout.is_some()) {
            // Standard output belongs to that sink, from its first byte on.
            complain(&words);
        } else {
            say(&words)?;
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let harmless = {
        let _context = runtime.enter();
        Harmless::new().context("cannot listen for signals")?
    };
    // The trail is opened before the server starts: without a trail there is no server.
    let settings = trail_settings(&config).map_err(Failure::unusable)?;
    let trail = Trail::open(&settings).map_err(Failure::unusable)?;
    runtime.block_on(async {
        let signals = Signals::new(harmless).context("cannot listen for signals")?;
        let server = Server::start_with(config, trail).await?;
        server.log_addresses();
        let clean = signals.serve(server, load).await;
        if clean {
            Ok(ExitCode::SUCCESS)
        } else {
            complain("error: the trail was not written out in time; see the log");
            Ok(ExitCode::FAILURE)
        }
    })
}

//! The arguments of `livetrail serve`.

use crate::config::{ConfigFile, ServeOverrides};

/// Run the server until SIGTERM or SIGINT.
///
/// Publishers and viewers connect over RTMP, viewers over HTTP-FLV as well. Every session is recorded in the trail in DATA/trail, a log
/// with signed checkpoints that others can verify. It must be there: `livetrail trail init` makes it, or --init at the first start.
/// SIGHUP reads keys, applications and limits again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail serve --init                               the first start; afterwards without --init
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
    /// Make the trail before serving, as `livetrail trail init` does; refused if there is one already.
    #[arg(long)]
    pub(crate) init: bool,
    /// Check the configuration, the flags and the variables, and exit: 0 when they can be used, 2 when not.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the configuration file with every setting and its default, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
}

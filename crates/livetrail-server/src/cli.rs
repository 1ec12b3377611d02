//! The command line: what there is to type, and the help that teaches it.

mod sinks;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use sinks::*;

use crate::config::{GrantName, LogFilter, LogFormat, Span, parse_address};

/// A live-streaming server (RTMP, HTTP-FLV) whose every session is on verifiable record.
#[derive(Debug, Parser)]
#[command(
    name = "livetrail",
    version,
    about = "A live-streaming server (RTMP, HTTP-FLV) whose every session is on verifiable record",
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
See it work:
  livetrail demo                                       a stream, its viewers and their trail, in a few seconds

Use it:
  livetrail trail init ./livetrail-data                once: makes the trail and its keys
  livetrail serve                                      RTMP on port 1935, HTTP on 127.0.0.1:8080
  livetrail publish clip.flv rtmp://127.0.0.1/live/cam
  livetrail play http://127.0.0.1:8080/live/cam.flv
  livetrail trail query ./livetrail-data               what happened

Exit codes: 0 done; 1 it failed or was refused; 2 wrong usage or configuration."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Demo(Demo),
    Publish(Publish),
    Play(Play),
    /// Read and check a trail.
    #[command(subcommand)]
    Trail(Trail),
    /// Make tokens for publishers and viewers.
    #[command(
        subcommand,
        after_help = "\
Examples:
  livetrail token issue --key-file tokens-2026.txt --grant play --stream cam --valid-for 8h --subject alice"
    )]
    Token(Token),
    /// Print and check configuration.
    #[command(
        subcommand,
        after_help = "\
Examples:
  livetrail config example > livetrail.toml
  livetrail config check livetrail.toml"
    )]
    Config(ConfigCommand),
}

/// Run the server until SIGTERM or SIGINT.
///
/// Publishers and viewers connect over RTMP, viewers over HTTP-FLV as well. Every session is recorded in the trail in DATA/trail, a log
/// with signed checkpoints that others can verify. It must be there: `livetrail trail init` makes it, or --init at the first start.
/// SIGHUP reads keys, applications and limits again.
#[derive(Debug, Args)]
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
pub(crate) struct Serve {
    /// Configuration file (TOML); `livetrail config example` prints one with every setting.
    #[arg(long, short, value_name = "FILE", env = "LIVETRAIL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
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

/// Settings that have a flag.
#[derive(Debug, Args)]
pub(crate) struct ServeOverrides {
    /// Where the trail is kept [default: ./livetrail-data].
    #[arg(long, value_name = "DIR", env = "LIVETRAIL_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address for RTMP [default: 0.0.0.0:1935].
    #[arg(long, value_name = "ADDR", env = "LIVETRAIL_RTMP", value_parser = parse_address)]
    pub(crate) rtmp: Option<SocketAddr>,
    /// Address for HTTP: playback, health, metrics, API [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", env = "LIVETRAIL_HTTP", value_parser = parse_address)]
    pub(crate) http: Option<SocketAddr>,
    /// What is logged: error, warn, info, debug, trace, or directives [default: info].
    #[arg(long, value_name = "FILTER", env = "LIVETRAIL_LOG")]
    pub(crate) log: Option<LogFilter>,
    /// How it is logged, to standard error [default: text].
    #[arg(long, value_name = "FORMAT", env = "LIVETRAIL_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Show a stream, two viewers, two refusals and their trail, in a few seconds, with nothing else installed.
///
/// Starts the server on free ports of this machine, publishes a bundled clip over RTMP in real time, lets one viewer watch
/// over RTMP and one over HTTP-FLV, and refuses a viewer and a publisher without the right key. Then it prints the sessions and
/// the trail, verifies it as an outsider would, proves one record by a receipt, and finds one changed byte in a copy. Exits with 0 only if every frame arrived, the trail is
/// exactly what happened, and the outsider agrees.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail demo
  livetrail demo --keep ./demo-data && livetrail trail query ./demo-data")]
pub(crate) struct Demo {
    /// Keep the data in this directory instead of a temporary one; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// Publish an FLV file to a server over RTMP, in real time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail publish clip.flv rtmp://127.0.0.1/live/cam
  livetrail publish clip.flv 'rtmp://127.0.0.1/live/cam?token=SECRET' --loop 0
  livetrail publish clip.flv rtmp://127.0.0.1/live/cam --fast --json

Exit codes: 0 all was sent; 1 refused, or the connection failed; 2 wrong usage.")]
pub(crate) struct Publish {
    /// The file.
    #[arg(value_name = "FILE.flv")]
    pub(crate) file: PathBuf,
    /// Where to.
    #[arg(
        value_name = "URL",
        help = "rtmp://HOST[:PORT]/APPLICATION/STREAM[?token=SECRET]"
    )]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) token: ClientToken,
    /// As fast as the server takes it, instead of in real time.
    #[arg(long)]
    pub(crate) fast: bool,
    /// So many times one after the other; 0 is for ever.
    #[arg(long = "loop", value_name = "N", default_value_t = 1)]
    pub(crate) times: u64,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Watch a stream over RTMP or HTTP-FLV, and count or keep what comes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail play rtmp://127.0.0.1/live/cam --seconds 10
  livetrail play http://127.0.0.1:8080/live/cam.flv -o cam.flv
  livetrail play 'http://127.0.0.1:8080/live/cam.flv?token=SECRET' --seconds 5 --json

Exit codes: 0 something was played; 1 refused, the connection failed, or no frame came; 2 wrong usage.")]
pub(crate) struct Play {
    /// Where from.
    #[arg(
        value_name = "URL",
        help = "rtmp://HOST[:PORT]/APPLICATION/STREAM or http://HOST[:PORT]/APPLICATION/STREAM.flv"
    )]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) token: ClientToken,
    /// Stop after so many seconds; otherwise at the stream's end or at Ctrl-C.
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Write the stream to this file; `-` is standard output.
    #[arg(long, short, value_name = "FILE.flv")]
    pub(crate) output: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a client shows to be let in.
#[derive(Debug, Args)]
pub(crate) struct ClientToken {
    /// Stream key or signed token; a variable keeps it out of the process list.
    #[arg(
        long,
        value_name = "SECRET",
        env = "LIVETRAIL_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

/// Read and check a trail.
#[derive(Debug, Subcommand)]
pub(crate) enum Trail {
    Init(TrailInit),
    Query(TrailQuery),
    Tail(TrailTail),
    Check(TrailCheck),
    Verify(TrailVerify),
    Checkpoint(TrailCheckpoint),
    Prove(TrailProve),
    Export(TrailExport),
    RotateKey(TrailRotateKey),
    Prune(TrailPrune),
    Hold(TrailHold),
    /// Say that this machine's clock is right, on record, when retention waits because it is far ahead of the trail's time.
    ///
    /// Retention waits when the wall clock is more than a day ahead of the trail: the clock is wrong, or the server was down for long. A
    /// synchronised clock or a witness ends that by itself; where there is neither, this does. Look at `date` first. Also while the server runs.
    #[command(after_help = "\
Examples:
  date; livetrail trail confirm-clock ./livetrail-data

Exit codes: 0 confirmed; 2 it does not count, and why.")]
    ConfirmClock(TrailKeeper),
    /// Who follows the trail: set them up, and see how far they are.
    #[command(
        subcommand,
        after_help = "\
Examples:
  livetrail trail sinks status --config livetrail.toml
  livetrail trail sinks init s3 --config livetrail.toml
  livetrail trail sinks read kafka --config livetrail.toml --to copy"
    )]
    Sinks(TrailSinks),
}

/// Make the trail of a server: its keys, and an empty log with a signed checkpoint. Once, before the first start.
///
/// The trail is made in DIR/trail, its verifier keys are printed and written to DIR/trail.vkey, its secret keys go to
/// DIR/trail/private/keys unless said otherwise. A key file that is there already is taken as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
The origin is the log's name in every checkpoint, and that of its keys. It must never be another log's: witnesses and auditors tell logs apart
by it. Without --origin it is made of this host's name and a random number: media-1.example.com/livetrail/3f9c2a17. It cannot be changed later.

Examples:
  livetrail trail init /var/lib/livetrail
  livetrail trail init /var/lib/livetrail --origin example.com/studio-1
  livetrail trail init /var/lib/new --after newest.checkpoint
  livetrail trail init /var/lib/livetrail --signer-key-file /etc/livetrail/signer --cosigner-key-file /etc/livetrail/cosigner

Exit codes: 0 made; 2 there is a trail already, or it could not be made.")]
pub(crate) struct TrailInit {
    /// The server's data directory; made if it is not there.
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The log's name: without a scheme, such as `example.com/studio-1`.
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// The last checkpoint of a log that is lost and that this one goes on from: it becomes the first entry. The origin must be a new one.
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) after: Option<PathBuf>,
    /// The key that signs checkpoints, elsewhere; the server's configuration must say so, too (`trail.signer_key_file`).
    #[arg(long, value_name = "FILE")]
    pub(crate) signer_key_file: Option<PathBuf>,
    /// The key that cosigns them with the time, elsewhere; as above (`trail.cosigner_key_file`).
    #[arg(long, value_name = "FILE")]
    pub(crate) cosigner_key_file: Option<PathBuf>,
}

/// Show the records that fit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail query ./livetrail-data --stream cam --since 1h
  livetrail trail query ./livetrail-data --action play_denied --since 2026-11-22T14:00:00Z --until 2026-11-22T15:00:00Z
  livetrail trail query ./livetrail-data --session 0199a7… --format json

Each record that is shown was proven to be in the tree that the checkpoint signs. The query index in the trail's private part finds it among
millions; it is derived, kept up by the server and by this command, and may be removed at any time. It could at worst leave a record out:
--scan asks without it.

Exit codes: 0 done, also when nothing fits; 2 the trail cannot be read, or there is no such action.")]
pub(crate) struct TrailQuery {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    #[command(flatten)]
    pub(crate) filter: TrailFilter,
    /// How to show them: a table for people, one JSON object a line, or tab-separated lines.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: TrailFormat,
    /// Look through the whole trail, without the query index.
    #[arg(long)]
    pub(crate) scan: bool,
}

/// Show the last records, and with -f those that follow. A ledger's records are seen when a checkpoint covers them, a second later at most.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail tail ./livetrail-data
  livetrail trail tail -f ./livetrail-data --action play_denied
  livetrail trail tail -f -n 0 --format json ./livetrail-data | jq .

Exit codes: 0 done, also when nothing fits, or when what reads the output has seen enough; 2 the trail cannot be read, or there is no such action.")]
pub(crate) struct TrailTail {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    #[command(flatten)]
    pub(crate) filter: TrailFilter,
    /// Wait for records that follow, until Ctrl-C.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the last records that fit.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) lines: usize,
    /// How to show them: short lines for people, one JSON object a line, or tab-separated lines.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: TrailFormat,
}

/// Check that a trail is complete: every session begins and ends exactly once, no record is missing unreported.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail check ./livetrail-data

Exit codes: 0 sound; 1 not sound, and it says what and where; 2 it could not be checked.")]
pub(crate) struct TrailCheck {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check a trail as an outsider would: signatures, every entry and hash, every session. The check is that of `livetrail-verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --vkey and --policy the keys are those of trail.vkey in the data directory: good for finding damage, not for convincing others. Who does
not trust those who keep the trail brings the key that they were given, an older checkpoint (`livetrail trail checkpoint` printed it then), and
their own copy of livetrail-verify.

Examples:
  livetrail trail verify ./livetrail-data
  livetrail trail verify ./livetrail-data --vkey from-the-contract.vkey --against 2025-11-01.checkpoint --strict
  livetrail trail verify ./livetrail-data --json

Exit codes: 0 sound; 1 not sound, and it says what, where and from which entry on; 2 could not be checked, and why.")]
pub(crate) struct TrailVerify {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    /// A key to trust, or a file with one on each line.
    #[arg(long, value_name = "KEY-OR-FILE")]
    pub(crate) vkey: Vec<String>,
    /// A policy file (C2SP tlog-policy): keys of the log, witnesses, groups, quorum.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// An older checkpoint that the trail must contain; several times for several.
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) against: Vec<PathBuf>,
    /// Take silence, such as missing heartbeats, for a failure.
    #[arg(long)]
    pub(crate) strict: bool,
    /// When this copy was made: silence at its end is judged by that time, and not by the time that it is now
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the published checkpoint: size and root of the trail, signed. Keep one from time to time, where the trail is not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail checkpoint ./livetrail-data > 2026-11-01.checkpoint

Exit codes: 0 done; 2 the trail cannot be read.")]
pub(crate) struct TrailCheckpoint {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
}

/// Print a receipt that a record is in the trail: a .tlog-proof file, which stands alone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail prove ./livetrail-data 1041 -o 1041.tlog-proof --record 1041.json
  livetrail-verify --proof 1041.tlog-proof --record 1041.json --vkey trail.vkey

Exit codes: 0 done; 2 the trail cannot be read, or no checkpoint covers the entry yet.")]
pub(crate) struct TrailProve {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    /// The record's place in the trail, from 0; `trail export --format json` shows it.
    #[arg(value_name = "INDEX")]
    pub(crate) index: u64,
    /// Write the receipt to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the record itself to this file, byte for byte as it was hashed.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

/// Write records for other programs, or a copy of the whole trail that others can verify.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail export ./livetrail-data --stream cam --since 2026-11-01 -o cam.jsonl
  livetrail trail export ./livetrail-data --from 1000 --to 2000 --format json
  livetrail trail export ./livetrail-data --site ./for-the-auditor && livetrail-verify ./for-the-auditor --vkey trail.vkey

Exit codes: 0 done; 1 it could not be written; 2 the trail cannot be read.")]
pub(crate) struct TrailExport {
    #[command(flatten)]
    pub(crate) trail: TrailPath,
    #[command(flatten)]
    pub(crate) filter: TrailFilter,
    /// The first entry.
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    pub(crate) from: u64,
    /// The entry after the last.
    #[arg(long, value_name = "INDEX")]
    pub(crate) to: Option<u64>,
    /// One record a line: as it was hashed, with its index and hash, or with tabs.
    #[arg(long, value_name = "FORMAT", default_value = "entries")]
    pub(crate) format: ExportFormat,
    /// Write to this file, which must not be there yet, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Copy everything that is published, with the verifier keys, into this new directory instead.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "to", "format", "output", "stream", "session", "action", "principal", "since", "until"])]
    pub(crate) site: Option<PathBuf>,
}

/// How records are exported, one a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The entry's bytes: canonical JSON. The SHA-256 of a zero byte and the line without its LF is the leaf hash.
    Entries,
    /// A JSON object with `index`, `leaf_hash` and `record`.
    Json,
    /// Five columns with tabs between them, as the file sink writes them.
    Tsv,
}

/// Give the trail a new key, on record. With the server stopped.
///
/// The change is recorded and sealed with the old key; the checkpoint that covers it is signed with both, and kept; from then on the new key
/// signs. Whoever trusts the old key learns of the new one from the trail. The old secret is overwritten. If it is killed, run it again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail rotate-key ./livetrail-data
  livetrail trail rotate-key /var/lib/livetrail --config /etc/livetrail.toml --cosigner

Exit codes: 0 done; 2 nothing was changed, and why.")]
pub(crate) struct TrailRotateKey {
    #[command(flatten)]
    pub(crate) keeper: TrailKeeper,
    /// The key that cosigns checkpoints with the time, instead of the one that signs them.
    #[arg(long)]
    pub(crate) cosigner: bool,
}

/// Remove old entries, on record. With the server stopped; a running one does it by `trail.retention`.
///
/// The entries go, in bundles of 256; their hashes and all checkpoints stay, so that proofs and the rest of the trail go on to verify. What a
/// required replica or a legal hold needs stays, and so does what an open session began with.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail prune ./livetrail-data --older-than 400d --dry-run
  livetrail trail prune ./livetrail-data --older-than 400d
  livetrail trail prune ./livetrail-data --below 1000000

Exit codes: 0 done, also when nothing was to go; 1 it was begun, and the next start goes on with it; 2 nothing was removed, and why.")]
pub(crate) struct TrailPrune {
    #[command(flatten)]
    pub(crate) keeper: TrailKeeper,
    /// What was recorded longer ago than this, such as `400d`. A clock that went back makes nothing older.
    #[arg(long, value_name = "SPAN", required_unless_present = "below")]
    pub(crate) older_than: Option<String>,
    /// What comes before this entry.
    #[arg(long, value_name = "INDEX", conflicts_with = "older_than")]
    pub(crate) below: Option<u64>,
    /// Only say what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Set, lift or list legal holds: entries that nobody may remove. Also while the server runs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail trail hold ./livetrail-data
  livetrail trail hold ./livetrail-data case-2026-17 --from 104000
  livetrail trail hold ./livetrail-data case-2026-17 --release

Exit codes: 0 done; 2 nothing was changed, and why.")]
pub(crate) struct TrailHold {
    #[command(flatten)]
    pub(crate) keeper: TrailKeeper,
    /// The hold: 1 to 64 letters, digits, `-` and `_`. Without a name all holds are listed, and the replicas.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The first entry that must stay, with all after it.
    #[arg(
        long,
        value_name = "INDEX",
        requires = "name",
        conflicts_with = "release"
    )]
    pub(crate) from: Option<u64>,
    /// Lift it.
    #[arg(long, requires = "name")]
    pub(crate) release: bool,
}

/// Which trail, for what changes it.
#[derive(Debug, Args)]
pub(crate) struct TrailKeeper {
    /// The server's data directory.
    #[arg(value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The server's configuration, if keys lie elsewhere, or there are witnesses.
    #[arg(long, short, value_name = "FILE", env = "LIVETRAIL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// Which trail.
#[derive(Debug, Args)]
pub(crate) struct TrailPath {
    /// The server's data directory, a trail's directory, or a trail file of an earlier version.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct TrailFilter {
    /// Of this stream: `cam`, or with its application `live/cam`.
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<String>,
    /// Of this session; the first or the last characters of its id are enough, and 8 or more are found fast.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// With this action, such as `play_denied`; several times for several.
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Vec<String>,
    /// By this principal: who it was, as authenticated.
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
    /// Not before: RFC 3339 (`2026-11-22T14:00:00Z`), a date, or a time span before now (`1h`).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before: as `--since`.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrailFormat {
    /// For people.
    Table,
    /// One JSON object a line, canonical.
    Json,
    /// Five columns with tabs between them, as the file sink writes them.
    Tsv,
}

/// Make tokens for publishers and viewers.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    Issue(TokenIssue),
}

/// Make a signed token (JWT, HS256) that a server with the same key under `[[auth.token_key]]` accepts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail token issue --key-file tokens-2026.txt --grant play --stream cam --valid-for 8h --subject alice
  LIVETRAIL_TOKEN_KEY=… livetrail token issue --valid-for 1h

Exit codes: 0 the token is on standard output; 2 the key cannot be read or is shorter than 32 bytes.")]
pub(crate) struct TokenIssue {
    /// File with the signing key, at least 32 bytes.
    #[arg(long, value_name = "FILE", required_unless_present = "key")]
    pub(crate) key_file: Option<PathBuf>,
    /// The signing key itself.
    #[arg(
        long,
        value_name = "SECRET",
        env = "LIVETRAIL_TOKEN_KEY",
        hide_env_values = true
    )]
    pub(crate) key: Option<String>,
    /// Who holds the token; goes on record.
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    /// Good for this application alone.
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Good for this stream alone.
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<String>,
    /// What it is good for.
    #[arg(long, value_name = "GRANT", default_value = "both")]
    pub(crate) grant: GrantName,
    /// For how long it is good, such as `8h`.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub(crate) valid_for: Span,
}

/// Print and check configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a configuration file with every setting, its default and what it does.
    Example,
    Check(ConfigCheck),
}

/// Check a configuration file, with the variables and flags, as `serve` would, without serving.
///
/// Reads every file with a secret that the configuration names, and connects to nothing. Without FILE it checks the defaults with the variables
/// and flags.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  livetrail config check livetrail.toml
  livetrail config check livetrail.toml --http 0.0.0.0:8080
  LIVETRAIL__LIMITS__IDLE_TIMEOUT=1m livetrail config check livetrail.toml
  livetrail serve --config livetrail.toml --check       the same, with the command line of the server

Exit codes: 0 it can be used; 2 it cannot, and which setting is wrong, where, and what is allowed.")]
pub(crate) struct ConfigCheck {
    /// The file.
    #[arg(value_name = "FILE", env = "LIVETRAIL_CONFIG")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: ServeOverrides,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "allowed is a number of seconds, such as 5 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

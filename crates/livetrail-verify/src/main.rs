//! `livetrail-verify`: the command.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use livetrail_record::Uuid;
use livetrail_tlog::{MAX_ENTRY_BYTES, MAX_PROOF_FILE_BYTES};
use livetrail_verify::{
    Directory, FleetOptions, FleetReport, FleetTrail, KeyFile, Limits, Lines, MAX_FLEET,
    MAX_OPENING_FILE_BYTES, MAX_POLICY_BYTES, Openings, Options, Policy, ProofReport, Report, Site,
    Source, Verdict, VerifyError, shown, verify, verify_file, verify_fleet, verify_lines,
    verify_proof,
};

const EXAMPLES: &str = "\
Examples:
  Check a trail with the key that you were given:
    livetrail-verify /srv/trail --vkey trail.vkey
    livetrail-verify /srv/trail --vkey 'example.com/audit+9d3ea1c0+AbC…='

  And that it still contains the checkpoints that you got last year:
    livetrail-verify /srv/trail --vkey trail.vkey --against 2025-11-01.checkpoint --against 2026-05-01.checkpoint

  Require two of three witnesses (C2SP tlog-policy: log, witness, group, quorum):
    livetrail-verify /srv/trail --policy trail.policy

  Over HTTP, for a program:
    livetrail-verify http://127.0.0.1:8080/trail --vkey trail.vkey --json

  In a bucket, the first version of each object (if built with the feature s3; credentials as the AWS tools have them):
    livetrail-verify s3://bucket/prefix/example.com_2Faudit --s3-region eu-central-1 --vkey trail.vkey

  Check that one record is in the log, with only its receipt:
    livetrail-verify --proof 17.tlog-proof --record 17.json --vkey trail.vkey

  Compare what you were shown of a person's fields with the trail, or with the receipt; or ask what became of them:
    livetrail-verify /srv/trail --vkey trail.vkey --opening from-the-operator.jsonl
    livetrail-verify --proof 17.tlog-proof --record 17.json --vkey trail.vkey --opening from-the-operator.jsonl
    livetrail-verify /srv/trail --vkey trail.vkey --personal-of 019aa5c5-8000-7000-8000-000000000001

  Check the copy in a sink's database (if built with the feature postgres), without the server and its disk:
    livetrail-verify --postgres postgres://auditor@db.example.com/trail --vkey trail.vkey

  Check the trails of several servers in one place, each with its own key; which of them is behind, silent or absent?
    livetrail-verify --fleet --postgres postgres://auditor@db.example.com/trail --vkey edge-1.vkey --vkey edge-2.vkey
    livetrail-verify --fleet ./copies --vkey edge-1.vkey --vkey edge-2.vkey

  Check a sink's files of JSON lines (rotated ones first), against the signed checkpoint in the last one's cursor; or piped in:
    livetrail-verify --lines trail.json.0* trail.json --vkey trail.vkey
    livetrail-verify --lines trail.json.0* trail.json --without-head --vkey trail.vkey    # the first files were removed
    zcat -f collected.*.gz | livetrail-verify --lines - --checkpoint newest.checkpoint --vkey trail.vkey

  Check sessions and numbers of a file of lines, which has no signatures:
    livetrail-verify trail.tsv

Keep away from the trail: the verifier key, and a checkpoint from time to time (a copy of the file `checkpoint`).
Without an older checkpoint or a witness nobody can know whether the end of a trail was cut off.

Exit codes: 0 sound; 1 not sound (the report says why, where and from which entry on); 2 could not be checked (the report says why).";

/// The maximum number of bytes of a sink's cursor: two checkpoints, and some lines.
const MAX_CURSOR_BYTES: usize = 1 << 20;

/// The maximum number of bytes of a file with a token.
const MAX_TOKEN_BYTES: usize = 4_096;

/// Check that an audit trail is whole: signatures, every entry and hash, every session.
#[derive(Parser)]
#[command(name = "livetrail-verify", version, after_help = EXAMPLES)]
struct Arguments {
    /// The trail: its directory or the server's data directory, the address of its site (http://…
    /// or https://…) or of its prefix in a bucket (s3://…), or a file of lines
    #[arg(
        value_name = "PATH|URL",
        required_unless_present_any = ["proof", "postgres", "lines"],
        conflicts_with_all = ["postgres", "lines"]
    )]
    place: Option<String>,
    /// A receipt (.tlog-proof) for one record, checked alone; with --record
    #[arg(long, value_name = "FILE", requires = "record", conflicts_with_all = ["place", "against", "postgres", "lines"])]
    proof: Option<PathBuf>,
    /// The record of the receipt, byte by byte as it was exported; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "proof")]
    record: Option<PathBuf>,
    /// The trail that a sink keeps as lines of JSON: its files in order; `-` is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["proof", "postgres"])]
    lines: Vec<PathBuf>,
    /// The signed checkpoint, or the cursor of a sink, to compare lines with; without it, the
    /// cursor next to the last file
    #[arg(long, value_name = "FILE", requires = "lines")]
    checkpoint: Option<PathBuf>,
    /// The first files no longer exist, because `keep_files` removes them: prove only the rest,
    /// from the tree's hashes where it begins. This cannot show whether anything else was removed
    /// before
    #[arg(long, requires = "lines")]
    without_head: bool,
    /// The trail that a sink keeps in this PostgreSQL database; the password may be in PGPASSWORD
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Authorities for the database's certificate, instead of this system's
    #[arg(long, value_name = "FILE", requires = "postgres")]
    postgres_ca: Option<PathBuf>,
    /// The place has the trails of several servers: a database, a directory with one directory per
    /// trail, or a prefix in a bucket with one prefix per trail. Each is checked with the key of
    /// its name. A trail that is silent, or absent though its key is given, is a failure
    #[arg(long, conflicts_with_all = ["proof", "lines", "policy", "origin", "opening", "personal_of"])]
    fleet: bool,
    /// With --fleet: a trail whose newest record is this old is silent, unless its server stopped
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3_600,
        requires = "fleet"
    )]
    silent_after: u64,
    /// A key to trust, or a file with one per line. The log's own; with type 0x04 its second key,
    /// or a witness's
    #[arg(long, value_name = "KEY-OR-FILE")]
    vkey: Vec<String>,
    /// A policy file: keys of the log, witnesses, groups, quorum
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// An older checkpoint that the trail must contain
    #[arg(long, value_name = "CHECKPOINT", num_args = 1..)]
    against: Vec<PathBuf>,
    /// A file with openings or disclosures of personal fields: is each the one that its entry
    /// commits to? A line that only names an entry asks what became of its fields; `-` is standard
    /// input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    opening: Vec<PathBuf>,
    /// What became of the personal fields of this session, or of the entry at this index
    #[arg(long, value_name = "SESSION|INDEX", num_args = 1.., value_parser = question, conflicts_with = "proof")]
    personal_of: Vec<Question>,
    /// The log's name in its checkpoints, if it is not that of its key
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Require a key from outside the trail, and report silence as a failure
    #[arg(long)]
    strict: bool,
    /// When this copy was made (2026-11-30, or 2026-11-30T12:00:00Z; UTC): the age of its last
    /// record is computed from that time, not from now
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<u64>,
    /// The interval of the trail's heartbeats, in seconds; three missing in a row are reported
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    heartbeat: u64,
    /// The trail of a program that writes no server_started and server_stopped
    #[arg(long)]
    without_boot_records: bool,
    /// The server of the bucket, if it is not Amazon's; the bucket's name is then put into the path
    #[cfg(feature = "s3")]
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    s3_endpoint: Option<String>,
    /// The bucket's region
    #[cfg(feature = "s3")]
    #[arg(
        long,
        value_name = "REGION",
        env = "AWS_REGION",
        default_value = "us-east-1"
    )]
    s3_region: String,
    /// The time limit for a site, a bucket, a database or --lines in total
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    time_limit: u64,
    /// A file with the token that the site requires for its entries
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the report as JSON, for programs
    #[arg(long)]
    json: bool,
    /// Threads that read and hash; by default one per processor
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(answer) => match print(&answer, arguments.json) {
            Ok(()) => ExitCode::from(answer.verdict().exit_code()),
            // The reader has closed the output, like `head`: the verdict is the same.
            Err(error) if is_broken_pipe(&error) => ExitCode::from(answer.verdict().exit_code()),
            Err(error) => could_not(&error, false),
        },
        Err(error) => could_not(&error, arguments.json),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        let of_json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        kind.or(of_json) == Some(std::io::ErrorKind::BrokenPipe)
    })
}

#[expect(clippy::print_stderr, reason = "the command-line layer")]
fn could_not(error: &anyhow::Error, json: bool) -> ExitCode {
    let text = format!("{error:#}");
    eprintln!("could not check: {}", shown(&text));
    if json {
        let answer = serde_json::json!({
            "format": 1,
            "verdict": "could_not_check",
            "problems": [format!("{error:#}")],
        });
        let _ = writeln!(std::io::stdout(), "{answer:#}");
    }
    ExitCode::from(2)
}

/// The result of the requested check.
enum Answer {
    Trail(Box<Report>),
    Fleet(FleetReport),
    Receipt(Box<ProofReport>),
}

impl Answer {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Trail(report) => report.verdict,
            Self::Fleet(report) => report.verdict,
            Self::Receipt(report) => report.verdict,
        }
    }
}

fn print(answer: &Answer, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match (answer, json) {
        (Answer::Trail(report), true) => serde_json::to_writer_pretty(&mut out, report)?,
        (Answer::Fleet(report), true) => serde_json::to_writer_pretty(&mut out, report)?,
        (Answer::Receipt(report), true) => serde_json::to_writer_pretty(&mut out, report)?,
        (Answer::Trail(report), false) => write!(out, "{report}")?,
        (Answer::Fleet(report), false) => write!(out, "{report}")?,
        (Answer::Receipt(report), false) => write!(out, "{report}")?,
    }
    if json {
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

fn run(arguments: &Arguments) -> Result<Answer> {
    let options = options(arguments)?;
    match (&arguments.proof, &arguments.record) {
        (Some(proof), Some(record)) => {
            let proof = bytes(proof, MAX_PROOF_FILE_BYTES)?;
            // One byte more than the longest entry: the LF after it.
            let record = bytes(record, MAX_ENTRY_BYTES + 1)?;
            let report = verify_proof(&proof, &record, &options)?;
            Ok(Answer::Receipt(Box::new(report)))
        }
        _ if arguments.fleet => Ok(Answer::Fleet(fleet(arguments, &options)?)),
        _ => {
            let place = arguments.place.as_deref().unwrap_or_default();
            let report = trail(place, arguments, &options)?;
            Ok(Answer::Trail(Box::new(report)))
        }
    }
}

fn trail(place: &str, arguments: &Arguments, options: &Options) -> Result<Report> {
    let bar = Bar::new();
    let mut progress = |done, total| bar.show(done, total);
    let report = if !arguments.lines.is_empty() {
        lines(arguments, options, &mut progress)?
    } else if let Some(url) = &arguments.postgres {
        verify(&*database(url, arguments)?, options, &mut progress)?
    } else if place.starts_with("s3://") {
        verify(&bucket(place, arguments)?, options, &mut progress)?
    } else if place.starts_with("http://") || place.starts_with("https://") {
        verify(&site(place, arguments)?, options, &mut progress)?
    } else {
        let path = Path::new(place);
        let meta = std::fs::metadata(path).with_context(|| format!("cannot read {place}"))?;
        if meta.is_dir() {
            verify(&Directory::new(trail_in(path)), options, &mut progress)?
        } else {
            ensure!(meta.is_file(), "{place} is neither a directory nor a file");
            let file = File::open(path).with_context(|| format!("cannot read {place}"))?;
            verify_file(
                BufReader::with_capacity(1 << 20, file),
                place,
                options,
                &mut progress,
            )?
        }
    };
    bar.clear();
    Ok(report)
}

/// Checks all trails of a place.
fn fleet(arguments: &Arguments, options: &Options) -> Result<FleetReport> {
    let place = arguments.place.as_deref().unwrap_or_default();
    let (place, trails) = match &arguments.postgres {
        Some(url) => ("the database", databases(url, arguments)?),
        None if place.starts_with("s3://") => (place, buckets(place, arguments)?),
        None => (place, directories(place)?),
    };
    ensure!(
        trails.len() <= MAX_FLEET,
        "there are more than {MAX_FLEET} trails in {place}"
    );
    let fleet = FleetOptions {
        keys: keys(arguments)?,
        silent_after_ms: arguments.silent_after.saturating_mul(1_000),
    };
    let bar = Bar::new();
    let mut progress = |done, total| bar.show(done, total);
    let report = verify_fleet(place, trails, &fleet, options, &mut progress);
    bar.clear();
    Ok(report?)
}

/// The directories below this one.
fn directories(place: &str) -> Result<Vec<FleetTrail<'static>>> {
    let path = Path::new(place);
    ensure!(path.is_dir(), "{place} is not a directory");
    let mut names = Vec::new();
    Directory::new(path)
        .list("", &mut |name, is_directory| {
            if is_directory && names.len() <= MAX_FLEET {
                names.push(name.to_owned());
            }
        })
        .with_context(|| format!("cannot read {place}"))?;
    names.sort();
    let trails = names.into_iter().map(|name| {
        let trail = Directory::new(trail_in(&path.join(&name)));
        FleetTrail::new(name, || Ok(trail))
    });
    Ok(trails.collect())
}

fn lines(
    arguments: &Arguments,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report> {
    let checkpoint = match (&arguments.checkpoint, arguments.lines.last()) {
        (Some(path), _) => path.clone(),
        (None, Some(last)) if last.as_os_str() != "-" => {
            let mut cursor = last.clone().into_os_string();
            cursor.push(".cursor");
            PathBuf::from(cursor)
        }
        _ => anyhow::bail!(
            "lines from standard input need a checkpoint to compare them with: --checkpoint"
        ),
    };
    let note = bytes(&checkpoint, MAX_CURSOR_BYTES)?;
    let opened = arguments.lines.iter().map(|path| {
        let name = path.display().to_string();
        if name == "-" {
            let reader: Box<dyn BufRead> = Box::new(BufReader::new(std::io::stdin()));
            return Ok(Lines { name, reader });
        }
        match File::open(path) {
            Ok(file) => Ok(Lines {
                name,
                reader: Box::new(BufReader::with_capacity(1 << 20, file)),
            }),
            Err(source) => Err(VerifyError::Read { path: name, source }),
        }
    });
    let name = checkpoint.display().to_string();
    Ok(verify_lines(opened, (&name, &note), options, progress)?)
}

fn site(url: &str, arguments: &Arguments) -> Result<Site> {
    let site = Site::new(url)?;
    Ok(match &arguments.token_file {
        Some(file) => site.with_token(&small(file, MAX_TOKEN_BYTES)?)?,
        None => site,
    })
}

#[cfg(feature = "postgres")]
fn database(url: &str, arguments: &Arguments) -> Result<Box<dyn Source>> {
    let ca_file = arguments.postgres_ca.as_deref();
    let origin = arguments.origin.as_deref();
    let trail = livetrail_verify::PostgresTrail::open(url, origin, ca_file)?;
    Ok(Box::new(trail))
}

#[cfg(feature = "postgres")]
fn databases<'a>(url: &'a str, arguments: &'a Arguments) -> Result<Vec<FleetTrail<'a>>> {
    use livetrail_verify::PostgresTrail;

    let ca_file = arguments.postgres_ca.as_deref();
    let origins = PostgresTrail::origins(url, ca_file, MAX_FLEET + 1)?;
    let trails = origins.into_iter().map(|name| {
        let origin = name.clone();
        FleetTrail::new(name, move || {
            PostgresTrail::open(url, Some(&origin), ca_file)
        })
    });
    Ok(trails.collect())
}

#[cfg(not(feature = "postgres"))]
fn databases(url: &str, arguments: &Arguments) -> Result<Vec<FleetTrail<'static>>> {
    database(url, arguments).map(|_| Vec::new())
}

#[cfg(not(feature = "postgres"))]
fn database(_: &str, _: &Arguments) -> Result<Box<dyn Source>> {
    anyhow::bail!(
        "this program was built without postgres: `cargo install --path crates/livetrail-verify --features postgres`"
    )
}

/// The trail itself, or the one in a server's data directory.
fn trail_in(path: &Path) -> PathBuf {
    let is_trail = |path: &Path| {
        let marks = ["checkpoint", "private/log.json"];
        marks.iter().any(|mark| path.join(mark).exists())
    };
    let inside = path.join("trail");
    if !is_trail(path) && is_trail(&inside) {
        inside
    } else {
        path.to_owned()
    }
}

#[cfg(feature = "s3")]
fn bucket(place: &str, arguments: &Arguments) -> Result<livetrail_verify::BucketSite> {
    let (endpoint, credentials) = server_of_bucket(arguments)?;
    let bucket = livetrail_verify::BucketSite::open(place, endpoint, credentials);
    Ok(bucket?)
}

#[cfg(feature = "s3")]
fn server_of_bucket(
    arguments: &Arguments,
) -> Result<(livetrail_s3::Endpoint, livetrail_s3::Credentials)> {
    use livetrail_s3::{CredentialSource, Endpoint};

    let region = &arguments.s3_region;
    let endpoint = match &arguments.s3_endpoint {
        Some(url) => Endpoint::new(url, region, true)?,
        None => Endpoint::amazon(region)?,
    };
    Ok((endpoint, CredentialSource::Environment.load()?))
}

#[cfg(feature = "s3")]
fn buckets(place: &str, arguments: &Arguments) -> Result<Vec<FleetTrail<'static>>> {
    use livetrail_verify::BucketSite;

    let (endpoint, credentials) = server_of_bucket(arguments)?;
    let names = BucketSite::names(place, endpoint.clone(), credentials.clone(), MAX_FLEET + 1)?;
    let trails = names.into_iter().map(|name| {
        let url = format!("{}/{name}", place.trim_end_matches('/'));
        let (endpoint, credentials) = (endpoint.clone(), credentials.clone());
        FleetTrail::new(name, move || BucketSite::open(&url, endpoint, credentials))
    });
    Ok(trails.collect())
}

#[cfg(not(feature = "s3"))]
fn buckets(place: &str, arguments: &Arguments) -> Result<Vec<FleetTrail<'static>>> {
    bucket(place, arguments).map(|_| Vec::new())
}

#[cfg(not(feature = "s3"))]
fn bucket(_place: &str, _: &Arguments) -> Result<Directory> {
    anyhow::bail!("this livetrail-verify cannot read buckets: build it with `--features s3`")
}

fn options(arguments: &Arguments) -> Result<Options> {
    let mut policy = match &arguments.policy {
        Some(path) => Policy::parse(&small(path, MAX_POLICY_BYTES)?)
            .with_context(|| path.display().to_string())?,
        None => Policy::default(),
    };
    policy.add_file(keys(arguments)?)?;
    let mut against = Vec::new();
    for path in &arguments.against {
        let note = small(path, livetrail_tlog::MAX_NOTE_BYTES)?;
        against.push((path.display().to_string(), note.into_bytes()));
    }
    let mut openings = Openings::default();
    for path in &arguments.opening {
        let file = bytes(path, MAX_OPENING_FILE_BYTES)?;
        openings.read(&path.display().to_string(), &file)?;
    }
    for question in &arguments.personal_of {
        match question {
            Question::Session(session) => openings.ask_session(*session)?,
            Question::Entry(index) => openings.ask_entry(*index)?,
        }
    }
    Ok(Options {
        policy,
        origin: arguments.origin.clone(),
        against,
        threads: arguments.threads,
        strict: arguments.strict,
        boot_records: !arguments.without_boot_records,
        heartbeat_s: arguments.heartbeat,
        without_head: arguments.without_head,
        now_ms: Some(arguments.as_of.unwrap_or_else(now_ms)),
        openings,
        limits: Limits::within(Duration::from_secs(arguments.time_limit)),
    })
}

/// The keys of `--vkey`.
fn keys(arguments: &Arguments) -> Result<KeyFile> {
    let mut keys = KeyFile::default();
    for text in &arguments.vkey {
        if text.contains('+') && !Path::new(text).exists() {
            keys.read(text)?;
            continue;
        }
        let mut found = KeyFile::default();
        let file = small(Path::new(text), MAX_POLICY_BYTES)?;
        found.read(&file)?;
        ensure!(!found.is_empty(), "there is no key in {text}");
        keys.read(&file)?;
    }
    Ok(keys)
}

/// The subject of `--personal-of`.
#[derive(Clone, Copy)]
enum Question {
    Session(Uuid),
    Entry(u64),
}

fn question(text: &str) -> Result<Question, String> {
    match (text.parse(), Uuid::try_parse(text)) {
        (Ok(index), _) => Ok(Question::Entry(index)),
        (Err(_), Ok(session)) => Ok(Question::Session(session)),
        _ => Err("neither the id of a session nor the index of an entry".to_owned()),
    }
}

/// A time in the usual notation, in milliseconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    time.and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .ok_or_else(|| {
            "not a time: 2026-11-30T12:00:00Z, or a date such as 2026-11-30 (UTC)".to_owned()
        })
}

#[expect(
    clippy::disallowed_methods,
    reason = "how old the newest record is, and nothing else"
)]
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn small(path: &Path, most: usize) -> Result<String> {
    let text = String::from_utf8(bytes(path, most)?);
    text.with_context(|| format!("{} is not text", path.display()))
}

fn bytes(path: &Path, most: usize) -> Result<Vec<u8>> {
    let name = path.to_string_lossy();
    if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(u64::try_from(most)?.saturating_add(1))
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        ensure!(
            bytes.len() <= most,
            "standard input has more than {most} bytes"
        );
        return Ok(bytes);
    }
    let found = Directory::new("").read(&name, most);
    found
        .with_context(|| format!("cannot read {name}"))?
        .with_context(|| format!("there is no file {name}"))
}

/// The progress, shown only on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5))
        } else {
            ProgressBar::hidden()
        };
        let style = "{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, done: u64, total: u64) {
        if total > 0 && self.0.length() != Some(total) {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

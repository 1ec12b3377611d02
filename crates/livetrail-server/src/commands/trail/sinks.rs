//! `livetrail trail sinks`: asks the sinks that follow the trail.

mod args;
#[cfg(feature = "kafka")]
mod kafka;

use std::{process::ExitCode, sync::Arc, time::Duration};

use livetrail_ledger::{Cursor, Reader, RealStore, SharedStore};
use livetrail_replica::{PersonalMode, ReplicaError, ReplicaSink, examine};
use livetrail_trail::{chain, trail_directory};
use serde::Serialize;

pub(crate) use args::{InitKafkaArgs, InitPostgresArgs, InitS3Args, ReadKafkaArgs};

use super::show::table;
#[cfg(not(all(feature = "kafka", feature = "postgres", feature = "s3")))]
use crate::serve::not_built;
use crate::{
    cli::{SinksInit, SinksRead, TrailSinks},
    commands::runtime,
    config::{ConfigFileAndData, Span},
    output::{Failure, Outcome, say},
    serve::configured_sinks,
};

/// Ask each configured sink how far it is, and whether it could take records now.
///
/// Works with and without a running server.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail sinks status --config livetrail.toml
  livetrail trail sinks status --config livetrail.toml --json

Exit codes: 0 every sink answers and holds no more than the trail; 1 a sink does not; 2 the configuration or the trail cannot be read.")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) server: ConfigFileAndData,
    /// How long to wait for each sink.
    #[arg(long, value_name = "SPAN", default_value = "5s")]
    pub(crate) timeout: Span,
    /// Print the answers as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(super) fn run(command: &TrailSinks) -> Outcome {
    match command {
        TrailSinks::Status(args) => status(args),
        #[cfg(feature = "postgres")]
        TrailSinks::Init(SinksInit::Postgres(args)) => postgres::init(args),
        #[cfg(not(feature = "postgres"))]
        TrailSinks::Init(SinksInit::Postgres(_)) => {
            Err(Failure::unusable(anyhow::anyhow!(not_built("postgres"))))
        }
        #[cfg(feature = "kafka")]
        TrailSinks::Init(SinksInit::Kafka(args)) => kafka::init(args),
        #[cfg(feature = "kafka")]
        TrailSinks::Read(SinksRead::Kafka(args)) => kafka::read(args),
        #[cfg(not(feature = "kafka"))]
        TrailSinks::Init(SinksInit::Kafka(_)) | TrailSinks::Read(SinksRead::Kafka(_)) => {
            Err(Failure::unusable(anyhow::anyhow!(not_built("kafka"))))
        }
        #[cfg(feature = "s3")]
        TrailSinks::Init(SinksInit::S3(args)) => s3::init(args),
        #[cfg(not(feature = "s3"))]
        TrailSinks::Init(SinksInit::S3(_)) => {
            Err(Failure::unusable(anyhow::anyhow!(not_built("s3"))))
        }
    }
}

/// The answer of a sink.
#[derive(Debug, Serialize)]
struct Answer {
    name: String,
    required: bool,
    /// `once` or `at_least_once`.
    delivery: &'static str,
    /// The next index that the sink needs.
    cursor: Option<u64>,
    /// Number of records that the trail has sealed and the sink does not have.
    lag_records: Option<u64>,
    /// `none`; `opening`, where names can be erased; `clear`, where nobody can erase them.
    personal: &'static str,
    /// The erasures that records below this index name are applied.
    erased_up_to: Option<u64>,
    /// The error, if any.
    error: Option<String>,
}

fn status(args: &StatusArgs) -> Outcome {
    let config = args.server.load().map_err(Failure::configuration)?;
    let sinks = configured_sinks(&config.sink, &config.data).map_err(Failure::unusable)?;
    let store: SharedStore = Arc::new(RealStore::new(trail_directory(&config.data)));
    let reader = Arc::new(Reader::open(store).map_err(Failure::unusable)?);
    let mut answers = Vec::new();
    for (sink, settings) in sinks.sinks().zip(&config.sink) {
        let mut answer = ask(sink, &reader, args.timeout.0)?;
        answer.required = settings.required;
        answers.push(answer);
    }
    if args.json {
        say(&serde_json::to_string_pretty(&answers)?)?;
    } else {
        let sealed = reader.checkpoint().map_err(Failure::unusable)?;
        show(&answers, sealed.head().size)?;
    }
    let all_well = answers.iter().all(|answer| answer.error.is_none());
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Asks a sink, and judges the answer as a server does. The call has its own runtime, so that tasks
/// of the sink end with it.
fn ask(
    sink: &Arc<dyn ReplicaSink>,
    reader: &Arc<Reader>,
    timeout: Duration,
) -> anyhow::Result<Answer> {
    // The cursor is read first, because a server that runs at the same time may advance it.
    let had = known(reader, sink.name())?;
    let erases = sink.personal() == PersonalMode::Opening;
    let answer = runtime()?.block_on(async {
        let asked = async {
            let cursor = examine(sink.as_ref(), reader).await?.next();
            let erased = match erases {
                true => Some(sink.erasure_cursor(reader.origin()).await?),
                false => None,
            };
            Ok::<_, ReplicaError>((cursor, erased))
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer.map_err(|error| chain(&error)),
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    });
    // This comes last, because a server that runs at the same time seals, and its sinks continue.
    let sealed = reader.checkpoint()?.head().size;
    let (cursor, erased_up_to) = answer.as_ref().ok().copied().unzip();
    let lost = cursor.filter(|cursor| *cursor < had).map(|cursor| {
        format!("it has {cursor} records and had {had}: was it emptied, or an older copy put in its place?")
    });
    Ok(Answer {
        name: sink.name().to_owned(),
        required: true,
        delivery: sink.delivery().label(),
        cursor,
        lag_records: cursor.map(|cursor| sealed.saturating_sub(cursor)),
        personal: sink.personal().label(),
        erased_up_to: erased_up_to.flatten(),
        error: answer.err().or(lost),
    })
}

/// The sink's last position, from the trail's own copy of its cursor. It is 0 if the sink never
/// followed.
fn known(reader: &Reader, name: &str) -> anyhow::Result<u64> {
    let cursors = reader.cursors()?;
    let mut of_it = cursors.iter().filter(|(known, _)| known == name);
    Ok(match of_it.next() {
        Some((_, Cursor::Required(next) | Cursor::Optional(next))) => *next,
        _ => 0,
    })
}

fn show(answers: &[Answer], sealed: u64) -> anyhow::Result<()> {
    let number =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let rows = answers.iter().map(|answer| {
        vec![
            answer.name.clone(),
            if answer.required { "yes" } else { "no" }.to_owned(),
            answer.delivery.to_owned(),
            number(answer.cursor),
            number(answer.lag_records),
            match answer.erased_up_to {
                Some(index) => format!("{}, erased up to {index}", answer.personal),
                None => answer.personal.to_owned(),
            },
            answer.error.clone().unwrap_or_else(|| "ok".to_owned()),
        ]
    });
    let mut answers = table([
        "sink", "required", "delivery", "holds", "lacks", "names", "state",
    ]);
    answers.add_rows(rows);
    say(&answers.to_string())?;
    say(&format!("{sealed} records are sealed"))
}

#[cfg(feature = "postgres")]
mod postgres {
    //! `livetrail trail sinks init postgres`.

    use std::process::ExitCode;

    use livetrail_sinks::postgres::{PostgresTarget, set_up};

    use super::InitPostgresArgs;
    use crate::{
        commands::runtime,
        config::{Secret, SecretText},
        output::{Failure, Outcome, say},
    };

    pub(super) fn init(args: &InitPostgresArgs) -> Outcome {
        let target = target(args).map_err(Failure::unusable)?;
        let done = runtime()?.block_on(set_up(&target));
        let done = done.map_err(anyhow::Error::from)?;
        let place = target.place();
        if done.from == done.to {
            say(&format!(
                "{place} has schema version {}, as it should",
                done.to
            ))?;
        } else {
            say(&format!(
                "made schema version {} at {place} (was {}). Give the role livetrail_writer to whom the server logs in as, and livetrail_reader to \
                 auditors",
                done.to, done.from
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn target(args: &InitPostgresArgs) -> anyhow::Result<PostgresTarget> {
        let url = args.url.clone().map(SecretText::new);
        let address = Secret::of("url").itself(url.as_ref());
        let address = address.file(args.url_file.as_deref());
        if !address.is_given() {
            anyhow::bail!("needs --url, --url-file or LIVETRAIL_POSTGRES_ADMIN_URL");
        }
        let target = PostgresTarget::parse(address.read()?.expose())?;
        Ok(match &args.ca_file {
            Some(file) => target.with_ca_file(file),
            None => target,
        })
    }
}

#[cfg(feature = "s3")]
mod s3 {
    //! `livetrail trail sinks init s3`.

    use std::{process::ExitCode, sync::Arc};

    use anyhow::Context as _;
    use livetrail_engine::SystemClock;
    use livetrail_sinks::s3::{set_up, unix_seconds};

    use super::InitS3Args;
    use crate::{
        commands::runtime,
        output::{Failure, Outcome, say},
    };

    pub(super) fn init(args: &InitS3Args) -> Outcome {
        let config = args.file.load(None).map_err(Failure::configuration)?;
        let mut any = false;
        for sink in &config.sink {
            let Some(settings) = &sink.s3 else { continue };
            any = true;
            let options = settings.options().map_err(Failure::unusable)?;
            let clock = unix_seconds(Arc::new(SystemClock::new()));
            let done = runtime()?.block_on(set_up(options, clock));
            let done = done.with_context(|| format!("sink {}", sink.name))?;
            let bucket = &settings.bucket;
            say(&format!("sink {}: bucket {bucket} {done}", sink.name))?;
        }
        if !any {
            let none = anyhow::anyhow!("no [[sink]] of the configuration has a [sink.s3]");
            return Err(Failure::unusable(none));
        }
        Ok(ExitCode::SUCCESS)
    }
}

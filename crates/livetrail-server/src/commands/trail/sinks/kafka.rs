//! `livetrail trail sinks init kafka` and `read kafka`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use livetrail_ledger::{Reader, RealStore, SharedStore};
use livetrail_sinks::kafka::{KafkaTarget, ReadBack, read_back, read_back_all};
use livetrail_sinks::settings::{Kafka, Personal, Sink};
use livetrail_trail::{chain, trail_directory};

use super::args::{InitKafkaArgs, KafkaLogin, ReadKafkaArgs};
use crate::{
    config::{Config, Secret},
    output::{Failure, Outcome, say},
};

/// Creates the missing topics.
pub(super) fn init(args: &InitKafkaArgs) -> Outcome {
    let config = args.file.load(None).map_err(Failure::configuration)?;
    let mut weak = 0_u32;
    for (sink, settings) in topics(&config, None).map_err(Failure::unusable)? {
        let name = &sink.name;
        let mut target = target(settings, &args.login).map_err(Failure::unusable)?;
        if sink.personal == Personal::Opening {
            target = settings
                .keeping_openings(target)
                .map_err(Failure::unusable)?;
        }
        let context = || format!("sink {name}");
        let entries = settings.set_up(&target, args.partitions, args.replicas);
        let entries = entries.with_context(context)?;
        let partitions = u16::try_from(entries.partitions).ok();
        let mut made = vec![(target.topic(), entries)];
        if let Some(topic) = target.openings() {
            let openings = settings.set_up_openings(&target, partitions, args.replicas);
            made.extend(openings.with_context(context)?.map(|done| (topic, done)));
        }
        for (topic, done) in made {
            say(&format!("sink {name}: topic {topic} {done}"))?;
            if let Some(weakness) = done.weakness {
                weak = weak.saturating_add(1);
                crate::output::complain(&format!("error: sink {name}: topic {topic}: {weakness}"));
            }
        }
    }
    Ok(exit(weak == 0))
}

/// Writes the records of a log from a topic into a directory.
pub(super) fn read(args: &ReadKafkaArgs) -> Outcome {
    let config = args.server.load().map_err(Failure::configuration)?;
    let found = topics(&config, args.sink.as_deref()).map_err(Failure::unusable)?;
    let [(_, settings)] = found.as_slice() else {
        let names: Vec<_> = found.iter().map(|(sink, _)| sink.name.as_str()).collect();
        let several = anyhow::anyhow!(
            "several sinks are topics: {}; name one with --sink",
            names.join(", ")
        );
        return Err(Failure::unusable(several));
    };
    let target = target(settings, &args.login).map_err(Failure::unusable)?;
    if args.all {
        return read_all(&target, args);
    }
    let origin = match &args.origin {
        Some(origin) => origin.clone(),
        None => origin_of(&config).map_err(Failure::unusable)?,
    };
    let read = read_back(&target, &origin, &args.to)?;
    say(&format!(
        "{}: wrote {} of {} entries of {origin} to {}: all that its newest checkpoint covers. Now: livetrail-verify {} --vkey FILE",
        target.place(),
        read.size,
        read.entries,
        args.to.display(),
        args.to.display(),
    ))?;
    Ok(exit(is_whole(&read)))
}

/// Writes the records of each log of a topic.
fn read_all(target: &KafkaTarget, args: &ReadKafkaArgs) -> Outcome {
    let copies = read_back_all(target, &args.to)?;
    let mut all_whole = true;
    for copy in &copies {
        let (partition, origin) = (copy.partition, &copy.origin);
        match &copy.copied {
            Ok(read) => {
                say(&format!(
                    "partition {partition}: wrote {} of {} entries of {origin} to {}",
                    read.size,
                    read.entries,
                    copy.directory.display()
                ))?;
                all_whole &= is_whole(read);
            }
            Err(error) => {
                let error = chain(error);
                crate::output::complain(&format!("error: partition {partition}: {error}"));
                all_whole = false;
            }
        }
    }
    say(&format!(
        "{}: {} logs. Now: livetrail-verify --fleet {} --vkey FILE --vkey FILE",
        target.place(),
        copies.len(),
        args.to.display()
    ))?;
    Ok(exit(all_whole && !copies.is_empty()))
}

/// Whether a copy has all that the topic has. Prints what it lacks.
fn is_whole(read: &ReadBack) -> bool {
    if let Some(damage) = &read.damage {
        crate::output::complain(&format!(
            "error: the topic is spoiled behind these: {damage}. What stands behind that was not read"
        ));
    }
    if read.unreadable > 0 {
        crate::output::complain(&format!(
            "error: {} checkpoints in the topic cannot be read, so that fewer entries are covered than might be",
            read.unreadable
        ));
    }
    read.damage.is_none() && read.unreadable == 0
}

fn exit(is_well: bool) -> ExitCode {
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The sinks whose destination is a topic: all of them, or only the one with this name.
fn topics<'c>(
    config: &'c Config,
    name: Option<&str>,
) -> anyhow::Result<Vec<(&'c Sink, &'c Kafka)>> {
    let sinks = config
        .sink
        .iter()
        .filter(|sink| name.is_none_or(|name| name == sink.name));
    let found: Vec<_> = sinks
        .filter_map(|sink| Some((sink, sink.kafka.as_ref()?)))
        .collect();
    if found.is_empty() {
        match name {
            Some(name) => {
                anyhow::bail!("the configuration has no [[sink]] {name} with a [sink.kafka]")
            }
            None => anyhow::bail!("no [[sink]] of the configuration has a [sink.kafka]"),
        }
    }
    Ok(found)
}

fn target(settings: &Kafka, login: &KafkaLogin) -> anyhow::Result<KafkaTarget> {
    match (&login.user, &login.password_file) {
        (Some(user), Some(file)) => {
            let password = Secret::of("password").file(Some(file)).read()?;
            let place = settings.without_login()?;
            Ok(place.with_user(user).with_password(password.expose()))
        }
        _ => Ok(settings.target()?),
    }
}

fn origin_of(config: &Config) -> anyhow::Result<String> {
    let directory = trail_directory(&config.data);
    let store: SharedStore = Arc::new(RealStore::new(directory.clone()));
    let reader = Reader::open(store).with_context(|| {
        format!(
            "no trail in {} says which log to read: name it with --origin",
            directory.display()
        )
    })?;
    Ok(reader.origin().to_owned())
}

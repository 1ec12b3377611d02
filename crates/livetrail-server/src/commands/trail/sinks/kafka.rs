//! `livetrail trail sinks init kafka` and `read kafka`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use livetrail_ledger::{Reader, RealStore, SharedStore};
use livetrail_sinks::kafka::{KafkaTarget, read_back};
use livetrail_sinks::settings::Kafka;
use livetrail_trail::trail_directory;

use super::args::{InitKafkaArgs, KafkaLogin, ReadKafkaArgs};
use crate::{
    config::{Config, Secret},
    output::{Failure, Outcome, say},
};

/// Creates the missing topics.
pub(super) fn init(args: &InitKafkaArgs) -> Outcome {
    let config = args.file.load(None).map_err(Failure::configuration)?;
    let mut weak = 0_u32;
    for (name, settings) in topics(&config, None).map_err(Failure::unusable)? {
        let target = target(settings, &args.login).map_err(Failure::unusable)?;
        let done = settings.set_up(&target, args.partitions, args.replicas);
        let done = done.with_context(|| format!("sink {name}"))?;
        say(&format!("sink {name}: topic {} {done}", target.topic()))?;
        if let Some(weakness) = done.weakness {
            weak = weak.saturating_add(1);
            crate::output::complain(&format!("error: sink {name}: {weakness}"));
        }
    }
    Ok(if weak == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Writes the records of a log from a topic into a directory.
pub(super) fn read(args: &ReadKafkaArgs) -> Outcome {
    let config = args.server.load().map_err(Failure::configuration)?;
    let found = topics(&config, args.sink.as_deref()).map_err(Failure::unusable)?;
    let [(_, settings)] = found.as_slice() else {
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        let several = anyhow::anyhow!(
            "several sinks are topics: {}; name one with --sink",
            names.join(", ")
        );
        return Err(Failure::unusable(several));
    };
    let target = target(settings, &args.login).map_err(Failure::unusable)?;
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
    Ok(if read.damage.is_none() && read.unreadable == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The sinks whose destination is a topic: all of them, or only the one with this name.
fn topics<'c>(config: &'c Config, name: Option<&str>) -> anyhow::Result<Vec<(&'c str, &'c Kafka)>> {
    let sinks = config
        .sink
        .iter()
        .filter(|sink| name.is_none_or(|name| name == sink.name));
    let found: Vec<_> = sinks
        .filter_map(|sink| Some((sink.name.as_str(), sink.kafka.as_ref()?)))
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

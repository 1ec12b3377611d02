//! From a file, variables and flags to a checked [`Config`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use livetrail_ledger::{LedgerError, MAX_WITNESSES};
use toml::{Table, Value};

use super::{
    Config, ConfigError, LogFormat, NamedSecret, Secret, SecretText,
    place::{Place, Source},
    secret::SecretError,
    types::{LogFilter, Span},
};

/// Longer, and players would run dry between two writes.
const MAX_SEND_INTERVAL: Duration = Duration::from_secs(1);

/// Longer, and an auditor would wait too long for what was just recorded.
const MAX_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Longer, and best-effort records would be at risk for too long.
const MAX_COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// A segment of the write-ahead log holds at least one commit, which has 8 MiB at most, and is no larger than this.
const WAL_SEGMENT_SIZES: std::ops::RangeInclusive<usize> = (9 << 20)..=(1 << 30);

/// More often, and a witness would see to nothing else; less often, and a rollback goes unseen for too long.
const WITNESS_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3_600);

/// Sooner, and one lost packet would be told of; later, and nobody would know for days that nobody watches.
const WITNESS_OVERDUE_AFTERS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Each has a thread, and two batches in memory.
const MAX_SINKS: usize = 32;

/// Variables that set any key: `LIVETRAIL__LIMITS__IDLE_TIMEOUT=1m` is `limits.idle_timeout`.
const VARIABLE_PREFIX: &str = "LIVETRAIL__";

/// What the command line and its variables set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) data: Option<PathBuf>,
    pub(crate) rtmp: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) log: Option<LogFilter>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) api_token: Option<SecretText>,
}

impl Overrides {
    /// What variables set that no flag goes with: the API's token, which a flag would show to everybody on the machine.
    pub(crate) fn from_environment() -> Self {
        let token = std::env::var("LIVETRAIL_API_TOKEN").ok();
        Self {
            api_token: token.filter(|token| !token.is_empty()).map(SecretText::new),
            ..Self::default()
        }
    }
}

/// The process's variables, as far as they are text.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Variables that are read elsewhere than in [`load`]: by the command line, and by [`Overrides::from_environment`].
const KNOWN_VARIABLES: [&str; 10] = [
    "LIVETRAIL_CONFIG",
    "LIVETRAIL_DATA",
    "LIVETRAIL_RTMP",
    "LIVETRAIL_HTTP",
    "LIVETRAIL_LOG",
    "LIVETRAIL_LOG_FORMAT",
    "LIVETRAIL_API_TOKEN",
    "LIVETRAIL_POSTGRES_ADMIN_URL",
    "LIVETRAIL_TOKEN",
    "LIVETRAIL_TOKEN_KEY",
];

/// Says which variables look like ours and are not: misspelt, or set by a container platform for its own ends, so that this is no
/// error.
pub(crate) fn warn_of_unknown_variables() {
    for (name, _) in variables() {
        let is_ours = name.starts_with("LIVETRAIL_") && !name.starts_with(VARIABLE_PREFIX);
        if is_ours && !KNOWN_VARIABLES.contains(&name.as_str()) {
            tracing::warn!(name, "this variable means nothing here");
        }
    }
}

/// Reads, overrides and checks.
///
/// # Errors
/// A file that cannot be read, and the first setting that is wrong.
pub(crate) fn load(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let text = match path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?,
    };
    let source = Source {
        name: path.map_or_else(String::new, |path| path.display().to_string()),
        text: &text,
    };
    let mut config = parse(&source)?;
    let mut set: Table = text.parse().unwrap_or_default();
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect();
    variables.sort();
    for (name, value) in variables {
        config = set_by_variable(&mut set, &name, &value)?;
    }
    apply(&mut config, overrides);
    let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let trail = &mut config.trail;
    beside(
        base,
        [&mut trail.signer_key_file, &mut trail.cosigner_key_file],
    );
    for sink in &mut config.sink {
        sink.resolve(base);
    }
    read_secrets(&mut config, base, &source)?;
    check(&config, &source)?;
    Ok(config)
}

/// Files are named from where the configuration file is.
pub(super) fn beside<'a>(base: &Path, files: impl IntoIterator<Item = &'a mut Option<PathBuf>>) {
    for file in files {
        *file = file.take().map(|file| base.join(file));
    }
}

fn parse(source: &Source<'_>) -> Result<Config, ConfigError> {
    toml::from_str(source.text).map_err(|error| {
        let mut place = source.at(error.span());
        if error.message().starts_with("missing field") {
            // The place is that of the table; which key it lacks is in the message.
            place.line = None;
        }
        let is_secret = place
            .key
            .as_deref()
            .is_some_and(|key| key.ends_with("secret"));
        ConfigError::Setting {
            place,
            problem: if is_secret {
                // The message would repeat it.
                "not a secret; allowed is text in quotes".to_owned()
            } else {
                error.message().to_owned()
            },
        }
    })
}

/// Sets one key, and checks at once, so that what is wrong is this variable's fault.
fn set_by_variable(set: &mut Table, name: &str, text: &str) -> Result<Config, ConfigError> {
    let wrong = |problem| ConfigError::Setting {
        place: Place {
            origin: Some(name.to_owned()),
            ..Place::default()
        },
        problem,
    };
    let key = name.trim_start_matches(VARIABLE_PREFIX).to_lowercase();
    let parts: Vec<&str> = key.split("__").collect();
    let mut last_error = String::new();
    // A value is TOML where that fits (`5`, `true`, `["10.0.0.0/8"]`), else text.
    let as_toml = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"));
    let as_text = Value::String(text.to_owned());
    for value in as_toml.into_iter().chain([as_text]) {
        let mut candidate = set.clone();
        if !insert(&mut candidate, &parts, value) {
            return Err(wrong(format!("{} is not a table", parts.join("."))));
        }
        match Config::try_from_table(candidate.clone()) {
            Ok(config) => {
                *set = candidate;
                return Ok(config);
            }
            Err(error) => last_error = error,
        }
    }
    Err(wrong(format!("{}: {last_error}", parts.join("."))))
}

fn insert(table: &mut Table, path: &[&str], value: Value) -> bool {
    match path {
        [] => false,
        [key] => {
            table.insert((*key).to_owned(), value);
            true
        }
        [key, rest @ ..] => table
            .entry((*key).to_owned())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .is_some_and(|inner| insert(inner, rest, value)),
    }
}

impl Config {
    fn try_from_table(table: Table) -> Result<Self, String> {
        table
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())
    }
}

fn apply(config: &mut Config, overrides: &Overrides) {
    let overrides = overrides.clone();
    if let Some(data) = overrides.data {
        config.data = data;
    }
    if let Some(rtmp) = overrides.rtmp {
        config.rtmp.listen = rtmp;
    }
    if let Some(http) = overrides.http {
        config.http.listen = http;
    }
    if let Some(filter) = overrides.log {
        config.log.filter = filter;
    }
    if let Some(format) = overrides.log_format {
        config.log.format = format;
    }
    if let Some(token) = overrides.api_token {
        config.api.token.push(NamedSecret {
            name: "LIVETRAIL_API_TOKEN".to_owned(),
            secret: Some(token),
            secret_file: None,
        });
    }
}

/// Puts the secrets that stand in files of their own into the configuration.
fn read_secrets(config: &mut Config, base: &Path, source: &Source<'_>) -> Result<(), ConfigError> {
    let keys = config
        .auth
        .key
        .iter_mut()
        .enumerate()
        .map(|(i, key)| (format!("auth.key[{i}]"), &mut key.secret, &key.secret_file));
    let named = [
        ("auth.token_key", &mut config.auth.token_key),
        ("api.token", &mut config.api.token),
    ];
    let named = named.into_iter().flat_map(|(name, all)| {
        all.iter_mut()
            .enumerate()
            .map(move |(i, key)| (format!("{name}[{i}]"), &mut key.secret, &key.secret_file))
    });
    for (key, secret, file) in keys.chain(named) {
        let path = file.as_ref().map(|file| base.join(file));
        let places = Secret::of("secret").itself(secret.as_ref());
        let read = places.file(path.as_deref()).read();
        *secret = Some(read.map_err(|error| without_secret(error, source, &key))?);
    }
    Ok(())
}

fn without_secret(error: SecretError, source: &Source<'_>, key: &str) -> ConfigError {
    let place = match error.key() {
        Some(own) => source.of(&format!("{key}.{own}")),
        None => source.of(key),
    };
    match error {
        SecretError::File { path, source, .. } => ConfigError::SecretFile {
            place,
            path,
            source,
        },
        error => ConfigError::Setting {
            place,
            problem: error.to_string(),
        },
    }
}

/// What no single value shows.
fn check(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    let wrong = |key: &str, problem: String| ConfigError::Setting {
        place: source.of(key),
        problem,
    };
    let at_least_one = [
        ("rtmp.max_connections", config.rtmp.max_connections),
        ("http.max_connections", config.http.max_connections),
        ("audit.capacity", config.audit.capacity),
    ];
    for (key, value) in at_least_one {
        if value == 0 {
            return Err(wrong(key, "must be at least 1".to_owned()));
        }
    }
    let not_zero = [
        ("rtmp.handshake_timeout", config.rtmp.handshake_timeout),
        ("rtmp.command_timeout", config.rtmp.command_timeout),
        ("rtmp.write_stall_timeout", config.rtmp.write_stall_timeout),
        ("http.header_timeout", config.http.header_timeout),
        ("http.write_stall_timeout", config.http.write_stall_timeout),
        ("audit.deadline", config.audit.deadline),
        ("audit.heartbeat", config.audit.heartbeat),
        (
            "trail.checkpoint_interval",
            config.trail.checkpoint_interval,
        ),
        ("shutdown_timeout", config.shutdown_timeout),
    ];
    for (key, Span(value)) in not_zero {
        if value.is_zero() {
            return Err(wrong(key, "must be longer than 0".to_owned()));
        }
    }
    for (key, interval) in [
        ("rtmp.send_interval", config.rtmp.send_interval),
        ("http.send_interval", config.http.send_interval),
    ] {
        if interval.0 > MAX_SEND_INTERVAL {
            return Err(wrong(key, "must be at most 1s".to_owned()));
        }
    }
    check_trail(&config.trail, &wrong)?;
    check_sinks(&config.sink, &wrong)?;
    check_applications(config, &wrong)?;
    check_names(config, &wrong)?;
    if let Err(error) = config.auth.chain() {
        let at = config
            .auth
            .token_key
            .iter()
            .position(|key| key.secret.as_ref().is_none_or(|s| s.expose().len() < 32))
            .unwrap_or(0);
        return Err(wrong(&format!("auth.token_key[{at}]"), error.to_string()));
    }
    let api = config.api.listen.unwrap_or(config.http.listen);
    if !api.ip().is_loopback() && config.api.token.is_empty() {
        let key = if config.api.listen.is_some() {
            "api.listen"
        } else {
            "http.listen"
        };
        return Err(wrong(
            key,
            format!(
                "the API would listen on {api}, which others can reach, without a token; allowed is one of: a token \
                 ([[api.token]] or LIVETRAIL_API_TOKEN), an api.listen on a loopback address such as 127.0.0.1:8081 \
                 (viewers then stay on http.listen), or an http.listen on a loopback address"
            ),
        ));
    }
    if config.api.listen == Some(config.http.listen) && config.http.listen.port() != 0 {
        return Err(wrong(
            "api.listen",
            "is the same as http.listen; leave it out to serve both there".to_owned(),
        ));
    }
    Ok(())
}

fn check_trail(
    trail: &super::Trail,
    wrong: &dyn Fn(&str, String) -> ConfigError,
) -> Result<(), ConfigError> {
    if trail.checkpoint_interval.0 > MAX_CHECKPOINT_INTERVAL {
        return Err(wrong(
            "trail.checkpoint_interval",
            "must be at most 1m".to_owned(),
        ));
    }
    if trail.commit_interval.0 > MAX_COMMIT_INTERVAL {
        return Err(wrong(
            "trail.commit_interval",
            "must be at most 1s".to_owned(),
        ));
    }
    if !WAL_SEGMENT_SIZES.contains(&trail.wal_segment_size.0) {
        return Err(wrong(
            "trail.wal_segment_size",
            "must be 9MiB to 1GiB".to_owned(),
        ));
    }
    if trail.retention.is_some_and(|span| span < Span::secs(10)) {
        return Err(wrong("trail.retention", "must be at least 10s".to_owned()));
    }
    if !WITNESS_INTERVALS.contains(&trail.witness_interval.0) {
        return Err(wrong(
            "trail.witness_interval",
            "must be 100ms to 1h".to_owned(),
        ));
    }
    if !WITNESS_OVERDUE_AFTERS.contains(&trail.witness_overdue_after.0) {
        return Err(wrong(
            "trail.witness_overdue_after",
            "must be 1s to 1d".to_owned(),
        ));
    }
    for (i, witness) in trail.witness.iter().enumerate() {
        if let Err(error) = witness.witness() {
            let key = match &error {
                LedgerError::WitnessUrl { .. } => "url",
                _ => "key",
            };
            let problem = crate::output::chain(&error);
            return Err(wrong(&format!("trail.witness[{i}].{key}"), problem));
        }
        let before = trail.witness.iter().take(i);
        if before.into_iter().any(|other| other.key == witness.key) {
            let problem = "the same witness is given twice".to_owned();
            return Err(wrong(&format!("trail.witness[{i}].key"), problem));
        }
    }
    if trail.witness.len() > MAX_WITNESSES {
        let problem = format!("must be at most {MAX_WITNESSES}");
        return Err(wrong("trail.witness", problem));
    }
    if trail.origin.as_ref().is_some_and(String::is_empty) {
        return Err(wrong(
            "trail.origin",
            "is empty; leave it out to take the trail as it is".to_owned(),
        ));
    }
    Ok(())
}

fn check_sinks(
    sinks: &[super::Sink],
    wrong: &dyn Fn(&str, String) -> ConfigError,
) -> Result<(), ConfigError> {
    for (i, sink) in sinks.iter().enumerate() {
        if let Some((key, problem)) = sink.wrong() {
            return Err(wrong(&format!("sink[{i}].{key}"), problem));
        }
        if sinks.iter().take(i).any(|other| other.name == sink.name) {
            let problem = format!("{:?} is there twice", sink.name);
            return Err(wrong(&format!("sink[{i}].name"), problem));
        }
    }
    for (i, sink) in sinks.iter().enumerate() {
        let path = |sink: &super::Sink| sink.file.as_ref().map(|file| file.path.clone());
        let others = sinks.iter().take(i);
        if let Some(own) = path(sink)
            && others.filter_map(path).any(|other| other == own)
        {
            let problem = format!("{} is another sink's file already", own.display());
            return Err(wrong(&format!("sink[{i}].file.path"), problem));
        }
    }
    let outputs: Vec<_> = sinks.iter().filter(|sink| sink.stdout.is_some()).collect();
    if let [first, second, ..] = outputs.as_slice() {
        let problem = format!(
            "{:?} and {:?} are both standard output, and their lines would be mixed",
            first.name, second.name
        );
        return Err(wrong("sink.stdout", problem));
    }
    if sinks.len() > MAX_SINKS {
        return Err(wrong("sink", format!("must be at most {MAX_SINKS}")));
    }
    Ok(())
}

fn check_applications(
    config: &Config,
    wrong: &dyn Fn(&str, String) -> ConfigError,
) -> Result<(), ConfigError> {
    for (i, app) in config.application.iter().enumerate() {
        let builder = livetrail_engine::Engine::builder();
        let upto = config.application.iter().take(i + 1);
        let built = upto
            .fold(builder, |b, app| b.application(app.spec()))
            .build();
        if let Err(error) = built {
            return Err(wrong(&format!("application[{i}].name"), error.to_string()));
        }
        let reserved = ["api", "health", "metrics"];
        if reserved.contains(&app.name.as_str()) {
            return Err(wrong(
                &format!("application[{i}].name"),
                format!(
                    "{} is a path of the server's own; allowed is any other name",
                    app.name
                ),
            ));
        }
    }
    Ok(())
}

/// A principal on record must name one secret.
fn check_names(
    config: &Config,
    wrong: &dyn Fn(&str, String) -> ConfigError,
) -> Result<(), ConfigError> {
    let keys = config.auth.key.iter().map(|key| &key.name);
    let token_keys = config.auth.token_key.iter().map(|key| &key.name);
    let named = keys
        .enumerate()
        .map(|(i, name)| (format!("auth.key[{i}].name"), name))
        .chain(
            token_keys
                .enumerate()
                .map(|(i, name)| (format!("auth.token_key[{i}].name"), name)),
        );
    let mut seen = std::collections::HashSet::new();
    for (key, name) in named {
        if !seen.insert(name) {
            return Err(wrong(&key, format!("the name {name:?} is given twice")));
        }
    }
    let mut seen = std::collections::HashSet::new();
    for (i, token) in config.api.token.iter().enumerate() {
        if !seen.insert(&token.name) {
            return Err(wrong(
                &format!("api.token[{i}].name"),
                format!("the name {:?} is given twice", token.name),
            ));
        }
    }
    Ok(())
}

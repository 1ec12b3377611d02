//! Turns a file, variables and flags into a checked [`Config`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use livetrail_settings::{Secret, SecretError, SecretText, refusal, writable_by_others};
use toml::{Table, Value};

use super::{
    ApiRoles, ApiToken, Config, ConfigError, LogFormat, ServeOverrides, Written,
    check::{bound_of, check},
    place::{Place, Source},
    types::LogFilter,
};
use crate::nearest::nearest;

/// Variables that set any key: `LIVETRAIL__LIMITS__IDLE_TIMEOUT=1m` is `limits.idle_timeout`.
const VARIABLE_PREFIX: &str = "LIVETRAIL__";

/// Settings from the command line and its variables.
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
    /// The settings of variables that have no flag. This is the API's token, which a flag would
    /// show to everybody on the machine.
    pub(crate) fn from_environment() -> Self {
        let token = std::env::var("LIVETRAIL_API_TOKEN").ok();
        Self {
            api_token: token.filter(|token| !token.is_empty()).map(SecretText::new),
            ..Self::default()
        }
    }

    /// The settings of flags that a file has as well, without secrets.
    fn settings(&self) -> impl Iterator<Item = (&'static [&'static str], Value)> {
        let text = |value: Option<String>| value.map(Value::String);
        let data = self.data.as_ref().map(|data| data.display().to_string());
        let address = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        let all: [(&'static [&'static str], _); 4] = [
            (&["data"], text(data)),
            (&["rtmp", "listen"], text(address(self.rtmp))),
            (&["http", "listen"], text(address(self.http))),
            (
                &["log", "filter"],
                text(self.log.clone().map(|filter| filter.0)),
            ),
        ];
        all.into_iter()
            .filter_map(|(path, value)| Some((path, value?)))
    }
}

impl From<ServeOverrides> for Overrides {
    fn from(flags: ServeOverrides) -> Self {
        Self {
            data: flags.data,
            rtmp: flags.rtmp,
            http: flags.http,
            log: flags.log,
            log_format: flags.log_format,
            ..Self::from_environment()
        }
    }
}

/// The process's variables. A variable that is not valid text is skipped.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Variables that the command line or [`Overrides::from_environment`] reads. [`load`] does not read
/// them.
const KNOWN_VARIABLES: [&str; 11] = [
    "LIVETRAIL_CONFIG",
    "LIVETRAIL_DATA",
    "LIVETRAIL_RTMP",
    "LIVETRAIL_HTTP",
    "LIVETRAIL_LOG",
    "LIVETRAIL_LOG_FORMAT",
    "LIVETRAIL_API_TOKEN",
    "LIVETRAIL_POSTGRES_ADMIN_URL",
    "LIVETRAIL_CA",
    "LIVETRAIL_TOKEN",
    "LIVETRAIL_TOKEN_KEY",
];

/// Unknown variables that look like ours, each in words. They are misspelt, or a container platform
/// set them for its own purpose. Therefore they are not an error.
pub(crate) fn unknown_variables(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<String> {
    let unknown = |name: &String| {
        let is_ours = name.starts_with("LIVETRAIL_") && !name.starts_with(VARIABLE_PREFIX);
        is_ours && !KNOWN_VARIABLES.contains(&name.as_str())
    };
    let words = |name: String| match nearest(&name, KNOWN_VARIABLES) {
        Some(near) => format!("the variable {name} is unknown and ignored; did you mean {near}?"),
        None => format!(
            "the variable {name} is unknown and ignored; LIVETRAIL__SECTION__KEY sets any setting, and there are {}",
            KNOWN_VARIABLES.join(", ")
        ),
    };
    let names = variables.into_iter().map(|(name, _)| name);
    names.filter(unknown).map(words).collect()
}

/// Reads the file, applies the overrides and checks the result.
///
/// # Errors
/// The file cannot be read, or a setting is wrong. The error is the first one.
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
    // A secret that comes from a variable is not in the file.
    let file_with_secret = path.filter(|_| config.has_a_secret_inside());
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
    for (path, value) in overrides.settings() {
        insert(&mut set, path, value);
    }
    config.written = Written::of(&set);
    let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
    config.hls.resolve(base);
    config.tls.resolve(base);
    config.trail.resolve(base);
    config.auth.resolve(base);
    config.relay.resolve(base);
    for sink in &mut config.sink {
        sink.resolve(base);
    }
    config.secret_files = config.files_with_secrets(file_with_secret, base);
    check_modes(&config, path)?;
    read_secrets(&mut config, base, &source)?;
    check(&config, &source)?;
    Ok(config)
}

fn parse(source: &Source<'_>) -> Result<Config, ConfigError> {
    toml::from_str(source.text).map_err(|error| {
        let mut place = source.at(error.span());
        if error.message().starts_with("missing field") {
            // The place is the table. The message names the key that is missing.
            place.line = None;
        }
        let (key, line) = (place.key.clone(), place.line.clone());
        let is_secret = key.as_deref().is_some_and(|key| key.ends_with("secret"));
        ConfigError::Setting {
            place,
            problem: if is_secret {
                // The message would repeat the secret.
                "not a secret; allowed is text in quotes".to_owned()
            } else {
                in_plain_words(error.message(), key.as_deref(), line.as_deref())
            },
        }
    })
}

/// The parser's message in words of the configuration instead of Rust's.
fn in_plain_words(message: &str, key: Option<&str>, line: Option<&str>) -> String {
    if message == "invalid type: map, expected a sequence" {
        let header = line.map(str::trim).filter(|line| line.starts_with('['));
        let key = key.unwrap_or_default();
        return match header {
            Some(header) if header.trim_matches(['[', ']']) == key => {
                format!("{header} is one of several: write [[{key}]]")
            }
            Some(header) => format!("{header} needs [[{key}]] with its name before it"),
            None => format!("is a list of tables: write [[{key}]]"),
        };
    }
    let Some((what, expected)) = message.rsplit_once("expected ") else {
        return message.to_owned();
    };
    let most = match expected {
        "u8" => Some(u64::from(u8::MAX)),
        "u16" => Some(u64::from(u16::MAX)),
        "u32" => Some(u64::from(u32::MAX)),
        "u64" | "usize" => None,
        _ => return message.to_owned(),
    };
    let bound = key.and_then(bound_of);
    let allowed = match (bound, most) {
        (Some(bound), _) => format!("a number, {}", bound.allowed()),
        (None, Some(most)) => format!("a number, 0 to {most}"),
        (None, None) => "a number of 0 or more".to_owned(),
    };
    format!("{what}expected {allowed}")
}

/// Sets one key and checks the result at once, so that an error belongs to this variable.
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
    // A value is TOML if it parses as TOML (`5`, `true`, `["10.0.0.0/8"]`), else text.
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
    let key = parts.join(".");
    let problem = in_plain_words(&last_error, Some(&key), None);
    Err(wrong(format!("{key}: {problem}")))
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
        config.api.token.push(ApiToken {
            name: "LIVETRAIL_API_TOKEN".to_owned(),
            secret: Some(token),
            secret_file: None,
            role: Some(ApiRoles::BEFORE_ROLES),
            application: None,
        });
    }
}

/// Refuses a secret that others may write, because anybody could have set it.
fn check_modes(config: &Config, file: Option<&Path>) -> Result<(), ConfigError> {
    for path in &config.secret_files {
        // A file that cannot be examined cannot be read either. Reading it gives the error with its
        // key.
        let Ok(Some(mode)) = writable_by_others(path) else {
            continue;
        };
        let origin = file.map(|file| file.display().to_string());
        return Err(ConfigError::Setting {
            place: Place {
                origin: origin.filter(|_| file != Some(path)),
                ..Place::default()
            },
            problem: refusal(path, mode),
        });
    }
    Ok(())
}

/// Reads the secrets that have their own files into the configuration.
fn read_secrets(config: &mut Config, base: &Path, source: &Source<'_>) -> Result<(), ConfigError> {
    let keys = config
        .auth
        .key
        .iter_mut()
        .enumerate()
        .map(|(i, key)| (format!("auth.key[{i}]"), &mut key.secret, &key.secret_file));
    let named = config.auth.token_key.iter_mut().enumerate();
    let named = named.map(|(i, key)| {
        let at = format!("auth.token_key[{i}]");
        (at, &mut key.secret, &key.secret_file)
    });
    let tokens = config.api.token.iter_mut().enumerate();
    let tokens = tokens.map(|(i, token)| {
        let at = format!("api.token[{i}]");
        (at, &mut token.secret, &token.secret_file)
    });
    let services = config.auth.callback.iter_mut().enumerate();
    // A service need not have a key.
    let services = services
        .filter(|(_, service)| service.secret.is_some() || service.secret_file.is_some())
        .map(|(i, service)| {
            let at = format!("auth.callback[{i}]");
            (at, &mut service.secret, &service.secret_file)
        });
    let of_peers: Vec<_> = config.relay.peers().map(|(at, _)| at).collect();
    let peers = of_peers.into_iter().zip(config.relay.peers_mut());
    // A node may let this one in without a key.
    let peers = peers
        .filter(|(_, peer)| peer.secret.is_some() || peer.secret_file.is_some())
        .map(|(at, peer)| {
            let at = format!("relay.{at}");
            (at, &mut peer.secret, &peer.secret_file)
        });
    let all = keys.chain(named).chain(tokens).chain(services).chain(peers);
    for (key, secret, file) in all {
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

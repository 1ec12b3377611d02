//! Checks that need more than one value: settings that are out of bounds, contradict each other, or
//! cannot be meant.

use livetrail_ledger::LedgerError;

use super::{
    AdmissionRule, Config, ConfigError, GrantName, Key, SecretText, Sink, Trail, address, bounds,
    place::Source,
};

/// A shorter secret can be guessed. Nobody can guess 16 random bytes in any time.
const LEAST_SECRET_BYTES: usize = 16;

/// First parts of a path that the server itself uses.
const RESERVED: [&str; 4] = ["api", "health", "metrics", "trail"];

/// Makes the error for a key.
type Wrong<'a> = &'a dyn Fn(&str, String) -> ConfigError;

/// # Errors
/// The first setting that is wrong.
pub(super) fn check(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    let wrong = |key: &str, problem: String| ConfigError::Setting {
        place: source.of(key),
        problem,
    };
    for bound in bounds::all(config) {
        if let Some(problem) = bound.problem() {
            return Err(wrong(&bound.key, problem));
        }
    }
    if config.data.as_os_str().is_empty() {
        let problem = "is empty; allowed is a directory, such as \"livetrail-data\"";
        return Err(wrong("data", problem.to_owned()));
    }
    check_trail(&config.trail, &wrong)?;
    check_sinks(&config.sink, &wrong)?;
    check_applications(config, &wrong)?;
    check_names(config, &wrong)?;
    check_keys(config, &wrong)?;
    check_addresses(config, &wrong)
}

fn check_addresses(config: &Config, wrong: Wrong<'_>) -> Result<(), ConfigError> {
    let (rtmp, http) = (config.rtmp.listen, config.http.listen);
    if address::collide(rtmp, http) {
        let problem = format!("{http} is rtmp.listen's, {rtmp}: each needs a port of its own");
        return Err(wrong("http.listen", problem));
    }
    if let Some(api) = config.api.listen {
        if api == http && api.port() != 0 {
            let problem = "is the same as http.listen; leave it out to serve both there";
            return Err(wrong("api.listen", problem.to_owned()));
        }
        for (key, other) in [("rtmp.listen", rtmp), ("http.listen", http)] {
            if address::collide(api, other) {
                let problem = format!("{api} is {key}'s, {other}: each needs a port of its own");
                return Err(wrong("api.listen", problem));
            }
        }
    }
    let api = config.api.listen.unwrap_or(http);
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
    Ok(())
}

fn check_trail(trail: &Trail, wrong: Wrong<'_>) -> Result<(), ConfigError> {
    for (i, witness) in trail.witness.iter().enumerate() {
        if let Err(error) = witness.witness() {
            let key = match &error {
                LedgerError::WitnessUrl { .. } => "url",
                _ => "key",
            };
            let problem = crate::chain::chain(&error);
            return Err(wrong(&format!("trail.witness[{i}].{key}"), problem));
        }
        let before = trail.witness.iter().take(i);
        if before.into_iter().any(|other| other.key == witness.key) {
            let problem = "the same witness is given twice".to_owned();
            return Err(wrong(&format!("trail.witness[{i}].key"), problem));
        }
    }
    if let Some(origin) = &trail.origin {
        if origin.is_empty() {
            let problem = "is empty; leave it out to take the trail as it is";
            return Err(wrong("trail.origin", problem.to_owned()));
        }
        crate::trail::check_origin(origin)
            .map_err(|error| wrong("trail.origin", format!("{error:#}")))?;
    }
    let (signer, cosigner) = (&trail.signer_key_file, &trail.cosigner_key_file);
    if signer.is_some() && signer == cosigner {
        let problem = "is also trail.signer_key_file: each key needs a file of its own";
        return Err(wrong("trail.cosigner_key_file", problem.to_owned()));
    }
    Ok(())
}

fn check_sinks(sinks: &[Sink], wrong: Wrong<'_>) -> Result<(), ConfigError> {
    for (i, sink) in sinks.iter().enumerate() {
        if let Some((key, problem)) = sink.wrong() {
            return Err(wrong(&format!("sink[{i}].{key}"), problem));
        }
        let mut earlier = sinks.iter().take(i);
        if let Some((key, problem)) = earlier.find_map(|earlier| sink.collision(earlier)) {
            return Err(wrong(&format!("sink[{i}].{key}"), problem));
        }
    }
    Ok(())
}

fn check_applications(config: &Config, wrong: Wrong<'_>) -> Result<(), ConfigError> {
    let mut names = std::collections::HashSet::new();
    for (i, app) in config.application.iter().enumerate() {
        let key = format!("application[{i}].name");
        if !names.insert(&app.name) {
            let problem = format!("the application {} is given twice", app.name);
            return Err(wrong(&key, problem));
        }
        let built = livetrail_engine::Engine::builder()
            .application(app.spec())
            .build();
        if let Err(error) = built {
            return Err(wrong(&key, error.to_string()));
        }
        if RESERVED.contains(&app.name.as_str()) {
            let problem = format!(
                "{} is a path of the server's own; allowed is any other name",
                app.name
            );
            return Err(wrong(&key, problem));
        }
    }
    Ok(())
}

/// Each principal on record must belong to one secret.
fn check_names(config: &Config, wrong: Wrong<'_>) -> Result<(), ConfigError> {
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

fn check_keys(config: &Config, wrong: Wrong<'_>) -> Result<(), ConfigError> {
    let auth = &config.auth;
    for (i, key) in auth.key.iter().enumerate() {
        let at = format!("auth.key[{i}]");
        check_length(&at, key.secret.as_ref(), wrong)?;
        let known = |app: &livetrail_engine::AppName| {
            config.application.iter().any(|known| known.name == *app)
        };
        if let Some(app) = key.app.as_ref().filter(|app| !known(app)) {
            let names = config.application.iter().map(|app| app.name.as_str());
            let near = crate::nearest::nearest(app.as_str(), names);
            let near = near.map_or_else(String::new, |name| format!("; did you mean {name}?"));
            let problem = format!("there is no [[application]] of the name {app}{near}");
            return Err(wrong(&format!("{at}.app"), problem));
        }
        let before = auth.key.iter().take(i);
        let same = |other: &&Key| other.secret == key.secret && key.overlaps(other);
        if let Some(other) = before.into_iter().find(same) {
            let problem = format!(
                "has the secret of {:?}, and both are good for the same stream: the record could not say which it was",
                other.name
            );
            return Err(wrong(&at, problem));
        }
    }
    for (i, token) in config.api.token.iter().enumerate() {
        let at = format!("api.token[{i}]");
        check_length(&at, token.secret.as_ref(), wrong)?;
        let before = config.api.token.iter().take(i);
        if let Some(other) = before
            .into_iter()
            .find(|other| other.secret == token.secret)
        {
            let problem = format!(
                "has the secret of {:?}: the record could not say which it was",
                other.name
            );
            return Err(wrong(&at, problem));
        }
    }
    for (what, rule, other) in [
        ("publish", auth.publish, GrantName::Play),
        ("play", auth.play, GrantName::Publish),
    ] {
        let granted = !auth.token_key.is_empty() || auth.key.iter().any(|key| key.grant != other);
        if rule == AdmissionRule::Keys && !granted {
            let problem = format!(
                "is \"keys\", and no key grants it: nobody could {what}; add an [[auth.key]] or an [[auth.token_key]]"
            );
            return Err(wrong(&format!("auth.{what}"), problem));
        }
    }
    for (i, net) in auth.allow_ips.iter().enumerate() {
        if let Some(denied) = auth.deny_ips.iter().find(|denied| denied.contains(net)) {
            let problem = format!("{net} is within {denied}, which auth.deny_ips refuses");
            return Err(wrong(&format!("auth.allow_ips[{i}]"), problem));
        }
    }
    if let Err(error) = auth.chain() {
        let short =
            |key: &super::NamedSecret| key.secret.as_ref().is_none_or(|s| s.expose().len() < 32);
        let at = auth.token_key.iter().position(short).unwrap_or(0);
        return Err(wrong(&format!("auth.token_key[{at}]"), error.to_string()));
    }
    Ok(())
}

fn check_length(
    at: &str,
    secret: Option<&SecretText>,
    wrong: Wrong<'_>,
) -> Result<(), ConfigError> {
    let bytes = secret.map_or(0, |secret| secret.expose().len());
    if bytes >= LEAST_SECRET_BYTES {
        return Ok(());
    }
    let problem = format!(
        "the secret has {bytes} bytes and needs at least {LEAST_SECRET_BYTES}: a shorter one can be guessed; \
         `openssl rand -hex 16` makes one"
    );
    Err(wrong(at, problem))
}

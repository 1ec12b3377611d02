//! The settings as the file, the variables and the flags have them, one by one, so that a reload
//! can report each setting that differs.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::LazyLock,
};

use toml::{Table, Value};

use super::{EXAMPLE, error::may_hold_a_secret};
use crate::output::{cut, printable};

/// A value is shown with this many characters.
const MOST_CHARACTERS: usize = 80;

/// Settings whose values may name a person. Neither the log nor a record shows them.
const PERSONAL: [&str; 3] = ["deny_ips", "allow_ips", "stream"];

/// Lists whose items a reload already reports by name.
const KEYS: [&str; 3] = ["auth.key[", "auth.token_key[", "api.token["];

/// The settings that are not left at their defaults, by key: `limits.idle_timeout`, or with the
/// name of an item `application[live].max_publishers`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Written(BTreeMap<String, Setting>);

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Setting {
    Shown(String),
    /// The hash of a secret, or of a value that may name a person.
    Hidden(u64),
    /// An item of a list exists.
    Item,
}

/// A setting that differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The setting.
    pub(crate) key: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Added,
    Removed,
    /// The values are not shown.
    Hidden,
    Changed {
        old: String,
        new: String,
    },
}

/// The defaults: the example has every key with its default.
static DEFAULTS: LazyLock<Written> =
    LazyLock::new(|| Written::of(&EXAMPLE.parse().unwrap_or_default()));

impl Written {
    /// The settings of a table.
    pub(super) fn of(table: &Table) -> Self {
        let mut written = Self::default();
        for (key, value) in table {
            written.add(key.clone(), key, value, false);
        }
        written
    }

    fn add(&mut self, key: String, name: &str, value: &Value, hidden: bool) {
        match value {
            Value::Table(table) => {
                // The keys of a table of headers are the headers, and their values may be secret.
                let hidden = hidden || name == "headers";
                for (name, value) in table {
                    self.add(format!("{key}.{name}"), name, value, hidden);
                }
            }
            Value::Array(items) if items.first().is_some_and(Value::is_table) => {
                for (i, item) in items.iter().enumerate() {
                    let own = item.get("name").and_then(Value::as_str);
                    let own = own.map_or_else(|| i.to_string(), |own| cut(&printable(own), 64));
                    let key = format!("{key}[{own}]");
                    self.0.insert(key.clone(), Setting::Item);
                    self.add(key, name, item, hidden);
                }
            }
            other => {
                let text = other.to_string();
                let hidden = hidden
                    || PERSONAL.contains(&name)
                    || may_hold_a_secret(&format!("{name} = {text}"));
                let setting = match hidden {
                    true => {
                        let mut hasher = DefaultHasher::new();
                        text.hash(&mut hasher);
                        Setting::Hidden(hasher.finish())
                    }
                    false => Setting::Shown(cut(&printable(&text), MOST_CHARACTERS)),
                };
                self.0.insert(key, setting);
            }
        }
    }

    /// The settings of `new` whose keys `takes` selects, and all others of this one.
    pub(crate) fn with(&self, new: &Self, takes: impl Fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(key, _)| !takes(key));
        let taken = new.0.iter().filter(|(key, _)| takes(key));
        let all = kept.chain(taken);
        Self(
            all.map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    }

    /// The settings that differ, sorted by key. Of a list whose items have names, an item that is
    /// new or gone is one difference.
    pub(crate) fn differences(&self, new: &Self) -> Vec<Difference> {
        let mut keys: Vec<_> = self.0.keys().chain(new.0.keys()).collect();
        keys.sort();
        keys.dedup();
        let mut found: Vec<Difference> = Vec::new();
        for key in keys {
            let inside = |item: &Difference| {
                let whole = matches!(item.what, What::Added | What::Removed);
                let inside = key.strip_prefix(&item.key);
                whole && inside.is_some_and(|rest| rest.starts_with(['.', '[']))
            };
            if found.iter().rev().any(inside) {
                continue;
            }
            let what = match (self.0.get(key), new.0.get(key)) {
                (old, new) if old == new => continue,
                (None, Some(Setting::Item)) => What::Added,
                (Some(Setting::Item), None) => What::Removed,
                (Some(Setting::Hidden(_)), _) | (_, Some(Setting::Hidden(_))) => What::Hidden,
                (old, new) => {
                    let text = |value: Option<&Setting>| match value {
                        Some(Setting::Shown(text)) => text.clone(),
                        _ => default_of(key),
                    };
                    What::Changed {
                        old: text(old),
                        new: text(new),
                    }
                }
            };
            // The value is the default, once written and once left out.
            if matches!(&what, What::Changed { old, new } if old == new) {
                continue;
            }
            let key = key.clone();
            found.push(Difference { key, what });
        }
        found.retain(|item| {
            matches!(item.what, What::Changed { .. })
                || !KEYS.iter().any(|key| item.key.starts_with(key))
        });
        found
    }
}

/// The default of a setting that is left out.
fn default_of(key: &str) -> String {
    let of_item = || {
        let (list, rest) = key.split_once('[')?;
        let (_, rest) = rest.split_once(']')?;
        DEFAULTS.0.get(&format!("{list}[live]{rest}"))
    };
    match DEFAULTS.0.get(key).or_else(of_item) {
        Some(Setting::Shown(text)) => text.clone(),
        _ => "not set".to_owned(),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.what {
            What::Added => write!(f, "{key}: added"),
            What::Removed => write!(f, "{key}: removed"),
            What::Hidden => write!(f, "{key}: changed"),
            What::Changed { old, new } => write!(f, "{key}: {old} -> {new}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(old: &str, new: &str) -> Vec<String> {
        let of = |text: &str| Written::of(&text.parse().unwrap());
        let found = of(old).differences(&of(new));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_setting_that_differs_is_named_with_its_old_and_new_value() {
        let old = "[limits]\nidle_timeout = \"1m\"\nmax_publishers = 5\n[log]\nformat = \"text\"";
        let new =
            "[limits]\nidle_timeout = \"2m\"\n[[application]]\nname = \"vod\"\nlag_budget = 1";
        let default = Written::of(&EXAMPLE.parse().unwrap());
        let Some(Setting::Shown(publishers)) = default.0.get("limits.max_publishers") else {
            panic!("the example has it");
        };
        assert_eq!(
            between(old, new),
            [
                "application[vod]: added".to_owned(),
                "limits.idle_timeout: \"1m\" -> \"2m\"".to_owned(),
                format!("limits.max_publishers: 5 -> {publishers}"),
            ],
            "`log.format` has its default in both"
        );
        let app = "[[application]]\nname = \"vod\"\n";
        assert_eq!(
            between(app, &format!("{app}lag_budget = 1")),
            ["application[vod].lag_budget: 3 -> 1"]
        );
        assert_eq!(between(app, "node = \"b\"").len(), 2);
    }

    #[test]
    fn secrets_and_addresses_of_clients_are_hidden() {
        let with = |secret: &str, ip: &str| {
            format!(
                "[auth]\ndeny_ips = [\"{ip}\"]\n[[auth.key]]\nname = \"a\"\nsecret = \"{secret}\"\n\
                 [[sink]]\nname = \"db\"\nurl = \"postgres://u:{secret}@h/d\"\n\
                 [sink.headers]\nx-api-key = \"{secret}\"\n"
            )
        };
        let (old, new) = (
            with("first-secret", "192.0.2.1"),
            with("other-secret", "192.0.2.2"),
        );
        let found = between(&old, &new);
        assert_eq!(
            found,
            [
                "auth.deny_ips: changed",
                "sink[db].headers.x-api-key: changed",
                "sink[db].url: changed"
            ]
        );
        let kept = format!("{:?}", Written::of(&new.parse().unwrap()));
        assert!(
            !kept.contains("other-secret") && !kept.contains("192.0.2.2"),
            "{kept}"
        );
    }
}

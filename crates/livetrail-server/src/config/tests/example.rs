//! Tests of the example: it has every key with its default, a comment and a bound.

use std::collections::BTreeSet;

use super::super::*;

/// The example, with everything set that has no default. A secret is given in one way, not in both.
fn example_uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(
        toml::from_str::<Config>(EXAMPLE).unwrap(),
        Config::default()
    );
    assert_eq!(
        load(None, [], &Overrides::default()).unwrap(),
        Config::default()
    );
}

/// A setting that the example does not set has `# default` behind it if, and only if, its value is
/// the default. If the setting has another default, that is nothing: no value, no text, no items.
#[test]
fn the_example_marks_the_defaults_of_settings_that_it_does_not_set() {
    let whole: toml::Table = example_uncommented().parse().unwrap();
    let config = whole.clone().try_into::<Config>().unwrap();
    let (mut table, mut marked, mut unmarked) = (String::new(), 0, 0);
    for line in EXAMPLE.lines() {
        let setting = line.trim_start_matches('#');
        if setting.starts_with('[') {
            table = path_of_table(setting.trim_matches(['[', ']']));
        }
        let Some((key, value)) = setting.split_once(" = ") else {
            continue;
        };
        if !line.starts_with('#') || line.starts_with("# ") {
            assert!(!value.contains("# default"), "{line} is set");
            continue;
        }
        let mut changed = toml::Value::Table(whole.clone());
        at(&mut changed, &table)
            .as_table_mut()
            .unwrap()
            .remove(key)
            .unwrap();
        let is_default = match changed.try_into::<Config>() {
            // The setting is required.
            Err(_) => false,
            Ok(without) if without == config => true,
            Ok(without) => {
                let number = |config: &Config| {
                    let text = format!("{config:?}");
                    let nothing = ["None", "\"\"", "[]"];
                    let of = |none: &str| text.matches(&format!("{key}: {none}")).count();
                    nothing.into_iter().map(of).sum::<usize>()
                };
                assert!(
                    number(&without) > number(&config),
                    "{table}.{key} has a default, and it is not {value}"
                );
                false
            }
        };
        let is_marked = value.ends_with(" # default");
        assert_eq!(is_marked, is_default, "{table}.{key} = {value}");
        marked += u32::from(is_marked);
        unmarked += u32::from(!is_marked);
    }
    assert!(marked > 15 && unmarked > 30, "{marked}, {unmarked}");
}

/// The path of a table of the example, with 0 for the item of each array.
fn path_of_table(name: &str) -> String {
    let arrays = [
        "application",
        "token",
        "key",
        "token_key",
        "jwks",
        "callback",
        "pull",
        "origin",
        "push",
        "target",
        "witness",
        "sink",
        "certificate",
        "header",
    ];
    let part = |part: &str| match arrays.contains(&part) {
        true => format!("{part}[0]"),
        false => part.to_owned(),
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

#[test]
fn the_example_has_every_key_that_the_code_knows() {
    let whole: toml::Table = example_uncommented().parse().unwrap();
    whole
        .clone()
        .try_into::<Config>()
        .expect("every key of the example is known");
    let mut tables = 0;
    check_table(&whole, &mut Vec::new(), &whole, &mut tables);
    assert_eq!(tables, 42, "the tables that were compared");
}

/// Adds an unknown key to the table at `path`. Compares the table's keys with those that the
/// refusal allows.
fn check_table(table: &toml::Table, path: &mut Vec<String>, whole: &toml::Table, tables: &mut u32) {
    let mut changed = whole.clone();
    let place = path
        .iter()
        .fold(&mut changed, |table, key| match &mut table[key] {
            toml::Value::Array(items) => items[0].as_table_mut().unwrap(),
            other => other.as_table_mut().unwrap(),
        });
    place.insert("zzz".to_owned(), true.into());
    let error = changed.try_into::<Config>().unwrap_err();
    let allowed: BTreeSet<_> = error.message().split('`').skip(3).step_by(2).collect();
    let there: BTreeSet<_> = table.keys().map(String::as_str).collect();
    assert_eq!(allowed, there, "in [{}]", path.join("."));
    *tables += 1;
    for (key, value) in table {
        let inner = match value {
            toml::Value::Array(items) => items.first().and_then(toml::Value::as_table),
            other => other.as_table(),
        };
        if let Some(inner) = inner {
            path.push(key.clone());
            check_table(inner, path, whole, tables);
            path.pop();
        }
    }
}

#[test]
fn every_setting_of_the_example_has_a_comment_above_it() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let is_comment = |line: &str| line.starts_with("# ") || line == "#";
    let is_setting = |line: &str| {
        let name = line.trim_start_matches('#');
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.contains(" = ")
            && !is_comment(line)
    };
    let mut settings = 0;
    for (at, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| is_setting(line))
    {
        settings += 1;
        let above = lines[..at].iter().rev();
        let first = above
            .copied()
            .take_while(|line| !line.is_empty())
            .find(|line| is_comment(line));
        assert!(first.is_some(), "line {}: {line} has no comment", at + 1);
    }
    assert!(settings > 100, "{settings}");
}

#[test]
fn every_number_size_and_span_of_the_example_has_an_upper_bound() {
    let whole: toml::Table = example_uncommented().parse().unwrap();
    let mut tried = 0;
    each_value(&toml::Value::Table(whole.clone()), "", &mut |key, value| {
        let huge: toml::Value = match value {
            toml::Value::Integer(_) => i64::MAX.into(),
            toml::Value::String(text) if text.parse::<Span>().is_ok() => "9999999d".into(),
            toml::Value::String(text) if text.parse::<ByteSize>().is_ok() => "999999GiB".into(),
            _ => return,
        };
        // An enterprise number is a name: every number of 32 bits is valid.
        if key == "sink[0].syslog.enterprise" {
            return;
        }
        tried += 1;
        let mut changed = toml::Value::Table(whole.clone());
        *at(&mut changed, key) = huge.clone();
        let refused = match changed.try_into::<Config>() {
            // The type has fewer bits.
            Err(_) => true,
            Ok(config) => {
                let wrong: Vec<_> = check::bounds(&config)
                    .into_iter()
                    .filter(|bound| bound.problem().is_some())
                    .map(|bound| bound.key)
                    .collect();
                wrong == [key]
            }
        };
        assert!(
            refused,
            "{key} = {huge} is not refused: give it a bound in its section"
        );
    });
    assert!(tried > 45, "{tried}");
    assert!(
        check::bounds(&Config::default())
            .iter()
            .all(|bound| bound.problem().is_none())
    );
}

fn each_value(value: &toml::Value, key: &str, each: &mut dyn FnMut(&str, &toml::Value)) {
    match value {
        toml::Value::Table(table) => {
            for (name, inner) in table {
                let dot = if key.is_empty() { "" } else { "." };
                each_value(inner, &format!("{key}{dot}{name}"), each);
            }
        }
        toml::Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                each_value(item, &format!("{key}[{i}]"), each);
            }
        }
        value => each(key, value),
    }
}

fn at<'a>(value: &'a mut toml::Value, key: &str) -> &'a mut toml::Value {
    key.split('.').fold(value, |value, part| {
        let (name, index) = part
            .trim_end_matches(']')
            .split_once('[')
            .unwrap_or((part, ""));
        let inner = &mut value[name];
        match index.parse::<usize>() {
            Ok(index) => &mut inner[index],
            Err(_) => inner,
        }
    })
}

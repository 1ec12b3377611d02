//! Places of settings: the key, and the line of the file or the variable that gave it.

use std::{fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The place of a setting. It is shown as `FILE:LINE: KEY: `, with the line itself below if there
/// is one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// `livetrail.toml:12`, or `LIVETRAIL_HTTP`.
    pub(crate) origin: Option<String>,
    /// `limits.idle_timeout`; for an array's item `auth.key[1].secret`, counted from 0.
    pub(crate) key: Option<String>,
    /// The text of the line.
    pub(crate) line: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.origin, &self.key].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        Ok(())
    }
}

/// The text of a file, in which places are searched.
pub(super) struct Source<'a> {
    pub(super) name: String,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The place of these bytes, and the key to whose name or value they belong.
    pub(super) fn at(&self, span: Option<Range<usize>>) -> Place {
        let Some(span) = span else {
            return Place {
                origin: Some(self.name.clone()),
                ..Place::default()
            };
        };
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let number = before.matches('\n').count() + 1;
        let key = DeTable::parse(self.text)
            .ok()
            .and_then(|table| key_at(table.get_ref(), span.start));
        Place {
            origin: Some(format!("{}:{number}", self.name)),
            key,
            line: self.text.lines().nth(number - 1).map(str::to_owned),
        }
    }

    /// The place of a key such as `auth.key[1].secret`. If the file does not have the whole key, it
    /// is the place of the longest part that exists.
    pub(super) fn of(&self, key: &str) -> Place {
        let table = DeTable::parse(self.text).ok();
        let span = table.and_then(|table| span_of(table.get_ref(), key));
        Place {
            key: Some(key.to_owned()),
            ..span.map_or_else(Place::default, |span| self.at(Some(span)))
        }
    }
}

fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        if name.span().contains(&offset) {
            return Some(name.get_ref().to_string());
        }
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, offset).map(|key| format!(".{key}")),
            DeValue::Array(items) => items.iter().enumerate().find_map(|(i, item)| {
                let DeValue::Table(inner) = item.get_ref() else {
                    return item.span().contains(&offset).then(|| format!("[{i}]"));
                };
                key_at(inner, offset)
                    .map(|key| format!("[{i}].{key}"))
                    .or_else(|| item.span().contains(&offset).then(|| format!("[{i}]")))
            }),
            _ => None,
        };
        let here = || value.span().contains(&offset).then(String::new);
        inner
            .or_else(here)
            .map(|rest| format!("{}{rest}", name.get_ref()))
    })
}

fn span_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let (name, index) = match first.trim_end_matches(']').split_once('[') {
        Some((name, index)) => (name, index.parse::<usize>().ok()),
        None => (first, None),
    };
    let (found, value) = table.iter().find(|(k, _)| k.get_ref() == name)?;
    let mut value: &Spanned<DeValue<'_>> = value;
    let mut span = found.span();
    if let (Some(index), DeValue::Array(items)) = (index, value.get_ref()) {
        value = items.get(index)?;
        span = value.span();
    }
    match value.get_ref() {
        DeValue::Table(inner) if !rest.is_empty() => span_of(inner, rest).or(Some(span)),
        _ => Some(span),
    }
}

//! Which records are asked for.

use livetrail_engine::{Clock, SystemClock};
use livetrail_index::Filter;

use crate::{cli::TrailFilter, output::Failure, time};

/// What the arguments ask for.
///
/// # Errors
/// A time that is none.
pub(super) fn filter(args: &TrailFilter) -> Result<Filter, Failure> {
    let now_ms = SystemClock::new().unix_ms();
    let time = |text: &Option<String>| {
        let parsed = text.as_deref().map(|text| time::parse(text, now_ms));
        parsed
            .transpose()
            .map_err(|problem| Failure::unusable(anyhow::anyhow!(problem)))
    };
    let (app, stream) = match args.stream.as_deref().map(|name| name.split_once('/')) {
        Some(Some((app, stream))) => (Some(app.to_owned()), Some(stream.to_owned())),
        Some(None) => (None, args.stream.clone()),
        None => (None, None),
    };
    let mut filter = Filter::default();
    filter.app = app;
    filter.stream = stream;
    filter.session = args.session.as_deref().map(session_text);
    filter.actions.clone_from(&args.action);
    filter.principal.clone_from(&args.principal);
    filter.since_ms = time(&args.since)?;
    filter.until_ms = time(&args.until)?;
    Ok(filter)
}

/// An id as it is shown in tables begins with `…`.
fn session_text(text: &str) -> String {
    text.trim_matches(['…', '.']).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_become_conditions() {
        let asked = filter(&TrailFilter {
            stream: Some("live/cam".into()),
            session: Some("…ABCD".into()),
            action: vec!["play_denied".into()],
            principal: Some("alice".into()),
            since: Some("1970-01-01T00:00:05Z".into()),
            until: None,
        })
        .unwrap();
        assert_eq!(asked.app.as_deref(), Some("live"));
        assert_eq!(asked.stream.as_deref(), Some("cam"));
        assert_eq!(asked.session.as_deref(), Some("abcd"));
        assert_eq!(asked.actions, ["play_denied"]);
        assert_eq!(asked.principal.as_deref(), Some("alice"));
        assert_eq!((asked.since_ms, asked.until_ms), (Some(5_000), None));
    }
}

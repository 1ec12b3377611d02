//! The filter of records: arguments that several commands share.

use livetrail_audit::AuditAction;
use livetrail_engine::{Clock, SystemClock};
use livetrail_index::Filter;

use crate::{
    nearest::nearest,
    output::{Failure, printable},
    time,
};

/// Which records.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only this stream: `cam`, or with its application `live/cam`.
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<String>,
    /// Only this session. The first or last characters of its id are enough; 8 or more are fast.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Only this action, such as `play_denied`. May be given several times.
    #[arg(long, value_name = "ACTION")]
    pub(crate) action: Vec<String>,
    /// Only this principal: the authenticated name.
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
    /// From this time on: RFC 3339 (`2026-11-22T14:00:00Z`), a date, or a time span before now
    /// (`1h`).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Up to this time, in the same forms.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// The filter of these arguments.
///
/// # Errors
/// A text is not a time, no record can have the action, or the text cannot be part of a session's
/// id.
pub(super) fn filter(args: &FilterArgs) -> Result<Filter, Failure> {
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
    filter.session = args.session.as_deref().map(session_text).transpose()?;
    for action in &args.action {
        check_action(action)?;
    }
    filter.actions.clone_from(&args.action);
    filter.principal.clone_from(&args.principal);
    filter.since_ms = time(&args.since)?;
    filter.until_ms = time(&args.until)?;
    Ok(filter)
}

/// The id of a session, or a part of it. In tables an id begins with `…`.
fn session_text(text: &str) -> Result<String, Failure> {
    let id = text.trim_matches(['…', '.']).to_lowercase();
    let is_part = !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if is_part && id.len() <= 36 {
        return Ok(id);
    }
    Err(Failure::unusable(anyhow::anyhow!(
        "--session {}: not a session's id; allowed are hexadecimal digits and `-`, the first or the last of an id such as 0199a7b2-5c1e-7000-8000-00c04fd430c8",
        printable(text)
    )))
}

fn check_action(action: &str) -> Result<(), Failure> {
    let known = AuditAction::labels().collect::<Vec<_>>();
    if known.contains(&action) {
        return Ok(());
    }
    let shown = printable(action);
    let problem = match nearest(action, known.iter().copied()) {
        Some(near) => format!("no such action: {shown}; did you mean {near}?"),
        None => format!(
            "no such action: {shown}; the actions are {}",
            known.join(", ")
        ),
    };
    Err(Failure::unusable(anyhow::anyhow!(problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_become_conditions() {
        let asked = filter(&FilterArgs {
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

    #[test]
    fn what_no_record_can_have_is_refused_with_what_was_meant() {
        let asked = |action: &str, session: Option<&str>| {
            let refused = filter(&FilterArgs {
                stream: None,
                session: session.map(str::to_owned),
                action: vec![action.to_owned()],
                principal: None,
                since: None,
                until: None,
            });
            refused.err().map(|failure| failure.to_string())
        };
        assert_eq!(asked("play_denied", Some("0199a7")), None);
        assert_eq!(asked("event", None), None);
        for (action, session, words) in [
            ("play_deneid", None, "did you mean play_denied?"),
            ("foo", None, "the actions are publish_started"),
            ("play_denied", Some("zz"), "not a session's id"),
            ("play_denied", Some("…"), "not a session's id"),
        ] {
            let said = asked(action, session).unwrap_or_default();
            assert!(said.contains(words), "{action}: {said}");
        }
    }
}

//! Which records fit what was asked for.

use livetrail_audit::AuditRecord;
use livetrail_engine::{Clock, SystemClock};

use crate::{cli::TrailFilter, output::Failure, time};

/// A checked [`TrailFilter`].
#[derive(Debug, Default)]
pub(super) struct Filter {
    app: Option<String>,
    stream: Option<String>,
    session: Option<String>,
    actions: Vec<String>,
    since_ms: Option<u64>,
    until_ms: Option<u64>,
}

impl Filter {
    /// # Errors
    /// A time that is none.
    pub(super) fn new(args: &TrailFilter) -> Result<Self, Failure> {
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
        Ok(Self {
            app,
            stream,
            session: args.session.as_deref().map(session_text),
            actions: args.action.clone(),
            since_ms: time(&args.since)?,
            until_ms: time(&args.until)?,
        })
    }

    pub(super) fn fits(&self, record: &AuditRecord) -> bool {
        let app = self.app.as_ref().is_none_or(|app| *app == record.app);
        let stream = self.stream.is_none() || self.stream == record.stream;
        let action = self.actions.is_empty()
            || self
                .actions
                .iter()
                .any(|action| action == record.action.label());
        let session = self.session.as_ref().is_none_or(|part| {
            let id = record.session.map(|id| id.to_string()).unwrap_or_default();
            id.starts_with(part) || id.ends_with(part)
        });
        let since = self.since_ms.is_none_or(|since| record.ts_ms >= since);
        let until = self.until_ms.is_none_or(|until| record.ts_ms < until);
        app && stream && action && session && since && until
    }
}

/// An id as it is shown in tables begins with `…`.
fn session_text(text: &str) -> String {
    text.trim_matches(['…', '.']).to_lowercase()
}

#[cfg(test)]
mod tests {
    use livetrail_audit::AuditAction;
    use livetrail_record::Uuid;

    use super::*;

    fn record() -> AuditRecord {
        AuditRecord::new(AuditAction::PlayDenied, "live")
            .with_ts_ms(5_000)
            .with_stream("cam")
            .with_session(Uuid::from_u128(0x01a2_0000_0000_7000_8000_0000_0000_abcd))
    }

    fn fits(set: impl FnOnce(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        set(&mut filter);
        filter.fits(&record())
    }

    #[test]
    fn every_condition_must_hold() {
        assert!(fits(|_| {}));
        assert!(fits(|f| f.stream = Some("cam".into())));
        assert!(!fits(|f| f.stream = Some("ca".into())));
        assert!(!fits(|f| {
            f.app = Some("vod".into());
            f.stream = Some("cam".into());
        }));
        assert!(fits(|f| f.session = Some("01a2".into())));
        assert!(fits(|f| f.session = Some("abcd".into())));
        assert!(!fits(|f| f.session = Some("1a2".into())));
        assert!(fits(
            |f| f.actions = vec!["heartbeat".into(), "play_denied".into()]
        ));
        assert!(!fits(|f| f.actions = vec!["play".into()]));
        assert!(fits(|f| f.since_ms = Some(5_000)) && !fits(|f| f.since_ms = Some(5_001)));
        assert!(fits(|f| f.until_ms = Some(5_001)) && !fits(|f| f.until_ms = Some(5_000)));
        assert_eq!(session_text("…ABCD"), "abcd");
    }
}

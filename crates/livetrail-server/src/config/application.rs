//! The section `[[application]]`: groups of streams with settings in common.

use livetrail_engine::{
    AppName, AppPattern, AppSettings, AppSpec, DuplicatePublisher, Engine, IngressLimit,
};
use livetrail_settings::{Bounds, ByteSize, Span};
use serde::Deserialize;

use super::{
    audit::AuditPolicy,
    limits::MAX_BITS_PER_SECOND,
    rules::AppRule,
    section::{DAY_S, Section, Wrong},
    types,
};

/// First parts of a path that the server itself uses, or will.
const RESERVED: [&str; 8] = [
    "api",
    "console",
    "health",
    "livez",
    "metrics",
    "readyz",
    "recordings",
    "trail",
];

/// The names that no application may have. A configuration with one is refused, and so is each
/// attempt, also where a pattern such as `*` covers the name.
pub(crate) fn reserved_names() -> impl Iterator<Item = AppName> {
    // All are valid names.
    RESERVED.iter().filter_map(|name| AppName::new(*name).ok())
}

/// An application: a group of streams with settings in common.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Application {
    #[serde(with = "types::app_name")]
    pub(crate) name: AppName,
    pub(crate) gop_cache_frames: usize,
    pub(crate) gop_cache_bytes: ByteSize,
    pub(crate) max_lag_frames: u64,
    pub(crate) lag_budget: u32,
    pub(crate) stall_timeout: Span,
    pub(crate) duplicate_publisher: Duplicate,
    pub(crate) max_publishers: usize,
    pub(crate) max_viewers: usize,
    pub(crate) max_instances: usize,
    pub(crate) viewer_bits_per_second: u64,
    pub(crate) egress_bits_per_second: u64,
    pub(crate) wait_for_publisher: Span,
    /// The rules for who is admitted without a key. Without a value they are those of `[auth]`.
    pub(crate) publish: Option<AppRule>,
    pub(crate) play: Option<AppRule>,
    pub(crate) names: Names,
    /// How long openings are kept. Without a value it is `trail.retention.openings`.
    pub(crate) openings: Option<Span>,
    pub(crate) ingress: Ingress,
    pub(crate) audit: AppAudit,
}

impl Default for Application {
    fn default() -> Self {
        let of = AppSettings::default();
        Self {
            name: default_app(),
            gop_cache_frames: of.gop_cache_frames,
            gop_cache_bytes: ByteSize(of.gop_cache_bytes),
            max_lag_frames: of.subscriber_max_lag,
            lag_budget: of.subscriber_lag_budget,
            stall_timeout: Span(of.subscriber_stall_timeout),
            duplicate_publisher: match of.duplicate_publisher {
                DuplicatePublisher::Refuse => Duplicate::Refuse,
                DuplicatePublisher::ReplaceOwn => Duplicate::Own,
                DuplicatePublisher::Replace => Duplicate::Replace,
            },
            max_publishers: of.max_publishers,
            max_viewers: of.max_viewers,
            max_instances: of.max_instances,
            viewer_bits_per_second: of.viewer_bits_per_second,
            egress_bits_per_second: of.egress_bits_per_second,
            wait_for_publisher: Span(of.wait_for_publisher),
            publish: None,
            play: None,
            names: Names::Clear,
            openings: None,
            ingress: Ingress::default(),
            audit: AppAudit::default(),
        }
    }
}

fn default_app() -> AppName {
    AppName::new("live").unwrap_or_else(|_| unreachable!("`live` is a name"))
}

impl Application {
    /// The application in the form that the engine takes.
    pub(crate) fn spec(&self) -> AppSpec {
        AppSpec::new(self.name.as_str())
            .gop_cache(self.gop_cache_frames)
            .gop_cache_bytes(self.gop_cache_bytes.0)
            .subscriber_max_lag(self.max_lag_frames)
            .subscriber_lag_budget(self.lag_budget)
            .subscriber_stall_timeout(self.stall_timeout.0)
            .duplicate_publisher(match self.duplicate_publisher {
                Duplicate::Refuse => DuplicatePublisher::Refuse,
                Duplicate::Own => DuplicatePublisher::ReplaceOwn,
                Duplicate::Replace => DuplicatePublisher::Replace,
            })
            .max_publishers(self.max_publishers)
            .max_viewers(self.max_viewers)
            .max_instances(self.max_instances)
            .viewer_bits_per_second(self.viewer_bits_per_second)
            .egress_bits_per_second(self.egress_bits_per_second)
            .wait_for_publisher(self.wait_for_publisher.0)
            .ingress_limit(self.ingress.limit())
    }
}

/// Whether the names of an application's streams are personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Names {
    /// Entries have the name.
    Clear,
    /// Entries have a token in place of the name, which is in the opening.
    Personal,
}

/// The rule for a second publisher of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Duplicate {
    Refuse,
    /// A publisher with the same key replaces the first one.
    Own,
    Replace,
}

/// When sessions of an application start. Without a value it is what `[audit]` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AppAudit {
    pub(crate) publish: Option<AuditPolicy>,
    pub(crate) play: Option<AuditPolicy>,
}

/// Limits of what a publisher may send.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ingress {
    pub(crate) bytes_per_second: Option<ByteSize>,
    pub(crate) frames_per_second: Option<u64>,
    pub(crate) burst: Span,
    pub(crate) patience: Span,
}

impl Default for Ingress {
    fn default() -> Self {
        let of = IngressLimit::default();
        let bytes = |n| ByteSize(usize::try_from(n).unwrap_or(usize::MAX));
        Self {
            bytes_per_second: of.bytes_per_second.map(bytes),
            frames_per_second: of.frames_per_second,
            burst: Span(of.burst),
            patience: Span(of.patience),
        }
    }
}

impl Ingress {
    fn limit(&self) -> IngressLimit {
        let mut limit = IngressLimit::default();
        limit.bytes_per_second = self.bytes_per_second.map(|size| size.0 as u64);
        limit.frames_per_second = self.frames_per_second;
        limit.burst = self.burst.0;
        limit.patience = self.patience.0;
        limit
    }
}

impl Section for Vec<Application> {
    fn bounds(&self, list: &mut Bounds) {
        list.number("", self.len(), 1, 10_000, "");
        for (i, app) in self.iter().enumerate() {
            list.section(&format!("[{i}]"), |list| app.bounds(list));
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        let mut names = std::collections::HashSet::new();
        for (i, app) in self.iter().enumerate() {
            let wrong = |problem: String| Wrong::new(format!("[{i}].name"), problem);
            let name = &app.name;
            if !names.insert(name) {
                return Err(wrong(format!("the application {name} is given twice")));
            }
            let built = Engine::builder().application(app.spec()).build();
            built.map_err(|error| wrong(error.to_string()))?;
            let is_pattern = AppPattern::from(name).is_open();
            if is_pattern && (app.names == Names::Personal || app.openings.is_some()) {
                return Err(wrong(format!(
                    "{name} stands for several applications, and names and openings are for one: give its whole name"
                )));
            }
            if RESERVED.contains(&name.as_str()) {
                return Err(wrong(format!(
                    "{name} is a path of the server itself; any other name is allowed"
                )));
            }
        }
        Ok(())
    }
}

impl Section for Application {
    fn bounds(&self, list: &mut Bounds) {
        list.number("gop_cache_frames", self.gop_cache_frames, 0, 1 << 20, "");
        list.bytes("gop_cache_bytes", self.gop_cache_bytes, 0, 4 << 30);
        list.number("max_lag_frames", self.max_lag_frames, 1, 1 << 20, "");
        list.number("lag_budget", self.lag_budget, 0, 10_000, "");
        list.span("stall_timeout", self.stall_timeout, 1, 3_600);
        list.number("max_publishers", self.max_publishers, 0, 100_000, "");
        list.number("max_viewers", self.max_viewers, 0, 10_000_000, "");
        let instances = ": each may have streams, and is a name in records";
        list.number("max_instances", self.max_instances, 1, 100_000, instances);
        for (key, bits) in [
            ("viewer_bits_per_second", self.viewer_bits_per_second),
            ("egress_bits_per_second", self.egress_bits_per_second),
        ] {
            list.number(key, bits, 0, MAX_BITS_PER_SECOND, "");
        }
        list.span("wait_for_publisher", self.wait_for_publisher, 0, 3_600);
        if let Some(openings) = self.openings {
            list.span("openings", openings, 10_000, 36_500 * DAY_S);
        }
        list.section("ingress", |list| self.ingress.bounds(list));
    }
}

impl Section for Ingress {
    fn bounds(&self, list: &mut Bounds) {
        if let Some(rate) = self.bytes_per_second {
            list.bytes("bytes_per_second", rate, 1, 16 << 30);
        }
        if let Some(rate) = self.frames_per_second {
            list.number("frames_per_second", rate, 1, 1_000_000, "");
        }
        list.span("burst", self.burst, 0, 3_600);
        list.span("patience", self.patience, 0, DAY_S);
    }
}

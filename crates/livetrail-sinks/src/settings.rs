//! `[[sink]]`: the settings of a sink. Its kind is the table in it: `[sink.postgres]`.
//!
//! The settings of all kinds are in every build, so that a configuration is checked in the same way
//! everywhere. If this build does not have a kind, building a sink of that kind fails.
//!
//! A new kind needs these parts: a folder with `settings.rs` (trait `Settings`) and `build.rs`
//! (trait `Build`), a line of the table at the end of this file, and its feature.

/// Declares the settings of a kind that is a TLS client. `..tls_files,` stands for the keys
/// `ca_file`, `certificate_file` and `key_file`, at its position among the others. They are plain
/// fields, so an error has the line and the key, and the list of known keys.
macro_rules! with_tls_files {
    (
        $(#[$struct_meta:meta])*
        pub struct $name:ident {
            $($(#[$before_meta:meta])* pub $before:ident: $before_type:ty,)*
            ..tls_files,
            $($(#[$after_meta:meta])* pub $after:ident: $after_type:ty,)*
        }
    ) => {
        $(#[$struct_meta])*
        pub struct $name {
            $($(#[$before_meta])* pub $before: $before_type,)*
            /// The authorities to trust, in PEM. `None` means the system's authorities.
            #[serde(default)]
            pub ca_file: Option<std::path::PathBuf>,
            /// Our certificate and its chain, in PEM.
            #[serde(default)]
            pub certificate_file: Option<std::path::PathBuf>,
            /// The key of our certificate, in PEM.
            #[serde(default)]
            pub key_file: Option<std::path::PathBuf>,
            $($(#[$after_meta])* pub $after: $after_type,)*
        }

        impl $name {
            /// The files for TLS.
            pub(crate) fn tls(&self) -> livetrail_settings::TlsFiles<'_> {
                let (chain, key) = (&self.certificate_file, &self.key_file);
                let authorities = self.ca_file.as_ref();
                livetrail_settings::TlsFiles::new(authorities, chain.as_ref(), key.as_ref())
            }

            /// Resolves the files for TLS relative to this directory.
            fn resolve_tls(&mut self, base: &std::path::Path) {
                let own = [&mut self.certificate_file, &mut self.key_file];
                livetrail_settings::beside(base, own.into_iter().chain([&mut self.ca_file]));
            }
        }
    };
}

#[path = "file/settings.rs"]
mod file;
#[path = "kafka/settings.rs"]
mod kafka;
#[path = "otlp/settings.rs"]
mod otlp;
#[path = "postgres/settings.rs"]
mod postgres;
#[path = "s3/settings.rs"]
mod s3;
#[path = "stdout/settings.rs"]
mod stdout;
#[path = "syslog/settings.rs"]
mod syslog;
#[path = "webhook/settings.rs"]
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use livetrail_clock::Clock;
use livetrail_replica::{PersonalMode, ReplicaOptions, ReplicaOptionsError, ReplicaSink};
use livetrail_settings::{Bounds, ByteSize, Span};
use serde::Deserialize;

pub use file::*;
pub use kafka::*;
pub use otlp::*;
pub use postgres::*;
pub use s3::*;
pub use stdout::*;
pub use syslog::*;
pub use webhook::*;

use crate::error::SinksError;

/// Why a sink that cannot erase keeps no openings.
pub(crate) const CANNOT_ERASE: &str = "is \"opening\", and this kind of sink can erase nothing: use \"none\"; or \"clear\" with accept_unerasable = true, if names may stay there for ever";

/// Why a sink gets no names that stay for ever.
pub(crate) const NOT_ACCEPTED: &str = "is \"clear\", which puts names where nobody can erase them: say accept_unerasable = true as well, which goes on record, or use \"none\"";

/// Seconds in a day, for bounds.
pub(crate) const DAY_S: u64 = 86_400;

/// The checks and properties of a kind's settings. Keys are relative to the kind's table.
pub(crate) trait Settings {
    /// Resolves paths relative to the directory of the configuration file.
    fn resolve(&mut self, _base: &Path) {}

    /// What is wrong with the settings alone.
    fn problem(&self) -> Option<String> {
        None
    }

    /// Adds the bounds of the settings.
    fn bounds(&self, _bounds: &mut Bounds) {}

    /// Changes the options of the replicator for this kind.
    fn adjust(&self, _options: &mut ReplicaOptions) {}

    /// Whether the configuration itself contains a secret.
    fn has_a_secret_inside(&self) -> bool {
        false
    }

    /// The files that contain a secret.
    fn secret_files(&self) -> Vec<&PathBuf> {
        Vec::new()
    }

    /// What a sink of this kind has of personal data if the settings ask for this. The error says
    /// what the kind allows. By default nothing can be erased at the destination.
    fn personal(&self, asked: Personal, accept_unerasable: bool) -> Result<PersonalMode, String> {
        match asked {
            Personal::None => Ok(PersonalMode::None),
            Personal::Opening => Err(CANNOT_ERASE.to_owned()),
            Personal::Clear if accept_unerasable => Ok(PersonalMode::Clear),
            Personal::Clear => Err(NOT_ACCEPTED.to_owned()),
        }
    }

    /// Why this sink conflicts with an earlier one of the same kind: the key and the reason. The
    /// key begins with a dot, or is empty for the whole table. `name` and `its` are the two sinks'
    /// names.
    fn collision(&self, _name: &str, _other: &Self, _its: &str) -> Option<(&'static str, String)>
    where
        Self: Sized,
    {
        None
    }
}

/// What a sink gets of personal data.
///
/// Entries contain commitments; the personal data are in openings outside the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Personal {
    /// Entries alone.
    #[default]
    None,
    /// Also openings, where they can be erased again.
    Opening,
    /// Also openings, where nobody can erase them.
    Clear,
}

/// Builds a sink from the settings of a kind, if this build has the kind.
#[allow(dead_code, reason = "a build may omit all kinds")]
pub(crate) trait Build {
    /// Builds the sink. It does not connect. `personal` is one that the settings allow.
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError>;
}

/// The values that a program provides to the sinks that it builds.
#[derive(Debug, Clone)]
pub struct SinkContext<'a> {
    /// The directory for the cursors of sinks whose destination cannot report what it holds.
    pub cursors: &'a Path,
    /// The clock for signatures and retention.
    pub clock: Arc<dyn Clock>,
}

/// The defaults of the settings that all kinds have are those of the replicator.
fn required() -> bool {
    ReplicaOptions::default().required
}

fn patience() -> Span {
    Span(ReplicaOptions::default().patience)
}

fn batch_records() -> usize {
    ReplicaOptions::default().batch_records
}

fn batch_size() -> ByteSize {
    ByteSize(ReplicaOptions::default().batch_bytes)
}

fn attempt_timeout() -> Span {
    Span(ReplicaOptions::default().attempt_timeout)
}

fn erasure_overdue_after() -> Span {
    Span(ReplicaOptions::default().erasure_overdue_after)
}

/// The list of kinds: `KIND: SETTINGS, FEATURE;`. The macro makes [`KINDS`], the fields of
/// [`Sink`], and all code that visits each kind.
macro_rules! kinds {
    ($($kind:ident: $settings:ty, $feature:tt;)+) => {
        /// The kinds of sink, including those that this build does not have.
        pub const KINDS: &[&str] = &[$(stringify!($kind)),+];

        /// A sink that follows the trail: the settings that all kinds have, and those of its kind.
        ///
        /// ```
        /// use livetrail_sinks::settings::Sink;
        ///
        /// let text = "name = \"copy\"\n[file]\npath = \"trail.tsv\"";
        /// let sink: Sink = toml::from_str(text).unwrap();
        /// assert_eq!(sink.kinds(), ["file"]);
        /// assert_eq!(sink.wrong(), None);
        /// ```
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct Sink {
            /// The sink's name in logs, metrics and the trail.
            pub name: String,
            /// Whether the ledger keeps entries until this sink has them.
            #[serde(default = "required")]
            pub required: bool,
            /// How long a required sink may fail. After that the ledger may prune entries that the
            /// sink does not have.
            #[serde(default = "patience")]
            pub patience: Span,
            /// The most records per batch.
            #[serde(default = "batch_records")]
            pub batch_records: usize,
            /// The most bytes per batch.
            #[serde(default = "batch_size")]
            pub batch_size: ByteSize,
            /// How long one attempt may take.
            #[serde(default = "attempt_timeout")]
            pub attempt_timeout: Span,
            /// What the sink gets of personal data.
            #[serde(default)]
            pub personal: Personal,
            /// Whether names may go where nobody can erase them. Only for [`Personal::Clear`].
            #[serde(default)]
            pub accept_unerasable: bool,
            /// The age of an erasure that the sink has not applied, from which on it is an alert.
            #[serde(default = "erasure_overdue_after")]
            pub erasure_overdue_after: Span,
            $(
                #[doc = concat!("`[sink.", stringify!($kind), "]`.")]
                #[serde(default)]
                pub $kind: Option<$settings>,
            )+
        }

        impl Sink {
            /// Builds the sink. It does not connect.
            ///
            /// # Errors
            /// A secret or a certificate that cannot be read, an invalid address,
            /// [`SinksError::Personal`], or [`SinksError::NotBuilt`].
            pub fn build(&self, cx: &SinkContext<'_>) -> Result<Arc<dyn ReplicaSink>, SinksError> {
                let _ = cx;
                $(
                    #[cfg(feature = $feature)]
                    if let Some(settings) = &self.$kind {
                        let personal = settings
                            .personal(self.personal, self.accept_unerasable)
                            .map_err(|what| SinksError::Personal { what })?;
                        return settings.build(&self.name, personal, cx);
                    }
                )+
                Err(match self.kinds().first() {
                    Some(kind) => SinksError::NotBuilt { kind },
                    None => SinksError::NoKind,
                })
            }

            /// Why this sink conflicts with an earlier one: the key in this sink, and the reason.
            #[must_use]
            pub fn collision(&self, earlier: &Self) -> Option<(String, String)> {
                if self.name == earlier.name {
                    return Some(("name".to_owned(), format!("{:?} is there twice", self.name)));
                }
                $(
                    if let (Some(own), Some(its)) = (&self.$kind, &earlier.$kind)
                        && let Some((key, problem)) = own.collision(&self.name, its, &earlier.name)
                    {
                        return Some((format!("{}{key}", stringify!($kind)), problem));
                    }
                )+
                None
            }

            fn given(&self) -> impl Iterator<Item = (&'static str, &dyn Settings)> {
                let all: [(_, Option<&dyn Settings>); _] = [$((
                    stringify!($kind),
                    self.$kind.as_ref().map(|settings| settings as &dyn Settings),
                )),+];
                all.into_iter().filter_map(|(kind, settings)| Some((kind, settings?)))
            }

            fn given_mut(&mut self) -> impl Iterator<Item = &mut dyn Settings> {
                let all: [Option<&mut dyn Settings>; _] = [$(
                    self.$kind.as_mut().map(|settings| settings as &mut dyn Settings)
                ),+];
                all.into_iter().flatten()
            }
        }
    };
}

impl Sink {
    /// The options of the replicator for this sink.
    #[must_use]
    pub fn options(&self) -> ReplicaOptions {
        let mut options = ReplicaOptions::default();
        options.required = self.required;
        options.patience = self.patience.0;
        options.batch_records = self.batch_records;
        options.batch_bytes = self.batch_size.0;
        options.attempt_timeout = self.attempt_timeout.0;
        options.erasure_overdue_after = self.erasure_overdue_after.0;
        for (_, settings) in self.given() {
            settings.adjust(&mut options);
        }
        options
    }

    /// The kinds whose tables are present. There must be exactly one.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.given().map(|(kind, _)| kind).collect()
    }

    /// Resolves paths relative to the directory of the configuration file.
    pub fn resolve(&mut self, base: &Path) {
        for settings in self.given_mut() {
            settings.resolve(base);
        }
    }

    /// Whether the configuration itself contains a secret.
    #[must_use]
    pub fn has_a_secret_inside(&self) -> bool {
        self.given()
            .any(|(_, settings)| settings.has_a_secret_inside())
    }

    /// The files that contain a secret.
    pub fn files_with_secrets(&self) -> impl Iterator<Item = &PathBuf> {
        self.given()
            .flat_map(|(_, settings)| settings.secret_files())
    }

    /// Adds the bounds of each setting, with keys that are relative to this sink.
    pub fn bounds(&self, bounds: &mut Bounds) {
        bounds.span("patience", self.patience, 1, 3_650 * DAY_S);
        bounds.span("attempt_timeout", self.attempt_timeout, 1, 3_600);
        let overdue = self.erasure_overdue_after;
        bounds.span("erasure_overdue_after", overdue, 1_000, 3_650 * DAY_S);
        bounds.number("batch_records", self.batch_records, 1, 1_000_000, "");
        bounds.bytes("batch_size", self.batch_size, 1, 256 << 20);
        for (kind, settings) in self.given() {
            bounds.section(kind, |bounds| settings.bounds(bounds));
        }
    }

    /// What is wrong with the sink's settings alone: the key and the reason.
    #[must_use]
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        if let Err(error) = self.options().check(&self.name) {
            let key = match &error {
                ReplicaOptionsError::Name { .. } => "name",
                ReplicaOptionsError::BatchRecords(_) => "batch_records",
                ReplicaOptionsError::BatchBytes(_) => "batch_size",
                ReplicaOptionsError::ErasureOverdueAfter(_) => "erasure_overdue_after",
                _ => "attempt_timeout",
            };
            return Some((key, error.to_string()));
        }
        match self.kinds().as_slice() {
            [_] => {}
            [] => {
                let tables: Vec<_> = KINDS.iter().map(|kind| format!("[sink.{kind}]")).collect();
                let problem = format!(
                    "says of no kind where the records go; allowed is one of {}",
                    tables.join(", ")
                );
                return Some(("name", problem));
            }
            kinds => {
                let problem = format!(
                    "is of several kinds: {}; give each a [[sink]] of its own",
                    kinds.join(", ")
                );
                return Some(("name", problem));
            }
        }
        for (_, settings) in self.given() {
            if let Err(problem) = settings.personal(self.personal, self.accept_unerasable) {
                return Some(("personal", problem));
            }
        }
        if self.accept_unerasable && self.personal != Personal::Clear {
            let problem = "is there and nothing needs it: it is for personal = \"clear\"";
            return Some(("accept_unerasable", problem.to_owned()));
        }
        self.given()
            .find_map(|(kind, settings)| Some((kind, settings.problem()?)))
    }
}

kinds! {
    file: File, "file";
    kafka: Kafka, "kafka";
    otlp: Otlp, "otlp";
    postgres: Postgres, "postgres";
    s3: S3, "s3";
    stdout: Stdout, "stdout";
    syslog: Syslog, "syslog";
    webhook: Webhook, "webhook";
}

#[cfg(test)]
mod tests {
    use livetrail_clock::SystemClock;

    use super::*;

    #[test]
    fn a_sink_is_built_from_its_settings_alone() {
        let dir = tempfile::tempdir().unwrap();
        let text = "name = \"copy\"\n[file]\npath = \"trail.tsv\"\n";
        let mut sink: Sink = toml::from_str(text).unwrap();
        sink.resolve(dir.path());
        assert_eq!(sink.wrong(), None);
        let cx = SinkContext {
            cursors: dir.path(),
            clock: Arc::new(SystemClock::new()),
        };
        assert_eq!(sink.build(&cx).unwrap().name(), "copy");
        sink.file = None;
        assert!(matches!(sink.build(&cx), Err(SinksError::NoKind)));
    }

    #[test]
    fn names_go_only_where_the_kind_and_the_operator_allow_it() {
        let kinds = [
            ("[file]\npath = \"a\"", false),
            ("[stdout]", false),
            ("[syslog]\naddress = \"localhost\"", false),
            ("[otlp]\nendpoint = \"http://localhost\"", false),
            (
                "[webhook]\nurl = \"http://localhost/\"\nsecret_env = \"A\"",
                false,
            ),
            ("[postgres]\nurl = \"postgres://a@localhost/a\"", true),
        ];
        let of = |kind: &str, settings: &str| -> Option<(&'static str, String)> {
            let text = format!("name = \"a\"\n{settings}\n{kind}\n");
            toml::from_str::<Sink>(&text).unwrap().wrong()
        };
        for (kind, erases) in kinds {
            assert_eq!(of(kind, ""), None, "{kind}");
            assert_eq!(of(kind, "personal = \"none\""), None, "{kind}");
            let opening = of(kind, "personal = \"opening\"");
            assert_eq!(opening.is_none(), erases, "{kind}: {opening:?}");
            let clear = of(kind, "personal = \"clear\"");
            assert_eq!(clear.is_none(), erases, "{kind}: {clear:?}");
            let accepted = of(kind, "personal = \"clear\"\naccept_unerasable = true");
            assert_eq!(accepted, None, "{kind}");
            let (key, _) = of(kind, "accept_unerasable = true").unwrap();
            assert_eq!(key, "accept_unerasable");
        }
        let (key, problem) = of(kinds[0].0, "personal = \"clear\"").unwrap();
        assert_eq!(key, "personal");
        assert!(problem.contains("accept_unerasable = true"), "{problem}");
        let s3 = "[s3]\nbucket = \"abc\"\nregion = \"a\"\nlock = \"none\"";
        assert_eq!(of(s3, "personal = \"opening\""), None);
        let kafka = "[kafka]\nbrokers = [\"a:1\"]\ntopic = \"a\"";
        assert_eq!(of(kafka, "personal = \"opening\""), None);
        let shared = format!("{kafka}\nopenings_topic = \"a\"");
        assert_eq!(of(&shared, "personal = \"opening\"").unwrap().0, "kafka");
        for kind in [s3, kafka] {
            let clear = of(kind, "personal = \"clear\"\naccept_unerasable = true");
            assert_eq!(clear.unwrap().0, "personal", "{kind}");
        }
    }

    #[test]
    fn the_list_of_kinds_is_in_the_errors_and_each_kind_is_a_key() {
        let none: Sink = toml::from_str("name = \"a\"").unwrap();
        let (key, problem) = none.wrong().unwrap();
        assert_eq!(key, "name");
        let error = toml::from_str::<Sink>("name = \"a\"\n[nothing]\n").unwrap_err();
        for kind in KINDS {
            assert!(problem.contains(&format!("[sink.{kind}]")), "{problem}");
            assert!(error.message().contains(&format!("`{kind}`")), "{error}");
        }
    }
}

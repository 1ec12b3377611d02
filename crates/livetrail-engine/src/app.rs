//! Applications: named groups of streams with common settings.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    bus::MAX_RING_FRAMES, error::Error, identity::AppName, limit::IngressLimit, pattern::AppPattern,
};

/// What the engine does with a publish for a stream that has a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DuplicatePublisher {
    /// It refuses the new publisher (`already_publishing`).
    Refuse,
    /// The new publisher replaces the old one if both have the same principal, that is, the same
    /// key or the same subject of a token admitted them. An encoder that reconnects then does not
    /// wait for its own stale connection. Otherwise the new one is refused, and always if
    /// publishers have no principal.
    #[default]
    ReplaceOwn,
    /// The new publisher replaces the old one (`replaced`); the old one's viewers end as well
    /// (`stream_ended`).
    Replace,
}

/// An application and its settings. Frame counts include all kinds.
#[derive(Debug, Clone)]
pub struct AppSpec {
    name: String,
    settings: AppSettings,
}

/// The settings of an application, as streams use them. [`AppSpec`] sets them; the default applies
/// to each setting that an application does not set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AppSettings {
    /// See [`AppSpec::gop_cache`].
    pub gop_cache_frames: usize,
    /// See [`AppSpec::gop_cache_bytes`].
    pub gop_cache_bytes: usize,
    /// See [`AppSpec::ring_capacity`].
    pub ring_capacity: usize,
    /// See [`AppSpec::subscriber_max_lag`].
    pub subscriber_max_lag: u64,
    /// See [`AppSpec::subscriber_lag_budget`].
    pub subscriber_lag_budget: u32,
    /// See [`AppSpec::subscriber_stall_timeout`].
    pub subscriber_stall_timeout: Duration,
    /// See [`AppSpec::duplicate_publisher`].
    pub duplicate_publisher: DuplicatePublisher,
    /// See [`AppSpec::ingress_limit`].
    pub ingress: IngressLimit,
    /// See [`AppSpec::max_publishers`].
    pub max_publishers: usize,
    /// See [`AppSpec::max_viewers`].
    pub max_viewers: usize,
    /// See [`AppSpec::max_instances`].
    pub max_instances: usize,
    /// See [`AppSpec::viewer_bits_per_second`].
    pub viewer_bits_per_second: u64,
    /// See [`AppSpec::egress_bits_per_second`].
    pub egress_bits_per_second: u64,
    /// See [`AppSpec::wait_for_publisher`].
    pub wait_for_publisher: Duration,
    /// The pattern of names, if these are the settings of several applications.
    pub pattern: Option<AppPattern>,
}

impl Default for AppSettings {
    fn default() -> Self {
        Self {
            gop_cache_frames: 1_024,
            gop_cache_bytes: DEFAULT_GOP_BYTES,
            ring_capacity: 0,
            subscriber_max_lag: 512,
            subscriber_lag_budget: 3,
            subscriber_stall_timeout: Duration::from_secs(5),
            duplicate_publisher: DuplicatePublisher::default(),
            ingress: IngressLimit::default(),
            max_publishers: 0,
            max_viewers: 0,
            max_instances: 1_000,
            viewer_bits_per_second: 0,
            egress_bits_per_second: 0,
            wait_for_publisher: Duration::ZERO,
            pattern: None,
        }
    }
}

impl AppSettings {
    /// Frames that the ring must hold beyond the needs of the other settings.
    pub(crate) fn spare_ring_frames(&self) -> usize {
        self.ring_capacity.saturating_sub(self.needed_ring_frames())
    }

    fn needed_ring_frames(&self) -> usize {
        self.gop_ring_frames()
            .saturating_add(self.lag_ring_frames())
    }

    fn lag_ring_frames(&self) -> usize {
        let lag = usize::try_from(self.subscriber_max_lag).unwrap_or(usize::MAX);
        lag.saturating_add(2)
    }

    /// Whether the stream keeps GOPs for late joiners.
    pub(crate) fn keeps_gops(&self) -> bool {
        self.gop_cache_frames > 0 && self.gop_cache_bytes > 0
    }

    /// The maximum number of frames of all kinds in a kept GOP: each video frame comes with up to
    /// three frames of sound and data, as far as the ring has space for them.
    pub(crate) fn gop_ring_frames(&self) -> usize {
        let room = MAX_RING_FRAMES.saturating_sub(self.lag_ring_frames());
        let all = self.gop_cache_frames.saturating_mul(FRAMES_PER_PICTURE);
        all.min(room).max(self.gop_cache_frames)
    }

    /// The maximum number of payload bytes in a stream's ring: the GOP, and the same amount for
    /// readers that lag.
    pub(crate) fn ring_bytes(&self) -> usize {
        match self.gop_cache_bytes {
            0 => DEFAULT_GOP_BYTES,
            bytes => bytes.saturating_mul(2),
        }
    }
}

impl AppSpec {
    /// An application with default settings; the name is checked when the engine is built. A name
    /// that ends with `*`, such as `tenant-*`, is a pattern ([`AppPattern`]): each application
    /// whose name begins so has these settings, unless it has its own, or a longer pattern covers
    /// it.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            settings: AppSettings::default(),
        }
    }

    /// Sets the maximum video frames of a GOP that are kept for late joiners (1,024), with up to
    /// three frames of sound and data for each. A longer GOP is not replayed: a viewer that joins
    /// in it waits for the next keyframe, without sound for up to 2 s. 0 keeps no GOP.
    #[must_use]
    pub fn gop_cache(mut self, frames: usize) -> Self {
        self.settings.gop_cache_frames = frames;
        self
    }

    /// Sets the maximum number of payload bytes of a GOP that are kept for late joiners (16 MiB). A
    /// stream's ring holds at most twice as much. 0 keeps no GOP; the ring then holds up to 16 MiB
    /// for viewers that lag.
    #[must_use]
    pub fn gop_cache_bytes(mut self, bytes: usize) -> Self {
        self.settings.gop_cache_bytes = bytes;
        self
    }

    /// Sets the frames in a stream's ring, rounded up to a power of two. The minimum, and the
    /// default, is what the GOP cache and the lag need together. The ring keeps as many frames as
    /// the current GOPs and the lag need, plus the frames requested beyond that, plus up to 15
    /// more, because frames are dropped sixteen at a time.
    #[must_use]
    pub fn ring_capacity(mut self, frames: usize) -> Self {
        self.settings.ring_capacity = frames;
        self
    }

    /// Sets how many frames a viewer may be behind before it is moved to the newest keyframe (512);
    /// at least 1.
    #[must_use]
    pub fn subscriber_max_lag(mut self, frames: u64) -> Self {
        self.settings.subscriber_max_lag = frames;
        self
    }

    /// Sets how many times within a minute a viewer may be moved forward; one more time evicts it
    /// (3).
    #[must_use]
    pub fn subscriber_lag_budget(mut self, times: u32) -> Self {
        self.settings.subscriber_lag_budget = times;
        self
    }

    /// Sets how long a viewer may be over its lag and read nothing before it is evicted (5 s).
    #[must_use]
    pub fn subscriber_stall_timeout(mut self, timeout: Duration) -> Self {
        self.settings.subscriber_stall_timeout = timeout;
        self
    }

    /// Sets what happens to a second publisher ([`ReplaceOwn`](DuplicatePublisher::ReplaceOwn)). A
    /// replaced publisher continues until the new one has passed all gates.
    #[must_use]
    pub fn duplicate_publisher(mut self, policy: DuplicatePublisher) -> Self {
        self.settings.duplicate_publisher = policy;
        self
    }

    /// Sets how much a publisher may send (no limit).
    #[must_use]
    pub fn ingress_limit(mut self, limit: IngressLimit) -> Self {
        self.settings.ingress = limit;
        self
    }

    /// Sets the maximum number of publishers at once in this application (0). 0 means
    /// [`Limits::max_publishers_per_application`](crate::Limits::max_publishers_per_application).
    #[must_use]
    pub fn max_publishers(mut self, n: usize) -> Self {
        self.settings.max_publishers = n;
        self
    }

    /// Sets the maximum number of viewers at once in this application (0); 0 is no limit.
    #[must_use]
    pub fn max_viewers(mut self, n: usize) -> Self {
        self.settings.max_viewers = n;
        self
    }

    /// Sets the maximum number of applications with a session at once that this pattern may stand
    /// for (1,000). Beyond it another name is refused (`limit_reached`). For a pattern alone.
    #[must_use]
    pub fn max_instances(mut self, n: usize) -> Self {
        self.settings.max_instances = n;
        self
    }

    /// Sets how much each viewer may be sent, in bits per second (0); 0 is no cap. A viewer above
    /// it falls behind and skips frames, from keyframe to keyframe.
    #[must_use]
    pub fn viewer_bits_per_second(mut self, bits: u64) -> Self {
        self.settings.viewer_bits_per_second = bits;
        self
    }

    /// Sets how much all viewers of this application together may need, in bits per second (0); 0
    /// is no cap. A viewer whose stream does not fit is refused (`limit_reached`). What a viewer
    /// needs is its stream's bitrate, at most the viewer's cap.
    #[must_use]
    pub fn egress_bits_per_second(mut self, bits: u64) -> Self {
        self.settings.egress_bits_per_second = bits;
        self
    }

    /// Sets how long viewers wait for a publisher, both for the first one and while one reconnects
    /// (zero: they do not wait). Their sessions continue with the new publisher's configurations
    /// and frames.
    #[must_use]
    pub fn wait_for_publisher(mut self, grace: Duration) -> Self {
        self.settings.wait_for_publisher = grace;
        self
    }

    pub(crate) fn check(mut self) -> Result<(AppName, AppSettings), Error> {
        let settings = &mut self.settings;
        settings.ring_capacity = settings.ring_capacity.max(settings.needed_ring_frames());
        if settings.subscriber_max_lag == 0 {
            return Err(Error::NoLag { app: self.name });
        }
        if settings.ring_capacity > MAX_RING_FRAMES {
            return Err(Error::RingTooLarge {
                app: self.name,
                frames: settings.ring_capacity,
            });
        }
        match AppName::new(&self.name) {
            Ok(name) => {
                let pattern = AppPattern::from(&name);
                self.settings.pattern = pattern.is_open().then_some(pattern);
                Ok((name, self.settings))
            }
            Err(source) => Err(Error::AppName {
                name: self.name,
                source,
            }),
        }
    }
}

/// The applications of an engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Apps {
    /// By name, or by the text of a pattern.
    pub(crate) named: HashMap<AppName, Arc<AppSettings>>,
    /// Those of a pattern, the longest first.
    patterns: Vec<Arc<AppSettings>>,
}

impl Apps {
    /// Adds an application. False if its name is there already.
    pub(crate) fn add(&mut self, name: AppName, settings: Arc<AppSettings>) -> bool {
        if self.named.contains_key(&name) {
            return false;
        }
        self.named.insert(name, settings);
        self.sort();
        true
    }

    /// Removes an application, or a pattern.
    pub(crate) fn remove(&mut self, name: &AppName) {
        self.named.remove(name);
        self.sort();
    }

    /// The settings of an application: its own, or those of the longest pattern that covers it.
    pub(crate) fn get(&self, name: &AppName) -> Option<&Arc<AppSettings>> {
        let covers = |settings: &&Arc<AppSettings>| {
            let pattern = settings.pattern.as_ref();
            pattern.is_some_and(|pattern| pattern.covers(name))
        };
        let own = self.named.get(name);
        own.or_else(|| self.patterns.iter().find(covers))
    }

    fn sort(&mut self) {
        let all = self.named.values();
        self.patterns = all.filter(|app| app.pattern.is_some()).cloned().collect();
        let length = |app: &Arc<AppSettings>| app.pattern.as_ref().map(|p| p.as_str().len());
        self.patterns
            .sort_by_key(|app| std::cmp::Reverse(length(app)));
    }
}

/// The default for the payload bytes of a kept GOP.
const DEFAULT_GOP_BYTES: usize = 16 << 20;

/// Frames of all kinds per video frame: 25 pictures and 47 frames of sound per second make three.
const FRAMES_PER_PICTURE: usize = 4;

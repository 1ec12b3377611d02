//! The section `[limits]`: how many sessions, and how long a stream may be silent.

use livetrail_engine::{Limits, Rate};
use livetrail_settings::{Bounds, ByteSize, Span};
use serde::Deserialize;

use super::section::{DAY_S, Section};

/// The largest cap on what is sent: a terabit per second.
pub(super) const MAX_BITS_PER_SECOND: u64 = 1_000_000_000_000;

/// Limits on sessions, and on how long a stream may be silent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SessionLimits {
    pub(crate) max_publishers: usize,
    pub(crate) max_publishers_per_ip: usize,
    pub(crate) max_publishers_per_key: usize,
    pub(crate) max_publishers_per_application: usize,
    pub(crate) max_sessions_per_ip: usize,
    pub(crate) max_subscribers_per_stream: usize,
    pub(crate) max_waiting_viewers: usize,
    pub(crate) viewer_bits_per_second: u64,
    pub(crate) egress_bits_per_second: u64,
    pub(crate) stream_memory: ByteSize,
    pub(crate) idle_timeout: Span,
    pub(crate) first_frame_timeout: Span,
    pub(crate) admission_timeout: Span,
    pub(crate) attempts: Attempts,
    pub(crate) short_sessions: ShortSessions,
}

/// Limit on the refusals, and on the sessions shorter than a second, of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Attempts {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        let Rate { per_second, burst } = Limits::default().attempts;
        Self {
            rate: per_second,
            burst,
        }
    }
}

/// Limit on the sessions shorter than a second of all addresses together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ShortSessions {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
}

impl Default for ShortSessions {
    fn default() -> Self {
        let Rate { per_second, burst } = Limits::default().short_sessions;
        Self {
            rate: per_second,
            burst,
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        let of = Limits::default();
        Self {
            max_publishers: of.max_publishers,
            max_publishers_per_ip: of.max_publishers_per_address,
            max_publishers_per_key: of.max_publishers_per_principal,
            max_publishers_per_application: of.max_publishers_per_application,
            max_sessions_per_ip: of.max_sessions_per_address,
            max_subscribers_per_stream: of.max_subscribers_per_stream,
            max_waiting_viewers: of.max_waiting_viewers,
            viewer_bits_per_second: of.viewer_bits_per_second,
            egress_bits_per_second: of.egress_bits_per_second,
            stream_memory: ByteSize(usize::try_from(of.stream_memory).unwrap_or(usize::MAX)),
            idle_timeout: Span(of.idle_timeout),
            first_frame_timeout: Span(of.first_frame_timeout),
            admission_timeout: Span(of.admission_timeout),
            attempts: Attempts::default(),
            short_sessions: ShortSessions::default(),
        }
    }
}

impl SessionLimits {
    /// The limits in the form that the engine takes.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_publishers = self.max_publishers;
        limits.max_publishers_per_address = self.max_publishers_per_ip;
        limits.max_publishers_per_principal = self.max_publishers_per_key;
        limits.max_publishers_per_application = self.max_publishers_per_application;
        limits.max_sessions_per_address = self.max_sessions_per_ip;
        limits.max_subscribers_per_stream = self.max_subscribers_per_stream;
        limits.max_waiting_viewers = self.max_waiting_viewers;
        limits.viewer_bits_per_second = self.viewer_bits_per_second;
        limits.egress_bits_per_second = self.egress_bits_per_second;
        limits.stream_memory = self.stream_memory.0 as u64;
        limits.idle_timeout = self.idle_timeout.0;
        limits.first_frame_timeout = self.first_frame_timeout.0;
        limits.admission_timeout = self.admission_timeout.0;
        limits.attempts = Rate {
            per_second: self.attempts.rate,
            burst: self.attempts.burst,
        };
        limits.short_sessions = Rate {
            per_second: self.short_sessions.rate,
            burst: self.short_sessions.burst,
        };
        limits
    }
}

impl Section for SessionLimits {
    fn bounds(&self, list: &mut Bounds) {
        list.number("max_publishers", self.max_publishers, 1, 100_000, "");
        for (key, value, most) in [
            ("max_publishers_per_ip", self.max_publishers_per_ip, 100_000),
            (
                "max_publishers_per_key",
                self.max_publishers_per_key,
                100_000,
            ),
            (
                "max_publishers_per_application",
                self.max_publishers_per_application,
                100_000,
            ),
            ("max_sessions_per_ip", self.max_sessions_per_ip, 10_000_000),
            ("max_waiting_viewers", self.max_waiting_viewers, 1_000_000),
        ] {
            list.number(key, value, 0, most, "");
        }
        for (key, value) in [
            ("attempts.rate", self.attempts.rate),
            ("attempts.burst", self.attempts.burst),
            ("short_sessions.rate", self.short_sessions.rate),
            ("short_sessions.burst", self.short_sessions.burst),
        ] {
            list.number(key, value, 1, 1_000_000, "");
        }
        for (key, bits) in [
            ("viewer_bits_per_second", self.viewer_bits_per_second),
            ("egress_bits_per_second", self.egress_bits_per_second),
        ] {
            list.number(key, bits, 0, MAX_BITS_PER_SECOND, "");
        }
        // Each stream may keep 1 MiB, even if the budget is used up.
        list.bytes("stream_memory", self.stream_memory, 1 << 20, 1 << 40);
        list.span("first_frame_timeout", self.first_frame_timeout, 0, 3_600);
        list.span("admission_timeout", self.admission_timeout, 1, 300);
        let viewers = self.max_subscribers_per_stream;
        list.number("max_subscribers_per_stream", viewers, 1, 10_000_000, "");
        list.span("idle_timeout", self.idle_timeout, 0, DAY_S);
    }
}

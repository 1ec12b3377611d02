//! How much each setting may be. A value beyond its bound would not be refused by anything later, but would take all memory, overflow a
//! timer or wait for ever.

use std::time::Duration;

use super::{ByteSize, Config, Span};

/// Seconds in a day, for bounds.
const DAY: u64 = 86_400;

/// What one setting is and may be.
pub(super) struct Bound {
    /// Its key, as in `application[0].gop_cache_bytes`.
    pub(super) key: String,
    value: u128,
    least: u128,
    most: u128,
    unit: Unit,
    /// What a value that large would take.
    cost: &'static str,
}

#[derive(Clone, Copy)]
enum Unit {
    Number,
    Bytes,
    Nanoseconds,
}

impl Unit {
    fn shown(self, value: u128) -> String {
        match self {
            Self::Number => value.to_string(),
            Self::Bytes => ByteSize(usize::try_from(value).unwrap_or(usize::MAX)).to_string(),
            Self::Nanoseconds => Span(Duration::from_nanos(
                u64::try_from(value).unwrap_or(u64::MAX),
            ))
            .to_string(),
        }
    }
}

impl Bound {
    /// What is wrong with the value, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let Self {
            value, least, most, ..
        } = self;
        (value < least || value > most).then(|| format!("must be {}", self.allowed()))
    }

    /// The range, and what the most of it takes: `1 to 16777216, which take 1.7 GB`.
    pub(super) fn allowed(&self) -> String {
        let [least, most] = [self.least, self.most].map(|bound| self.unit.shown(bound));
        let cost = self.cost;
        format!("{least} to {most}{cost}")
    }
}

/// All bounds, each with the value that it has here.
pub(super) fn all(config: &Config) -> Vec<Bound> {
    let mut list = List(Vec::new());
    list.whole(config);
    for (i, app) in config.application.iter().enumerate() {
        list.application(&format!("application[{i}]"), app);
    }
    for (i, sink) in config.sink.iter().enumerate() {
        list.sink(&format!("sink[{i}]"), sink);
    }
    list.0
}

/// The bound of a setting, whichever item of an array it belongs to.
pub(super) fn of(key: &str) -> Option<Bound> {
    let first: String = key
        .split('.')
        .map(|part| match part.split_once('[') {
            Some((name, _)) => format!("{name}[0]"),
            None => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(".");
    all(&Config::default())
        .into_iter()
        .find(|bound| bound.key == first)
}

struct List(Vec<Bound>);

impl List {
    fn whole(&mut self, config: &Config) {
        let Config {
            rtmp,
            http,
            audit,
            trail,
            limits,
            auth,
            api,
            ..
        } = config;
        self.span("shutdown_timeout", config.shutdown_timeout, 100, 3_600);

        let connections = ", which take 12 GB and as many open files";
        self.number(
            "rtmp.max_connections",
            rtmp.max_connections,
            1,
            1_000_000,
            connections,
        );
        self.number(
            "rtmp.max_connections_per_ip",
            rtmp.max_connections_per_ip,
            0,
            1_000_000,
            "",
        );
        self.span("rtmp.handshake_timeout", rtmp.handshake_timeout, 1, 3_600);
        self.span("rtmp.command_timeout", rtmp.command_timeout, 1, 3_600);
        self.span("rtmp.pause_timeout", rtmp.pause_timeout, 1, DAY);
        self.span(
            "rtmp.write_stall_timeout",
            rtmp.write_stall_timeout,
            1,
            3_600,
        );
        self.number("rtmp.egress_threads", rtmp.egress_threads, 0, 256, "");
        self.span("rtmp.send_interval", rtmp.send_interval, 0, 1);
        self.number(
            "http.max_connections",
            http.max_connections,
            1,
            1_000_000,
            connections,
        );
        self.number(
            "http.max_connections_per_ip",
            http.max_connections_per_ip,
            0,
            1_000_000,
            "",
        );
        self.span("http.header_timeout", http.header_timeout, 1, 3_600);
        self.span(
            "http.write_stall_timeout",
            http.write_stall_timeout,
            1,
            3_600,
        );
        self.number("http.egress_threads", http.egress_threads, 0, 256, "");
        self.span("http.send_interval", http.send_interval, 0, 1);

        let compared = ": each is compared with every attempt";
        self.number("api.token", api.token.len(), 0, 1_000, compared);
        self.number("auth.key", auth.key.len(), 0, 10_000, compared);
        self.number("auth.token_key", auth.token_key.len(), 0, 1_000, compared);
        self.number("auth.allow_ips", auth.allow_ips.len(), 0, 10_000, compared);
        self.number("auth.deny_ips", auth.deny_ips.len(), 0, 10_000, compared);
        self.number("application", config.application.len(), 1, 10_000, "");
        self.number(
            "sink",
            config.sink.len(),
            0,
            32,
            ": each has a thread, and two batches in memory",
        );

        self.number(
            "limits.max_publishers",
            limits.max_publishers,
            1,
            100_000,
            "",
        );
        for (key, value, most) in [
            (
                "limits.max_publishers_per_ip",
                limits.max_publishers_per_ip,
                100_000,
            ),
            (
                "limits.max_publishers_per_key",
                limits.max_publishers_per_key,
                100_000,
            ),
            (
                "limits.max_publishers_per_application",
                limits.max_publishers_per_application,
                100_000,
            ),
            (
                "limits.max_sessions_per_ip",
                limits.max_sessions_per_ip,
                10_000_000,
            ),
            (
                "limits.max_waiting_viewers",
                limits.max_waiting_viewers,
                1_000_000,
            ),
        ] {
            self.number(key, value, 0, most, "");
        }
        for (key, value) in [
            ("limits.attempts.rate", limits.attempts.rate),
            ("limits.attempts.burst", limits.attempts.burst),
            ("limits.short_sessions.rate", limits.short_sessions.rate),
            ("limits.short_sessions.burst", limits.short_sessions.burst),
        ] {
            self.number(key, value, 1, 1_000_000, "");
        }
        // Each stream may keep 1 MiB, however little there is.
        self.bytes(
            "limits.stream_memory",
            limits.stream_memory,
            1 << 20,
            1 << 40,
        );
        self.span(
            "limits.first_frame_timeout",
            limits.first_frame_timeout,
            0,
            3_600,
        );
        self.span("limits.admission_timeout", limits.admission_timeout, 1, 300);
        let viewers = limits.max_subscribers_per_stream;
        self.number(
            "limits.max_subscribers_per_stream",
            viewers,
            1,
            10_000_000,
            "",
        );
        self.span("limits.idle_timeout", limits.idle_timeout, 0, DAY);

        let queue = ", which take 1.7 GB in addition to the records' text";
        self.number("audit.capacity", audit.capacity, 1, 1 << 24, queue);
        self.number(
            "audit.refusals_per_second",
            audit.refusals_per_second,
            0,
            10_000,
            "",
        );
        self.span("audit.deadline", audit.deadline, 1, 60);
        self.span("audit.heartbeat", audit.heartbeat, 10, DAY);

        self.span("trail.commit_interval", trail.commit_interval, 0, 1);
        self.span(
            "trail.checkpoint_interval",
            trail.checkpoint_interval,
            1,
            60,
        );
        // At least one commit, which has 8 MiB at most.
        self.bytes(
            "trail.wal_segment_size",
            trail.wal_segment_size,
            9 << 20,
            1 << 30,
        );
        self.bytes("trail.reserve_size", trail.reserve_size, 0, 64 << 30);
        if let Some(retention) = trail.retention {
            self.span("trail.retention", retention, 10_000, 36_500 * DAY);
        }
        if let Some(size) = trail.retention_size {
            self.bytes("trail.retention_size", size, 1 << 20, 1 << 49);
        }
        self.span("trail.witness_interval", trail.witness_interval, 100, 3_600);
        self.span(
            "trail.witness_overdue_after",
            trail.witness_overdue_after,
            1_000,
            DAY,
        );
        let most = livetrail_ledger::MAX_WITNESSES;
        self.number("trail.witness", trail.witness.len(), 0, most, "");
    }

    fn application(&mut self, at: &str, app: &super::Application) {
        let key = |name: &str| format!("{at}.{name}");
        self.number(
            &key("gop_cache_frames"),
            app.gop_cache_frames,
            0,
            1 << 20,
            "",
        );
        self.bytes(&key("gop_cache_bytes"), app.gop_cache_bytes, 0, 4 << 30);
        self.number(&key("max_lag_frames"), app.max_lag_frames, 1, 1 << 20, "");
        self.number(&key("lag_budget"), app.lag_budget, 0, 10_000, "");
        self.span(&key("stall_timeout"), app.stall_timeout, 1, 3_600);
        self.number(&key("max_publishers"), app.max_publishers, 0, 100_000, "");
        self.span(&key("wait_for_publisher"), app.wait_for_publisher, 0, 3_600);
        let ingress = &app.ingress;
        if let Some(rate) = ingress.bytes_per_second {
            self.bytes(&key("ingress.bytes_per_second"), rate, 1, 16 << 30);
        }
        if let Some(rate) = ingress.frames_per_second {
            self.number(&key("ingress.frames_per_second"), rate, 1, 1_000_000, "");
        }
        self.span(&key("ingress.burst"), ingress.burst, 0, 3_600);
        self.span(&key("ingress.patience"), ingress.patience, 0, DAY);
    }

    fn sink(&mut self, at: &str, sink: &super::Sink) {
        let key = |name: &str| format!("{at}.{name}");
        self.span(&key("patience"), sink.patience, 1, 3_650 * DAY);
        self.span(&key("attempt_timeout"), sink.attempt_timeout, 1, 3_600);
        self.number(&key("batch_records"), sink.batch_records, 1, 1_000_000, "");
        self.bytes(&key("batch_size"), sink.batch_size, 1, 256 << 20);
        if let Some(file) = &sink.file {
            if let Some(size) = file.rotate_bytes {
                self.bytes(&key("file.rotate_bytes"), size, 64 << 10, 16 << 40);
            }
            if let Some(every) = file.rotate_every {
                self.span(&key("file.rotate_every"), every, 60_000, 3_650 * DAY);
            }
            if let Some(files) = file.keep_files {
                self.number(&key("file.keep_files"), files, 1, 1_000_000, "");
            }
        }
        if let Some(s3) = &sink.s3 {
            for (name, keep) in [
                ("s3.keep_entries", s3.keep_entries),
                ("s3.keep_tiles", s3.keep_tiles),
                ("s3.keep_checkpoints", s3.keep_checkpoints),
            ] {
                if let Some(keep) = keep {
                    self.span(&key(name), keep, 1_000, 36_500 * DAY);
                }
            }
            self.span(&key("s3.batch_interval"), s3.batch_interval, 0, 60);
        }
        if let Some(syslog) = &sink.syslog {
            self.number(&key("syslog.facility"), syslog.facility, 0, 23, "");
        }
    }

    fn number<N: TryInto<u64>>(
        &mut self,
        key: &str,
        value: N,
        least: u64,
        most: impl TryInto<u64>,
        cost: &'static str,
    ) {
        self.0.push(Bound {
            key: key.to_owned(),
            value: value.try_into().unwrap_or(u64::MAX).into(),
            least: least.into(),
            most: most.try_into().unwrap_or(u64::MAX).into(),
            unit: Unit::Number,
            cost,
        });
    }

    fn bytes(&mut self, key: &str, ByteSize(value): ByteSize, least: u64, most: u64) {
        self.0.push(Bound {
            key: key.to_owned(),
            value: value as u128,
            least: least.into(),
            most: most.into(),
            unit: Unit::Bytes,
            cost: "",
        });
    }

    /// The least in milliseconds, the most in seconds.
    fn span(&mut self, key: &str, Span(value): Span, least_ms: u64, most_s: u64) {
        self.0.push(Bound {
            key: key.to_owned(),
            value: value.as_nanos(),
            least: Duration::from_millis(least_ms).as_nanos(),
            most: Duration::from_secs(most_s).as_nanos(),
            unit: Unit::Nanoseconds,
            cost: "",
        });
    }
}

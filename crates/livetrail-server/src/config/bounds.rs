//! The bounds of each setting. Nothing later refuses a value beyond its bound: it would take all
//! memory, overflow a timer or wait for ever.

use livetrail_settings::{Bound, Bounds};

use super::Config;

/// Seconds per day.
const DAY: u64 = 86_400;

/// All bounds, each with the value of this configuration.
pub(super) fn all(config: &Config) -> Vec<Bound> {
    let mut list = Bounds::default();
    whole(&mut list, config);
    for (i, app) in config.application.iter().enumerate() {
        application(&mut list, &format!("application[{i}]"), app);
    }
    for (i, sink) in config.sink.iter().enumerate() {
        sink.bounds(&format!("sink[{i}]"), &mut list);
    }
    list.into_vec()
}

/// The bound of a setting. All items of an array have the same bounds.
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

fn whole(list: &mut Bounds, config: &Config) {
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
    list.span("shutdown_timeout", config.shutdown_timeout, 100, 3_600);

    let connections = ", which take 12 GB and as many open files";
    list.number(
        "rtmp.max_connections",
        rtmp.max_connections,
        1,
        1_000_000,
        connections,
    );
    list.number(
        "rtmp.max_connections_per_ip",
        rtmp.max_connections_per_ip,
        0,
        1_000_000,
        "",
    );
    list.span("rtmp.handshake_timeout", rtmp.handshake_timeout, 1, 3_600);
    list.span("rtmp.command_timeout", rtmp.command_timeout, 1, 3_600);
    list.span("rtmp.pause_timeout", rtmp.pause_timeout, 1, DAY);
    list.span(
        "rtmp.write_stall_timeout",
        rtmp.write_stall_timeout,
        1,
        3_600,
    );
    list.number("rtmp.egress_threads", rtmp.egress_threads, 0, 256, "");
    list.span("rtmp.send_interval", rtmp.send_interval, 0, 1);
    list.number(
        "http.max_connections",
        http.max_connections,
        1,
        1_000_000,
        connections,
    );
    list.number(
        "http.max_connections_per_ip",
        http.max_connections_per_ip,
        0,
        1_000_000,
        "",
    );
    list.span("http.header_timeout", http.header_timeout, 1, 3_600);
    list.span(
        "http.write_stall_timeout",
        http.write_stall_timeout,
        1,
        3_600,
    );
    list.number("http.egress_threads", http.egress_threads, 0, 256, "");
    list.span("http.send_interval", http.send_interval, 0, 1);

    let compared = ": each is compared with every attempt";
    list.number("api.token", api.token.len(), 0, 1_000, compared);
    list.number("auth.key", auth.key.len(), 0, 10_000, compared);
    list.number("auth.token_key", auth.token_key.len(), 0, 1_000, compared);
    list.number("auth.allow_ips", auth.allow_ips.len(), 0, 10_000, compared);
    list.number("auth.deny_ips", auth.deny_ips.len(), 0, 10_000, compared);
    list.number("application", config.application.len(), 1, 10_000, "");
    list.number(
        "sink",
        config.sink.len(),
        0,
        32,
        ": each has a thread, and two batches in memory",
    );

    list.number(
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
        list.number(key, value, 0, most, "");
    }
    for (key, value) in [
        ("limits.attempts.rate", limits.attempts.rate),
        ("limits.attempts.burst", limits.attempts.burst),
        ("limits.short_sessions.rate", limits.short_sessions.rate),
        ("limits.short_sessions.burst", limits.short_sessions.burst),
    ] {
        list.number(key, value, 1, 1_000_000, "");
    }
    // Each stream may keep 1 MiB, even if the budget is used up.
    list.bytes(
        "limits.stream_memory",
        limits.stream_memory,
        1 << 20,
        1 << 40,
    );
    list.span(
        "limits.first_frame_timeout",
        limits.first_frame_timeout,
        0,
        3_600,
    );
    list.span("limits.admission_timeout", limits.admission_timeout, 1, 300);
    let viewers = limits.max_subscribers_per_stream;
    list.number(
        "limits.max_subscribers_per_stream",
        viewers,
        1,
        10_000_000,
        "",
    );
    list.span("limits.idle_timeout", limits.idle_timeout, 0, DAY);

    let queue = ", which take 1.7 GB in addition to the records' text";
    list.number("audit.capacity", audit.capacity, 1, 1 << 24, queue);
    list.number(
        "audit.refusals_per_second",
        audit.refusals_per_second,
        0,
        10_000,
        "",
    );
    list.span("audit.deadline", audit.deadline, 1, 60);
    list.span("audit.heartbeat", audit.heartbeat, 10, DAY);

    list.span("trail.commit_interval", trail.commit_interval, 0, 1);
    list.span(
        "trail.checkpoint_interval",
        trail.checkpoint_interval,
        1,
        60,
    );
    // A segment holds at least one commit, which has at most 8 MiB.
    list.bytes(
        "trail.wal_segment_size",
        trail.wal_segment_size,
        9 << 20,
        1 << 30,
    );
    list.bytes("trail.reserve_size", trail.reserve_size, 0, 64 << 30);
    if let Some(retention) = trail.retention {
        list.span("trail.retention", retention, 10_000, 36_500 * DAY);
    }
    if let Some(size) = trail.retention_size {
        list.bytes("trail.retention_size", size, 1 << 20, 1 << 49);
    }
    list.span("trail.witness_interval", trail.witness_interval, 100, 3_600);
    list.span(
        "trail.witness_overdue_after",
        trail.witness_overdue_after,
        1_000,
        DAY,
    );
    let most = livetrail_ledger::MAX_WITNESSES;
    list.number("trail.witness", trail.witness.len(), 0, most, "");
}

fn application(list: &mut Bounds, at: &str, app: &super::Application) {
    let key = |name: &str| format!("{at}.{name}");
    list.number(
        &key("gop_cache_frames"),
        app.gop_cache_frames,
        0,
        1 << 20,
        "",
    );
    list.bytes(&key("gop_cache_bytes"), app.gop_cache_bytes, 0, 4 << 30);
    list.number(&key("max_lag_frames"), app.max_lag_frames, 1, 1 << 20, "");
    list.number(&key("lag_budget"), app.lag_budget, 0, 10_000, "");
    list.span(&key("stall_timeout"), app.stall_timeout, 1, 3_600);
    list.number(&key("max_publishers"), app.max_publishers, 0, 100_000, "");
    list.span(&key("wait_for_publisher"), app.wait_for_publisher, 0, 3_600);
    let ingress = &app.ingress;
    if let Some(rate) = ingress.bytes_per_second {
        list.bytes(&key("ingress.bytes_per_second"), rate, 1, 16 << 30);
    }
    if let Some(rate) = ingress.frames_per_second {
        list.number(&key("ingress.frames_per_second"), rate, 1, 1_000_000, "");
    }
    list.span(&key("ingress.burst"), ingress.burst, 0, 3_600);
    list.span(&key("ingress.patience"), ingress.patience, 0, DAY);
}

//! Metrics of streams that are pulled from other nodes and pushed to them.

use super::{Now, Writer};

impl Now {
    pub(super) fn relays(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let relays = &self.0.inner.relays;
        let (pulls, pushes) = (relays.pulls.counts(), relays.pushes.counts());
        for (name, help, value) in [
            (
                "relay_pulls",
                "Streams that are pulled from other nodes, those without an origin included",
                pulls.open,
            ),
            (
                "relay_pulls_carrying",
                "Of these, those that get frames from an origin",
                pulls.carrying,
            ),
            (
                "relay_pushes",
                "Streams that are pushed, one for each target",
                pushes.open,
            ),
            (
                "relay_pushes_carrying",
                "Of these, those whose target takes frames",
                pushes.carrying,
            ),
        ] {
            w.gauge(name, help, value)?;
        }
        let open = relays.pushes.list_after(None, usize::MAX, |_| true).items;
        w.gauge(
            "relay_push_lag_frames",
            "Frames that the slowest target is behind",
            open.iter().map(|push| push.lag_frames).max().unwrap_or(0),
        )?;
        for (name, help, value) in [
            ("relay_pulls_opened", "Pulls opened", pulls.opened),
            (
                "relay_origin_sessions",
                "Sessions started at origins",
                pulls.sessions,
            ),
            (
                "relay_origins_lost",
                "Origins lost while they sent frames",
                pulls.lost,
            ),
            (
                "relay_origin_refusals",
                "Attempts that an origin refused",
                pulls.refused,
            ),
            (
                "relay_origin_failures",
                "Attempts at an origin that could not be reached, or sent no frame",
                pulls.unreachable,
            ),
            (
                "relay_viewers_remembered",
                "Viewers refused because it was remembered that no origin has their stream",
                pulls.remembered,
            ),
            (
                "relay_viewers_limited",
                "Viewers refused because there were too many pulls",
                pulls.limited,
            ),
            (
                "relay_target_sessions",
                "Sessions started at targets",
                pushes.sessions,
            ),
            (
                "relay_target_refusals",
                "Attempts that a target refused",
                pushes.refused,
            ),
            (
                "relay_target_failures",
                "Attempts at a target that could not be reached, and sessions that it ended",
                pushes.failed,
            ),
            (
                "relay_push_skipped_frames",
                "Frames skipped because a target was too slow",
                pushes.skipped_frames,
            ),
            (
                "relay_pushes_limited",
                "Pushes not opened because there were too many",
                pushes.limited,
            ),
        ] {
            w.counter(name, help, value)?;
        }
        Ok(())
    }
}

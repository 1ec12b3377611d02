//! Metrics of HLS, which are absent while it is off.

use super::{Kind, Now, Writer};

impl Now {
    pub(super) fn hls(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let Some(hls) = &self.0.inner.hls else {
            return Ok(());
        };
        let counts = hls.counts();
        for (name, help, value) in [
            (
                "hls_streams",
                "Streams that are segmented, and those that have ended and can still be fetched",
                counts.streams,
            ),
            (
                "hls_kept_bytes",
                "Bytes of segments that are kept, of hls.memory",
                counts.kept_bytes,
            ),
            (
                "hls_viewers",
                "Sessions of HLS that are open",
                counts.viewers,
            ),
            (
                "hls_held_requests",
                "Requests that are held until something comes, of hls.max_held",
                counts.held,
            ),
        ] {
            w.gauge(name, help, value)?;
        }
        for (name, help, value) in [
            (
                "hls_streams_started",
                "Streams that were segmented",
                counts.streams_started,
            ),
            ("hls_segments", "Segments made", counts.segments),
            (
                "hls_renderings",
                "Playlists rendered; it does not depend on the number of viewers",
                counts.renderings,
            ),
            (
                "hls_compressions",
                "Playlists compressed",
                counts.compressions,
            ),
            ("hls_playlists_sent", "Playlists sent", counts.playlists),
            (
                "hls_media_sent",
                "Segments, parts and init segments sent",
                counts.media,
            ),
            (
                "hls_shared_media_sent",
                "Segments, parts and init segments sent without a token, for caches",
                counts.shared,
            ),
            (
                "hls_windows_shortened",
                "Times that a window became shorter for hls.stream_memory or hls.memory",
                counts.shortened,
            ),
            (
                "hls_held_in_vain",
                "Requests answered with 503 because nothing came in time",
                counts.held_in_vain,
            ),
        ] {
            w.counter(name, help, value)?;
        }
        w.family(
            Kind::Counter,
            "hls_over_limit",
            "Requests refused, and streams not segmented, because of a limit",
            ["limit"],
            [
                (["max_streams"], counts.streams_over_limit),
                (["memory"], counts.streams_over_memory),
                (["max_held"], counts.held_over_limit),
                (["max_viewers"], counts.viewers_over_limit),
            ],
        )?;
        w.family(
            Kind::Counter,
            "hls_unusual_input",
            "What was unusual in the frames of publishers, by kind",
            ["kind"],
            counts
                .irregularities
                .iter()
                .map(|(kind, count)| ([*kind], *count)),
        )
    }
}

//! The rules that the judge knows, each with its name, its section and what it demands.

use std::fmt;

macro_rules! rules {
    ($($rule:ident $name:literal $section:literal $demands:literal;)*) => {
        /// A rule of HLS. Sections are those of draft-pantos-hls-rfc8216bis, but for those that
        /// begin with another document's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $demands] $rule,)*
        }

        impl Rule {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// Its name in reports: small letters and hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// The section that has it.
            #[must_use]
            pub const fn section(self) -> &'static str {
                match self { $(Self::$rule => $section,)* }
            }

            /// What it demands.
            #[must_use]
            pub const fn demands(self) -> &'static str {
                match self { $(Self::$rule => $demands,)* }
            }
        }
    };
}

rules! {
    // One playlist.
    Syntax "syntax" "4.1" "Playlists are UTF-8 text with well-formed tags and all required attributes.";
    ContentType "content-type" "4" "Playlists, segments, parts and init segments have the media type of their content.";
    TagOnce "tag-once" "4.4.3" "A tag that applies to the whole playlist occurs once.";
    Version "version" "8" "EXT-X-VERSION is at least what the playlist's tags need.";
    SegmentDuration "segment-duration" "4.4.3.1" "EXTINF, rounded to seconds, is at most the target duration.";
    PartInf "part-inf" "4.4.3.7" "A playlist with parts has EXT-X-PART-INF.";
    PartTooLong "part-too-long" "4.4.3.7" "A part lasts at most the part target.";
    PartTooShort "part-too-short" "4.4.4.9" "A part lasts at least 85 % of the part target, except the last of a segment or discontinuity.";
    PartsSum "parts-sum" "4.4.4.9" "The durations of a segment's parts add up to its EXTINF.";
    PartHoldBack "part-hold-back" "4.4.3.8" "A playlist with parts has PART-HOLD-BACK of at least three part targets.";
    HoldBack "hold-back" "4.4.3.8" "HOLD-BACK is at least three target durations.";
    SkipUntil "skip-until" "4.4.3.8" "CAN-SKIP-UNTIL is at least six target durations.";
    LowLatencyProfile "low-latency-profile" "B.1" "A playlist with parts offers blocking reloads, delta updates and dates.";
    PlaylistType "playlist-type" "6.2.2" "A sliding window has no EXT-X-PLAYLIST-TYPE.";
    HintMissing "hint-missing" "B.1" "A live playlist with parts always hints at the next part.";
    DateJump "date-jump" "4.4.4.6" "Dates continue by the durations of segments until the next discontinuity.";
    MapMissing "map-missing" "3.1.2" "Each fragmented MP4 segment has an EXT-X-MAP that applies.";
    MapChange "map-change" "4.4.4.3" "Another init segment comes with a discontinuity.";
    UriReused "uri-reused" "6.2.1" "Two segments or parts have different URIs.";
    Multivariant "multivariant" "4.4.6" "Variants have BANDWIDTH, renditions TYPE, GROUP-ID and NAME, and groups that are named exist.";

    // A playlist over time.
    TargetDurationChanges "target-duration-changes" "6.2.1" "The target duration never changes.";
    PartTargetChanges "part-target-changes" "6.2.1" "The part target never changes.";
    ServerControlChanges "server-control-changes" "4.4.3.8" "EXT-X-SERVER-CONTROL never changes.";
    VersionChanges "version-changes" "4.4.1.2" "The version never changes.";
    MediaSequenceDecreases "media-sequence-decreases" "6.2.2" "The media sequence number never decreases.";
    DiscontinuitySequenceDecreases "discontinuity-sequence-decreases" "6.2.2" "The discontinuity sequence number never decreases.";
    DiscontinuityRenumbered "discontinuity-renumbered" "6.2.2" "A segment keeps its discontinuity sequence number.";
    SegmentChanges "segment-changes" "6.2.1" "A listed segment keeps its URI, duration, date and init segment.";
    PartChanges "part-changes" "6.2.1" "A listed part keeps its URI, duration and INDEPENDENT.";
    SegmentRemoved "segment-removed" "6.2.1" "Segments are removed from the start only, and added at the end only.";
    WindowTooShort "window-too-short" "6.2.2" "Removals leave at least three target durations.";
    PartUnlistedEarly "part-unlisted-early" "6.2.2" "Parts are listed for three target durations from the end.";
    PartListedLong "part-listed-long" "6.2.2" "Parts are not listed further than three target durations from the end.";
    EndRevoked "end-revoked" "6.2.1" "Nothing changes after EXT-X-ENDLIST.";
    SegmentLate "segment-late" "6.2.1" "A new segment comes within 1.5 target durations.";
    PartLate "part-late" "6.2.1" "A new part comes within one part target.";
    HintWrong "hint-wrong" "6.2.6" "The next part is the one that was hinted at.";

    // All renditions together.
    RenditionsTarget "renditions-target" "6.2.4" "All renditions have the same target duration.";
    RenditionsControl "renditions-control" "4.4.3.8" "All renditions have the same EXT-X-SERVER-CONTROL.";
    RenditionsDates "renditions-dates" "6.2.4" "All renditions have dates, or none has.";
    RenditionsDiscontinuity "renditions-discontinuity" "6.2.4" "All renditions have the same discontinuity sequence number at the same date.";
    RenditionsTimestamps "renditions-timestamps" "6.2.4" "The same date is the same decode time in all renditions.";
    ReportMissing "report-missing" "B.1" "A playlist with parts reports on each other rendition.";
    ReportAhead "report-ahead" "4.4.5.4" "A rendition report names nothing that the other playlist does not have.";
    ReportStale "report-stale" "4.4.5.4" "A rendition report names the last part of the other playlist.";

    // Requests.
    PlaylistFails "playlist-fails" "6.2.1" "A playlist is answered with 200.";
    ReloadEarly "reload-early" "6.2.5.2" "A blocked reload is answered when the playlist has what was asked for.";
    ReloadTooLong "reload-too-long" "6.2.5.2" "A reload is blocked for at most three target durations; then the answer is 503.";
    PartAlone "part-alone" "6.2.5.2" "_HLS_part without _HLS_msn is answered with 400.";
    FarFuture "far-future" "6.2.5.2" "A segment or part too far in the future is answered with 400.";
    Past "past" "6.2.5.2" "A reload for a segment of the past gets the current playlist at once.";
    PartBeyondLast "part-beyond-last" "6.2.5.2" "A part after the last of its segment is the first of the next.";
    DirectivesAfterEnd "directives-after-end" "6.2.5.2" "A playlist with EXT-X-ENDLIST ignores directives.";
    DeltaUnequal "delta-unequal" "6.2.5.1" "A delta update and the playlist before it are the whole playlist.";
    DeltaTooMuch "delta-too-much" "6.2.5.1" "A delta update skips only what is beyond the skip boundary.";
    DeltaUnasked "delta-unasked" "6.2.5.1" "A playlist has EXT-X-SKIP only if the client asked and the playlist has not ended.";
    Encodings "encodings" "RFC 9110 8.4" "A compressed playlist is the playlist.";
    Unknown "unknown" "6.2.6" "What is neither listed nor hinted at is answered with 404.";
    MediaFails "media-fails" "6.2.1" "Listed segments, parts and init segments are answered with 200 and content.";
    HintFails "hint-fails" "6.2.6" "What is hinted at is answered with 200 when it is there.";
    HintTrickles "hint-trickles" "6.2.6" "No byte of a part goes before all of it can go.";
    SegmentGoneEarly "segment-gone-early" "6.2.2" "A segment can be fetched for its own and the playlist's duration after it was removed.";
    PartGoneEarly "part-gone-early" "6.2.2" "A part can be fetched for three target durations after it was removed.";

    // Content.
    Container "container" "3.1" "Segments and init segments are well-formed MP4 or MPEG-TS.";
    PartsAreSegment "parts-are-segment" "4.4.4.9" "The concatenated parts are the segment.";
    MediaDuration "media-duration" "4.4.4.1" "Decoded durations are those of EXTINF and EXT-X-PART.";
    DecodeTime "decode-time" "6.2.1" "Decode times continue from fragment to fragment until the next discontinuity.";
    FragmentNumber "fragment-number" "ISO 14496-12 8.8.5" "The sequence numbers of fragments increase.";
    Independent "independent" "4.4.4.9" "A part has INDEPENDENT=YES if and only if it has an independent frame.";
    InitFormat "init-format" "Apple 1.10" "Sample entries keep parameter sets: avc1 and hvc1, and not avc3 and hev1.";
    Codecs "codecs" "4.4.6.2" "CODECS names the format of each track.";
    TsTables "ts-tables" "3.1.1" "An MPEG-TS segment begins with its PAT and PMT.";
    TsContinuity "ts-continuity" "ISO 13818-1 2.4.3.3" "Continuity counters of MPEG-TS have no hole within a segment.";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.section())
    }
}

//! The readers of MP4 and MPEG-TS of the judge of HLS.
#![allow(dead_code, reason = "the judge compares more than is read again here")]

#[path = "../../../system-tests/src/hls_judge/mp4.rs"]
mod mp4;
#[path = "../../../system-tests/src/hls_judge/ts.rs"]
mod ts;
#[path = "../../../system-tests/src/hls_judge/written.rs"]
mod written;

pub(crate) use written::Written;

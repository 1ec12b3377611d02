//! A gateway's protocol, as the egress needs it.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use livetrail_engine::SharedFrame;

/// A protocol's bytes for a frame. They are made once ([`SharedFrame::wire`]) and shared by all
/// viewers.
pub trait Format: Send + Sync + 'static {
    /// The difference between viewers; viewers of the same variant get the same bytes.
    type Variant: Copy + Eq + Debug + Send + 'static;

    /// The frame's bytes in order, without empty slices; nothing for a frame that such viewers do
    /// not get.
    fn parts(frame: &SharedFrame, variant: Self::Variant) -> impl Iterator<Item = &[u8]>;

    /// The bytes before a viewer's first frames, which are known by then.
    fn preface(_first: &[Arc<SharedFrame>], _variant: Self::Variant) -> Bytes {
        Bytes::new()
    }

    /// The total number of a frame's bytes.
    fn len(frame: &SharedFrame, variant: Self::Variant) -> usize {
        Self::parts(frame, variant).fold(0, |sum, part| sum.saturating_add(part.len()))
    }
}

//! What a gateway tells the egress about its protocol.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use livetrail_engine::SharedFrame;

/// How a protocol's bytes for a frame are found. They are made once ([`SharedFrame::wire`]) and lent to every viewer.
pub trait Format: Send + Sync + 'static {
    /// What differs from viewer to viewer; viewers of the same variant get the same bytes.
    type Variant: Copy + Eq + Debug + Send + 'static;

    /// The frame's bytes in order, none of the slices empty; nothing for a frame that such viewers do not get.
    fn parts(frame: &SharedFrame, variant: Self::Variant) -> impl Iterator<Item = &[u8]>;

    /// What a viewer gets before anything else, when it is known with which frames it begins.
    fn preface(_first: &[Arc<SharedFrame>], _variant: Self::Variant) -> Bytes {
        Bytes::new()
    }

    /// Bytes of a frame in all.
    fn len(frame: &SharedFrame, variant: Self::Variant) -> usize {
        Self::parts(frame, variant).fold(0, |sum, part| sum.saturating_add(part.len()))
    }
}

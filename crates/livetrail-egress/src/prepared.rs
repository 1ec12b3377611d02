//! Frames prepared for one write to many viewers.

use std::{io::IoSlice, sync::Arc};

use livetrail_engine::SharedFrame;

use crate::format::Format;

/// Slices in one vectored write; Linux takes up to 1,024.
pub(crate) const MAX_SLICES: usize = 256;

/// Frames in the form in which every viewer of one variant gets them.
pub(crate) struct Prepared<'a, F: Format> {
    pub(crate) variant: F::Variant,
    pub(crate) slices: Vec<IoSlice<'a>>,
    pub(crate) bytes: usize,
}

impl<'a, F: Format> Prepared<'a, F> {
    pub(crate) fn new(frames: &'a [Arc<SharedFrame>], variant: F::Variant) -> Self {
        let parts = frames
            .iter()
            .flat_map(|frame| F::parts(frame, variant))
            .map(IoSlice::new);
        let slices: Vec<_> = parts.collect();
        let bytes = slices
            .iter()
            .fold(0_usize, |sum, slice| sum.saturating_add(slice.len()));
        Self {
            variant,
            slices,
            bytes,
        }
    }

    /// Whether the frames fit one write and are not empty.
    pub(crate) fn is_one_write(&self) -> bool {
        self.bytes > 0 && self.slices.len() <= MAX_SLICES
    }
}

//! The content of an answer: shared bytes, and the part of them that a client asks for.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::viewers::Viewer;

/// The most that is handed over at once. What a client does not take is not counted as sent, up to
/// what fits in the buffers of its connection.
const MAX_FRAME_BYTES: usize = 64 << 10;

/// Bytes that are not copied. They count for the viewer's session as they are taken.
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
    /// Whom they are for, and the frames in them if they are whole.
    viewer: Option<(Arc<Viewer>, u64)>,
}

impl Pieces {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: VecDeque<Bytes> = pieces.into_iter().collect();
        let lengths = pieces.iter().map(|piece| piece.len() as u64);
        Self {
            left: lengths.fold(0, u64::saturating_add),
            pieces,
            viewer: None,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.left
    }

    /// Keeps the bytes from `first` to `last`, both included.
    pub(crate) fn cut(&mut self, first: u64, last: u64) {
        let mut at = 0_u64;
        for piece in &mut self.pieces {
            let end = at.saturating_add(piece.len() as u64);
            // Both are within the piece.
            let within = |bound: u64| {
                let bound = bound.clamp(at, end).saturating_sub(at);
                usize::try_from(bound).unwrap_or(usize::MAX)
            };
            *piece = piece.slice(within(first)..within(last.saturating_add(1)));
            at = end;
        }
        self.pieces.retain(|piece| !piece.is_empty());
        *self = Self::new(std::mem::take(&mut self.pieces));
    }

    /// Counts them for a viewer, with the number of frames if all of them are there.
    pub(crate) fn count_for(mut self, viewer: Arc<Viewer>, frames: u64) -> Self {
        self.viewer = Some((viewer, frames));
        self
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let piece = match this.pieces.front_mut() {
            Some(piece) if piece.len() > MAX_FRAME_BYTES => Some(piece.split_to(MAX_FRAME_BYTES)),
            _ => this.pieces.pop_front(),
        };
        let Some(piece) = piece else {
            return Poll::Ready(None);
        };
        let bytes = piece.len() as u64;
        this.left = this.left.saturating_sub(bytes);
        if let Some((viewer, frames)) = &this.viewer {
            let frames = if this.left == 0 { *frames } else { 0 };
            viewer.count(frames, bytes);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pieces: &Pieces) -> (Vec<u8>, u64) {
        let bytes = pieces.pieces.iter().flatten().copied().collect();
        (bytes, pieces.len())
    }

    #[test]
    fn a_range_takes_the_pieces_that_it_touches() {
        let whole: Vec<u8> = (0..10).collect();
        for first in 0..10 {
            for last in first..10 {
                let pieces = [&whole[..3], &whole[3..4], &whole[4..]];
                let mut pieces = Pieces::new(pieces.map(Bytes::copy_from_slice));
                pieces.cut(first, last);
                let expected = whole[first as usize..=last as usize].to_vec();
                let length = expected.len() as u64;
                assert_eq!(left(&pieces), (expected, length), "{first}-{last}");
            }
        }
    }
}

//! Data that a viewer's socket did not take yet: the rest of a frame, and the bytes after it.

use std::{io::IoSlice, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use livetrail_engine::SharedFrame;

use crate::{format::Format, unsent::Unsent};

/// At most one partly written frame, then bytes. No further frame begins before all of this is
/// written, so its bound is the amount of bytes that the gateway sends.
#[derive(Debug)]
pub(crate) struct Unwritten<F: Format> {
    /// The frame, and the number of its bytes that are written.
    frame: Option<(Arc<SharedFrame>, usize)>,
    bytes: BytesMut,
    variant: F::Variant,
}

impl<F: Format> Unwritten<F> {
    pub(crate) fn new(variant: F::Variant) -> Self {
        Self {
            frame: None,
            bytes: BytesMut::new(),
            variant,
        }
    }

    /// Appends bytes after everything else.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Sets the frame of which `written` bytes are written. Nothing else may be unwritten.
    pub(crate) fn set_frame(&mut self, frame: Arc<SharedFrame>, written: usize) {
        debug_assert!(self.is_empty());
        self.frame = Some((frame, written));
        self.drop_written_frame();
    }

    /// Copies everything into one buffer, for a connection that continues writing by itself.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        let mut all = BytesMut::new();
        if let Some((frame, written)) = self.frame.take() {
            unwritten_parts::<F>(&frame, self.variant, written)
                .for_each(|part| all.extend_from_slice(part));
        }
        all.extend_from_slice(&self.bytes);
        all.freeze()
    }

    /// Drops the frame once it is written.
    fn drop_written_frame(&mut self) {
        let variant = self.variant;
        self.frame
            .take_if(|(frame, written)| *written >= F::len(frame, variant));
    }
}

impl<F: Format> Unsent for Unwritten<F> {
    fn is_empty(&self) -> bool {
        self.frame.is_none() && self.bytes.is_empty()
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let frame = self.frame.iter();
        let frame =
            frame.flat_map(|(frame, written)| unwritten_parts::<F>(frame, self.variant, *written));
        let bytes = Some(&self.bytes[..]).filter(|bytes| !bytes.is_empty());
        let mut count = 0_usize;
        for (slice, part) in slices.iter_mut().zip(frame.chain(bytes)) {
            *slice = IoSlice::new(part);
            count = count.saturating_add(1);
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        if let Some((frame, before)) = &mut self.frame {
            let left = F::len(frame, self.variant).saturating_sub(*before);
            let of_frame = written.min(left);
            *before = before.saturating_add(of_frame);
            written = written.saturating_sub(of_frame);
        }
        self.drop_written_frame();
        self.bytes.advance(written.min(self.bytes.len()));
        if self.bytes.is_empty() {
            // Most viewers are never full again, so the buffer is freed.
            self.bytes = BytesMut::new();
        }
    }
}

/// The frame's bytes from position `written` on.
fn unwritten_parts<F: Format>(
    frame: &SharedFrame,
    variant: F::Variant,
    written: usize,
) -> impl Iterator<Item = &[u8]> {
    let mut skip = written;
    F::parts(frame, variant).filter_map(move |part| {
        let rest = part.get(skip..);
        skip = skip.saturating_sub(part.len());
        rest.filter(|rest| !rest.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey};
    use proptest::prelude::*;

    use super::*;

    /// Payloads, in slices of seven bytes.
    #[derive(Debug)]
    struct Sevens;

    impl Format for Sevens {
        type Variant = ();

        fn parts(frame: &SharedFrame, (): ()) -> impl Iterator<Item = &[u8]> {
            frame.payload.chunks(7)
        }
    }

    /// A shared frame, which only an engine can make.
    fn shared(bytes: usize) -> Arc<SharedFrame> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let engine = Engine::builder()
                .application(AppSpec::new("live"))
                .build()
                .unwrap();
            let attempt = || Attempt::new(StreamKey::parse("live", "cam").unwrap(), "test");
            let mut publication = engine.publish(attempt()).await.unwrap();
            let payload = (0..bytes).map(|n| n as u8).collect::<Vec<_>>();
            let frame =
                MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, payload.into());
            publication.push(frame).unwrap();
            engine.play(attempt()).await.unwrap().next().await.unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn unwritten_data_goes_out_once_and_in_order_whatever_the_socket_takes(
            bytes in 1usize..400,
            written in 0usize..400,
            sent_after in prop::collection::vec(0usize..50, 0..4),
            takes in prop::collection::vec(1usize..90, 1..20),
            handed_over_after in 0usize..12,
        ) {
            let (frame, written) = (shared(bytes), written.min(bytes));
            let mut unwritten = Unwritten::<Sevens>::new(());
            unwritten.set_frame(frame.clone(), written);
            let mut expected = frame.payload[written..].to_vec();
            for (n, bytes) in sent_after.iter().enumerate() {
                let more = vec![200 + n as u8; *bytes];
                expected.extend_from_slice(&more);
                unwritten.push(&more);
            }
            let mut sent = Vec::new();
            for (turn, take) in takes.iter().cycle().enumerate() {
                if unwritten.is_empty() || turn == handed_over_after {
                    break;
                }
                let mut slices = [IoSlice::new(&[]); 5];
                let count = unwritten.fill(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                prop_assert!(!all.is_empty());
                let taken = all.len().min(*take);
                sent.extend_from_slice(&all[..taken]);
                unwritten.advance(taken);
            }
            sent.extend_from_slice(&unwritten.into_bytes());
            prop_assert_eq!(sent, expected);
        }
    }
}

//! What a viewer's socket did not take: the rest of a frame, and what is to be said after it.

use std::{io::IoSlice, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use livetrail_engine::SharedFrame;

use crate::{format::Format, unsent::Unsent};

/// One frame that is begun, at most, then bytes. No further frame is begun before all of it is written, so the gateway bounds it by
/// what it says.
#[derive(Debug)]
pub(crate) struct Rest<F: Format> {
    /// The frame, and how many bytes of it are written.
    begun: Option<(Arc<SharedFrame>, usize)>,
    said: BytesMut,
    variant: F::Variant,
}

impl<F: Format> Rest<F> {
    pub(crate) fn new(variant: F::Variant) -> Self {
        Self {
            begun: None,
            said: BytesMut::new(),
            variant,
        }
    }

    /// Bytes that come after everything else.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
    }

    /// A frame of which so many bytes are written. Nothing may be left of what was before.
    pub(crate) fn begin(&mut self, frame: Arc<SharedFrame>, written: usize) {
        debug_assert!(self.is_empty());
        self.begun = Some((frame, written));
        self.end_frame();
    }

    /// Everything as one, copied: for who goes on writing by other means.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        let mut all = BytesMut::new();
        if let Some((frame, written)) = self.begun.take() {
            unwritten::<F>(&frame, self.variant, written)
                .for_each(|part| all.extend_from_slice(part));
        }
        all.extend_from_slice(&self.said);
        all.freeze()
    }

    /// Forgets the frame when it is written.
    fn end_frame(&mut self) {
        let variant = self.variant;
        self.begun
            .take_if(|(frame, written)| *written >= F::len(frame, variant));
    }
}

impl<F: Format> Unsent for Rest<F> {
    fn is_empty(&self) -> bool {
        self.begun.is_none() && self.said.is_empty()
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let frame = self.begun.iter();
        let frame =
            frame.flat_map(|(frame, written)| unwritten::<F>(frame, self.variant, *written));
        let said = Some(&self.said[..]).filter(|said| !said.is_empty());
        let mut count = 0_usize;
        for (place, part) in slices.iter_mut().zip(frame.chain(said)) {
            *place = IoSlice::new(part);
            count = count.saturating_add(1);
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        if let Some((frame, before)) = &mut self.begun {
            let left = F::len(frame, self.variant).saturating_sub(*before);
            let of_frame = written.min(left);
            *before = before.saturating_add(of_frame);
            written = written.saturating_sub(of_frame);
        }
        self.end_frame();
        self.said.advance(written.min(self.said.len()));
        if self.said.is_empty() {
            // Most viewers are never full again.
            self.said = BytesMut::new();
        }
    }
}

/// The frame's bytes from number `written` on.
fn unwritten<F: Format>(
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

    /// Payloads in slices of seven bytes.
    #[derive(Debug)]
    struct Sevens;

    impl Format for Sevens {
        type Variant = ();

        fn parts(frame: &SharedFrame, (): ()) -> impl Iterator<Item = &[u8]> {
            frame.payload.chunks(7)
        }
    }

    /// The only way to a shared frame is through an engine.
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
        fn what_is_left_goes_out_once_and_in_order_however_the_socket_takes_it(
            bytes in 1usize..400,
            begun in 0usize..400,
            said in prop::collection::vec(0usize..50, 0..4),
            takes in prop::collection::vec(1usize..90, 1..20),
            handed_over_after in 0usize..12,
        ) {
            let (frame, begun) = (shared(bytes), begun.min(bytes));
            let mut rest = Rest::<Sevens>::new(());
            rest.begin(frame.clone(), begun);
            let mut expected = frame.payload[begun..].to_vec();
            for (n, bytes) in said.iter().enumerate() {
                let words = vec![200 + n as u8; *bytes];
                expected.extend_from_slice(&words);
                rest.say(&words);
            }
            let mut sent = Vec::new();
            for (turn, take) in takes.iter().cycle().enumerate() {
                if rest.is_empty() || turn == handed_over_after {
                    break;
                }
                let mut slices = [IoSlice::new(&[]); 5];
                let count = rest.fill(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                prop_assert!(!all.is_empty());
                let taken = all.len().min(*take);
                sent.extend_from_slice(&all[..taken]);
                rest.advance(taken);
            }
            sent.extend_from_slice(&rest.into_bytes());
            prop_assert_eq!(sent, expected);
        }
    }
}

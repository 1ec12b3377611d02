//! The ring and the wake-up of a shard under a model checker: each interleaving of a writer and a
//! reader that the memory model allows.
//!
//! A slot of the ring is a lock here, and an atomic pointer in the library; both pass a segment on
//! as a whole. A segment has two frames here, so that a few frames start, free and trim segments.
//! The model checks the order of head, tail, slots and cells, and that no mark is lost between a
//! worker's check and its sleep.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use crate::{
    budget::Budget,
    marks::Marks,
    model,
    ring::{Ring, RingWriter},
    wire::SharedFrame,
};

/// Two writers mark streams, one of them twice, while the worker sleeps, checks and sleeps again. A
/// lost mark would leave the worker asleep forever, which the checker reports as a deadlock.
#[test]
fn a_worker_that_sleeps_is_woken_for_every_mark() {
    a_worker_is_woken_for_every_mark(0);
}

/// The same for a worker that checks for news once more before it sleeps, as it does while frames
/// come close together.
#[test]
fn a_worker_that_looks_before_it_sleeps_is_woken_for_every_mark() {
    a_worker_is_woken_for_every_mark(1);
}

fn a_worker_is_woken_for_every_mark(looks: u32) {
    model(move || {
        let marks = Arc::new(Marks::new(2));
        let writers = [vec![0, 64], vec![64]].map(|numbers| {
            let marks = marks.clone();
            loom::thread::spawn(move || numbers.into_iter().for_each(|number| marks.mark(number)))
        });
        let (mut seen, mut found) = ([false; 2], Vec::new());
        while seen != [true, true] {
            marks.wake().look(looks);
            loom::future::block_on(poll_fn(|cx| {
                if marks.wake().take_or_register(cx.waker()) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
            found.clear();
            marks.wake().take();
            marks.take(&mut found);
            for number in &found {
                seen[number / 64] = true;
            }
        }
        writers.into_iter().for_each(|w| w.join().unwrap());
        // A mark after the last check is still set, or was seen.
        marks.take(&mut found);
        assert!(found.iter().all(|number| [0, 64].contains(number)));
    });
}

/// A mark is set after the frame is there: a worker that takes the mark sees the frame, or is
/// marked again.
#[test]
fn the_worker_that_takes_the_last_mark_sees_the_last_frame() {
    model(|| {
        let (marks, ring) = (
            Arc::new(Marks::new(1)),
            Arc::new(Ring::new(4, Budget::new(u64::MAX).open())),
        );
        let writer = {
            let (marks, ring) = (marks.clone(), ring.clone());
            loom::thread::spawn(move || {
                let mut writer = RingWriter::new(ring, usize::MAX);
                for seq in 0..2 {
                    writer.push(frame(seq), u64::MAX);
                    marks.mark(0);
                }
            })
        };
        let (mut next, mut found) = (0, Vec::new());
        while next < 2 {
            loom::future::block_on(poll_fn(|cx| {
                if marks.wake().take_or_register(cx.waker()) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
            found.clear();
            marks.take(&mut found);
            if found.contains(&0) {
                next = ring.head();
            }
        }
        writer.join().unwrap();
    });
}

/// A reader next to a writer that frees: each frame below the head is there, whole and under its
/// own number, or the tail shows that the reader was too slow.
fn a_frame_is_there_or_the_tail_is_beyond_it(max_bytes: usize, keep: u64, frames: u64) {
    let heads = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = heads.clone();
    model(move || {
        let ring = Arc::new(Ring::new(2, Budget::new(u64::MAX).open()));
        let writer = {
            let ring = ring.clone();
            loom::thread::spawn(move || {
                let mut writer = RingWriter::new(ring, max_bytes);
                (0..frames).for_each(|seq| writer.push(frame(seq), keep));
            })
        };
        let mut published = ring.read();
        let head = published.head();
        heads.lock().unwrap().insert(head);
        for seq in 0..head {
            match published.get(seq) {
                Some(frame) => assert_eq!(frame.seq(), seq),
                None => assert!(ring.tail() > seq, "{seq} is gone without a word"),
            }
        }
        assert!(
            published.get(head).is_none(),
            "the head is that of its moment"
        );
        assert!(ring.tail() <= ring.head());
        drop(published);
        writer.join().unwrap();
        assert_eq!(ring.head(), frames);
        let mut published = ring.read();
        for seq in ring.tail()..frames {
            assert_eq!(published.get(seq).unwrap().seq(), seq);
        }
    });
    let seen = seen.lock().unwrap();
    assert!(
        (0..=frames).all(|head| seen.contains(&head)),
        "the checker read the heads {seen:?} alone"
    );
}

#[test]
fn frames_are_there_until_their_segment_is_full_and_others_are_enough() {
    a_frame_is_there_or_the_tail_is_beyond_it(usize::MAX, u64::MAX, 4);
    a_frame_is_there_or_the_tail_is_beyond_it(usize::MAX, 1, 3);
}

/// The first of the four slots of segments holds the fifth segment in the end.
#[test]
fn a_segment_is_not_confused_with_the_earlier_one_in_its_slot() {
    a_frame_is_there_or_the_tail_is_beyond_it(usize::MAX, 1, 9);
}

/// Whole segments are freed, and the oldest loses its first frame, also while it is being filled.
#[test]
fn frames_are_there_until_they_are_too_many_bytes() {
    a_frame_is_there_or_the_tail_is_beyond_it(4, u64::MAX, 5);
    a_frame_is_there_or_the_tail_is_beyond_it(2, u64::MAX, 4);
    a_frame_is_there_or_the_tail_is_beyond_it(1, u64::MAX, 3);
}

fn frame(seq: u64) -> Arc<SharedFrame> {
    Arc::new(SharedFrame {
        seq,
        payload: vec![0],
    })
}

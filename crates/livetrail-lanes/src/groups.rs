//! Messages of similar length in groups of sixteen, and their blocks.

use crate::avx512::{Block, LANES, Lanes, State};
use crate::hash;

/// Bytes of a block of SHA-256.
const BLOCK: usize = size_of::<Block>();

/// The bytes that a message needs in addition to its own: the one before it, the mark of its end,
/// and its length.
const EXTRA: usize = 1 + 1 + 8;

/// With fewer messages, one after the other is faster: a group always takes the time of sixteen.
const FEWEST: usize = 6;

/// Messages with this many blocks or more are in no particular order.
const LONG: usize = 64;

/// See [`hash_all`](crate::hash_all).
pub(crate) fn hash_all<M: AsRef<[u8]>>(lanes: Lanes, first: u8, messages: &[M]) -> Vec<[u8; 32]> {
    let mut hashes = vec![[0; 32]; messages.len()];
    for group in by_length(messages).chunks(LANES) {
        let texts = || {
            let messages = group.iter().map(|at| messages.get(*at));
            messages.map(|message| message.map_or(&[][..], AsRef::as_ref))
        };
        if group.len() < FEWEST {
            for (at, text) in group.iter().zip(texts()) {
                if let Some(into) = hashes.get_mut(*at) {
                    *into = hash(first, text);
                }
            }
            continue;
        }
        let mut all = [[].as_slice(); LANES];
        for (into, text) in all.iter_mut().zip(texts()) {
            *into = text;
        }
        let found = hash_group(lanes, first, &all);
        for (hash, at) in found.into_iter().zip(group) {
            if let Some(into) = hashes.get_mut(*at) {
                *into = hash;
            }
        }
    }
    hashes
}

/// The positions of the messages, those with few blocks first: a group takes the time of its
/// longest message.
fn by_length<M: AsRef<[u8]>>(messages: &[M]) -> Vec<usize> {
    let class = |message: &M| blocks(message.as_ref()).min(LONG);
    // Where the next message of each class goes.
    let mut next = [0_usize; LONG + 1];
    for message in messages {
        if let Some(count) = next.get_mut(class(message)) {
            *count = count.saturating_add(1);
        }
    }
    let mut before = 0_usize;
    for count in &mut next {
        before = before.saturating_add(std::mem::replace(count, before));
    }
    let mut order = vec![0; messages.len()];
    for (at, message) in messages.iter().enumerate() {
        if let Some(next) = next.get_mut(class(message))
            && let Some(into) = order.get_mut(*next)
        {
            *into = at;
            *next = next.saturating_add(1);
        }
    }
    order
}

/// The number of a message's blocks.
const fn blocks(message: &[u8]) -> usize {
    message.len().saturating_add(EXTRA).div_ceil(BLOCK)
}

fn hash_group(lanes: Lanes, first: u8, texts: &[&[u8]; LANES]) -> [[u8; 32]; LANES] {
    let counts = texts.map(blocks);
    let most = counts.into_iter().max().unwrap_or(0);
    let mut hashes = [[0; 32]; LANES];
    let mut state = State::default();
    let mut edges = [[0; BLOCK]; LANES];
    for number in 0..most {
        let mut blocks = [&[0; BLOCK]; LANES];
        for (((block, edge), text), count) in
            blocks.iter_mut().zip(&mut edges).zip(texts).zip(counts)
        {
            if let Some(whole) = whole_block(text, number) {
                *block = whole;
            } else if number < count {
                *edge = edge_block(first, text, number);
                *block = edge;
            }
            // The lane of a message that has ended takes zeros. Nobody reads its state.
        }
        lanes.compress(&mut state, &blocks);
        for (lane, (hash, count)) in hashes.iter_mut().zip(counts).enumerate() {
            if number.saturating_add(1) == count {
                *hash = state.hash(lane);
            }
        }
    }
    hashes
}

/// The block of this number, if all of it is in the message. The byte before the message moves it
/// by one.
fn whole_block(message: &[u8], number: usize) -> Option<&Block> {
    let begin = number.checked_mul(BLOCK)?.checked_sub(1)?;
    message.get(begin..)?.first_chunk()
}

/// A block of the padded message with its beginning or its end:
/// `first │ message │ 0x80 │ zeros │ bits u64 BE`.
fn edge_block(first: u8, message: &[u8], number: usize) -> Block {
    let mut block = [0; BLOCK];
    let begin = number.saturating_mul(BLOCK);
    if let Some(in_message) = begin.checked_sub(1) {
        fill(&mut block, message.get(in_message..).unwrap_or_default());
    } else {
        let [into, rest @ ..] = &mut block;
        *into = first;
        match message.first_chunk() {
            // Most messages fill their first block. The copy has a constant length.
            Some(whole) => *rest = *whole,
            None => fill(rest, message),
        }
    }
    // The mark comes after the byte before the message and the message.
    let end = message.len().saturating_add(1);
    if let Some(mark) = end.checked_sub(begin).and_then(|at| block.get_mut(at)) {
        *mark = 0x80;
    }
    if number.saturating_add(1) == blocks(message) {
        let bits = u64::try_from(end).unwrap_or(u64::MAX).wrapping_mul(8);
        if let Some(length) = block.last_chunk_mut() {
            *length = bits.to_be_bytes();
        }
    }
    block
}

/// Copies as much as there is and fits.
fn fill(into: &mut [u8], from: &[u8]) {
    let length = into.len().min(from.len());
    if let (Some(into), Some(from)) = (into.get_mut(..length), from.get(..length)) {
        into.copy_from_slice(from);
    }
}

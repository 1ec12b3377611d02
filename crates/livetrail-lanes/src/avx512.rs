//! The compression function of SHA-256 (FIPS 180-4 §6.2.2) for sixteen messages at once.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

/// The number of messages that are hashed at once.
pub(crate) const LANES: usize = 16;

/// A block of a message.
pub(crate) type Block = [u8; 64];

/// Proof that the processor has AVX-512.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes(());

/// The state of sixteen hashes: its eight words, each with one lane per message.
#[derive(Clone, Debug)]
pub(crate) struct State([[u32; LANES]; 8]);

impl Default for State {
    fn default() -> Self {
        Self(INITIAL.map(|word| [word; LANES]))
    }
}

impl State {
    /// The hash in one lane.
    pub(crate) fn hash(&self, lane: usize) -> [u8; 32] {
        let mut hash = [0; 32];
        let (words, _) = hash.as_chunks_mut::<4>();
        for (into, word) in words.iter_mut().zip(&self.0) {
            *into = word.get(lane).copied().unwrap_or_default().to_be_bytes();
        }
        hash
    }
}

impl Lanes {
    /// `None` on a processor without AVX-512, or if the system does not save its registers.
    pub(crate) fn of_this_processor() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    /// Takes the next block of each message.
    pub(crate) fn compress(self, state: &mut State, blocks: &[&Block; LANES]) {
        // SAFETY: the function needs AVX-512F and nothing else. Only `of_this_processor` makes a
        // `Lanes`, after it has found this feature.
        unsafe { compress(&mut state.0, blocks) }
    }
}

#[target_feature(enable = "avx512f")]
fn load_block(block: &Block) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read. The instruction needs no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn load(lanes: &[u32; LANES]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read. The instruction needs no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn store(lanes: &mut [u32; LANES], vector: __m512i) {
    // SAFETY: the array has the 64 bytes that are written. The instruction needs no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) }
}

/// Writes a macro's call for each of sixteen numbers. The words of a block stay in registers only
/// if each index is a constant.
macro_rules! sixteen_times {
    ($call:ident) => {
        $call!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    };
}

/// The words of sixteen blocks, each with one lane per block: a transposition, with the bytes of
/// each word in the other order.
#[target_feature(enable = "avx512f")]
fn words(blocks: &[&Block; LANES]) -> [__m512i; 16] {
    let zero = _mm512_set1_epi32(0);
    let mut rows = [zero; 16];
    macro_rules! read {
        ($($at:literal)+) => { $(rows[$at] = swapped(load_block(blocks[$at]));)+ };
    }
    sixteen_times!(read);
    // The words of two blocks in turns.
    let mut twos = [zero; 16];
    macro_rules! pair {
        ($($even:literal $odd:literal),+) => { $(
            twos[$even] = _mm512_unpacklo_epi32(rows[$even], rows[$odd]);
            twos[$odd] = _mm512_unpackhi_epi32(rows[$even], rows[$odd]);
        )+ };
    }
    pair!(0 1, 2 3, 4 5, 6 7, 8 9, 10 11, 12 13, 14 15);
    // One word of four blocks in each quarter.
    let mut fours = [zero; 16];
    macro_rules! pair_of_pairs {
        ($($a:literal $b:literal $c:literal $d:literal),+) => { $(
            fours[$a] = _mm512_unpacklo_epi64(twos[$a], twos[$c]);
            fours[$b] = _mm512_unpackhi_epi64(twos[$a], twos[$c]);
            fours[$c] = _mm512_unpacklo_epi64(twos[$b], twos[$d]);
            fours[$d] = _mm512_unpackhi_epi64(twos[$b], twos[$d]);
        )+ };
    }
    pair_of_pairs!(0 1 2 3, 4 5 6 7, 8 9 10 11, 12 13 14 15);
    // The quarters of one word of all blocks.
    let mut words = [zero; 16];
    macro_rules! quarters {
        ($($a:literal $b:literal $c:literal $d:literal),+) => { $(
            let even_low = _mm512_shuffle_i32x4::<EVEN>(fours[$a], fours[$b]);
            let even_high = _mm512_shuffle_i32x4::<EVEN>(fours[$c], fours[$d]);
            let odd_low = _mm512_shuffle_i32x4::<ODD>(fours[$a], fours[$b]);
            let odd_high = _mm512_shuffle_i32x4::<ODD>(fours[$c], fours[$d]);
            words[$a] = _mm512_shuffle_i32x4::<EVEN>(even_low, even_high);
            words[$b] = _mm512_shuffle_i32x4::<EVEN>(odd_low, odd_high);
            words[$c] = _mm512_shuffle_i32x4::<ODD>(even_low, even_high);
            words[$d] = _mm512_shuffle_i32x4::<ODD>(odd_low, odd_high);
        )+ };
    }
    quarters!(0 4 8 12, 1 5 9 13, 2 6 10 14, 3 7 11 15);
    words
}

/// Quarters 0 and 2 of both operands, and quarters 1 and 3.
const EVEN: i32 = 0x88;
const ODD: i32 = 0xdd;

/// The bytes of each word in the other order.
#[target_feature(enable = "avx512f")]
fn swapped(words: __m512i) -> __m512i {
    let mask = _mm512_set1_epi32(0x00ff00ff);
    let (left, right) = (_mm512_ror_epi32::<24>(words), _mm512_ror_epi32::<8>(words));
    _mm512_ternarylogic_epi32::<CHOOSE>(mask, left, right)
}

/// The truth tables of `a ^ b ^ c`, of `a ? b : c`, and of the majority.
const XOR: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

/// One round. The value of `$h` becomes that of the next round's `a`, and that of `$d` its `e`. The
/// others move by one place, so the next round names them in another order.
macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $word:expr) => {
        let early = _mm512_add_epi32($h, $word);
        let choice = _mm512_ternarylogic_epi32::<CHOOSE>($e, $f, $g);
        let mixed = _mm512_add_epi32(choice, rotated::<6, 11, 25>($e));
        let first = _mm512_add_epi32(early, mixed);
        let majority = _mm512_ternarylogic_epi32::<MAJORITY>($a, $b, $c);
        let second = _mm512_add_epi32(rotated::<2, 13, 22>($a), majority);
        $d = _mm512_add_epi32($d, first);
        $h = _mm512_add_epi32(first, second);
    };
}

#[target_feature(enable = "avx512f")]
fn compress(state: &mut [[u32; LANES]; 8], blocks: &[&Block; LANES]) {
    let mut w = words(blocks);
    let mut a = load(&state[0]);
    let mut b = load(&state[1]);
    let mut c = load(&state[2]);
    let mut d = load(&state[3]);
    let mut e = load(&state[4]);
    let mut f = load(&state[5]);
    let mut g = load(&state[6]);
    let mut h = load(&state[7]);
    for (group, constants) in ROUNDS.iter().enumerate() {
        if group > 0 {
            macro_rules! schedule {
                ($($at:literal)+) => { $(
                    w[$at] = scheduled(
                        w[$at], w[($at + 1) % 16], w[($at + 9) % 16], w[($at + 14) % 16],
                    );
                )+ };
            }
            sixteen_times!(schedule);
        }
        macro_rules! word {
            ($at:literal) => {
                _mm512_add_epi32(w[$at], _mm512_set1_epi32(constants[$at].cast_signed()))
            };
        }
        round!(a b c d e f g h, word!(0));
        round!(h a b c d e f g, word!(1));
        round!(g h a b c d e f, word!(2));
        round!(f g h a b c d e, word!(3));
        round!(e f g h a b c d, word!(4));
        round!(d e f g h a b c, word!(5));
        round!(c d e f g h a b, word!(6));
        round!(b c d e f g h a, word!(7));
        round!(a b c d e f g h, word!(8));
        round!(h a b c d e f g, word!(9));
        round!(g h a b c d e f, word!(10));
        round!(f g h a b c d e, word!(11));
        round!(e f g h a b c d, word!(12));
        round!(d e f g h a b c, word!(13));
        round!(c d e f g h a b, word!(14));
        round!(b c d e f g h a, word!(15));
    }
    for (words, added) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        let before = load(words);
        store(words, _mm512_add_epi32(before, added));
    }
}

/// The word of the message schedule that takes the place of `oldest`.
#[target_feature(enable = "avx512f")]
fn scheduled(oldest: __m512i, early: __m512i, middle: __m512i, late: __m512i) -> __m512i {
    let early = _mm512_ternarylogic_epi32::<XOR>(
        _mm512_ror_epi32::<7>(early),
        _mm512_ror_epi32::<18>(early),
        _mm512_srli_epi32::<3>(early),
    );
    let late = _mm512_ternarylogic_epi32::<XOR>(
        _mm512_ror_epi32::<17>(late),
        _mm512_ror_epi32::<19>(late),
        _mm512_srli_epi32::<10>(late),
    );
    _mm512_add_epi32(
        _mm512_add_epi32(oldest, early),
        _mm512_add_epi32(middle, late),
    )
}

#[target_feature(enable = "avx512f")]
fn rotated<const A: i32, const B: i32, const C: i32>(word: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR>(
        _mm512_ror_epi32::<A>(word),
        _mm512_ror_epi32::<B>(word),
        _mm512_ror_epi32::<C>(word),
    )
}

/// The initial hash value (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// The constants of the rounds (FIPS 180-4 §4.2.2), sixteen for each pass over the words.
const ROUNDS: [[u32; 16]; 4] = [
    [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174,
    ],
    [
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc,
        0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
        0x06ca6351, 0x14292967,
    ],
    [
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e,
        0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624,
        0xf40e3585, 0x106aa070,
    ],
    [
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
        0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb,
        0xbef9a3f7, 0xc67178f2,
    ],
];

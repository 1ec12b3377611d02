//! Recognises characters in words of eight bytes at a time.
//!
//! The first character of a text is in the lowest byte of its word.

use std::hint::select_unpredictable;

/// Eight equal bytes.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

const HIGH: u64 = eight(0x80);

/// The first eight bytes as a number, with zeros for those that are absent.
#[inline(always)]
pub(crate) fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => short_head(bytes),
    }
}

#[inline(never)]
fn short_head(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            let shift = bytes.len().wrapping_sub(4).wrapping_mul(8) as u32;
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last.wrapping_shl(shift)
        }
        _ => {
            let bytes = bytes.iter().rev();
            bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
        }
    }
}

/// The length of a string up to its closing quote, or [`usize::MAX`] if there is none, or an
/// escape, a control character or a character outside of ASCII before it.
#[inline(never)]
pub(crate) fn text_length(text: &[u8]) -> usize {
    let mut before = 0_usize;
    let (pairs, rest) = text.as_chunks::<16>();
    for pair in pairs {
        let pair = u128::from_le_bytes(*pair);
        let (low, high) = (pair as u64, (pair >> 64) as u64);
        let (ends_low, ends_high) = (ends(low), ends(high));
        if ends_low | ends_high != 0 {
            // In which of the two words a text ends cannot be predicted.
            let is_low = ends_low != 0;
            let ends = select_unpredictable(is_low, ends_low, ends_high);
            let word = select_unpredictable(is_low, low, high);
            let shift = ends.trailing_zeros() & !7;
            let is_quote = word.wrapping_shr(shift) as u8 == b'"';
            let within = (shift / 8) as usize | usize::from(!is_low) << 3;
            return if is_quote {
                before.wrapping_add(within)
            } else {
                usize::MAX
            };
        }
        before = before.wrapping_add(16);
    }
    let is_end = |byte: &u8| !matches!(byte, 0x20..0x80) || matches!(byte, b'"' | b'\\');
    match rest.iter().position(is_end) {
        Some(at) if rest.get(at) == Some(&b'"') => before.wrapping_add(at),
        _ => usize::MAX,
    }
}

/// The high bit of each byte that ends a plain string. Above the lowest such byte a bit may be
/// wrong, because a borrow moves upwards.
#[inline(always)]
const fn ends(word: u64) -> u64 {
    let quote = word ^ eight(b'"');
    let backslash = word ^ eight(b'\\');
    let zero_quote = quote.wrapping_sub(eight(1)) & !quote;
    let zero_backslash = backslash.wrapping_sub(eight(1)) & !backslash;
    let below_space = word.wrapping_sub(eight(b' '));
    (zero_quote | zero_backslash | below_space | word) & HIGH
}

/// The number that the decimal digits at the start of a word spell, and how many digits there are.
#[inline(always)]
pub(crate) fn leading_digits(word: u64) -> (u64, usize) {
    let digits = word ^ eight(b'0');
    // A byte from 10 on has its high bit set, or gets it when 118 is added to its other bits. No
    // byte carries into the next one.
    let others = ((digits & eight(0x7f)).wrapping_add(eight(118)) | digits) & HIGH;
    let count = others.trailing_zeros() / 8;
    // The digits move up to where eight would end, and zeros come before them. There is nothing to
    // move if there is none.
    let unused = 64_u32.wrapping_sub(count.wrapping_mul(8));
    let digits = digits.checked_shl(unused).unwrap_or(0);
    // Neighbours are added in three steps: digits, pairs, and groups of four.
    let pairs = digits.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000 << 32 | 1) >> 32;
    (number, count as usize)
}

/// Two times four characters as one word.
#[inline(always)]
pub(crate) fn two_times_four(text: &[u8; 37], first: usize, second: usize) -> u64 {
    let four = |at: usize| {
        let four = text.get(at..).and_then(<[u8]>::first_chunk);
        u64::from(u32::from_le_bytes(four.copied().unwrap_or_default()))
    };
    four(first) | four(second) << 32
}

/// The four bytes that eight hexadecimal digits in lower case spell, the first in the lowest byte;
/// and a number that is 0 only if all are such digits.
#[inline(always)]
pub(crate) const fn hex_digits(text: u64) -> (u32, u64) {
    // Letters have bit 6. Their last four bits begin with 1.
    let letters = text >> 6 & eight(1);
    let values = (text & eight(0x0f)).wrapping_add(letters.wrapping_mul(9));
    // Written again, only the digits from `0` to `9` and from `a` to `f` give the same text. The
    // characters from `g` to `o` have values above 15.
    let from_ten = values.wrapping_add(eight(6)) >> 4 & eight(1);
    let again = values
        .wrapping_add(eight(b'0'))
        .wrapping_add(from_ten.wrapping_mul((b'a' - b'0' - 10) as u64));
    let wrong = (again ^ text) | (values & eight(0xf0));
    let bytes = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    ((pairs | pairs >> 16) as u32, wrong)
}

/// Whether the text is canonical base64 with one or two characters of padding: digits, the last of
/// which has no unused bits, and the padding.
#[inline(always)]
pub(crate) fn is_base64(text: &[u8], padding: usize) -> bool {
    let Some((digits, padded)) = text.split_at_checked(text.len().wrapping_sub(padding)) else {
        return false;
    };
    let unused = if padding == 2 { 0x0f } else { 0x03 };
    let last = digits.last().map_or(NO_DIGIT, |byte| value(*byte));
    // The loop tests all digits without stopping.
    let all = digits.iter().fold(0, |all, byte| all | value(*byte));
    all & NO_DIGIT == 0 && last & unused == 0 && padded.iter().all(|byte| *byte == b'=')
}

/// A value above those of all digits of base64.
const NO_DIGIT: u8 = 0x40;

/// The value of each digit of base64, and [`NO_DIGIT`] for any other byte.
static VALUES: [u8; 256] = {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NO_DIGIT; 256];
    let mut value = 0_u8;
    while value < 64 {
        #[expect(clippy::indexing_slicing, reason = "a constant: it would not compile")]
        {
            table[digits[value as usize] as usize] = value;
        }
        value = value.wrapping_add(1);
    }
    table
};

#[expect(
    clippy::indexing_slicing,
    reason = "the table has a place for every byte"
)]
#[inline(always)]
fn value(digit: u8) -> u8 {
    VALUES[usize::from(digit)]
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hexadecimal_digits_are_those_in_lower_case() {
        let text = *b"0123456789abcdef";
        for at in 0..8 {
            for from in 0..=8 {
                for byte in 0..=255 {
                    let mut word: [u8; 8] = text[from..from + 8].try_into().unwrap();
                    word[at] = byte;
                    let (value, wrong) = hex_digits(u64::from_le_bytes(word));
                    assert_eq!(wrong == 0, text.contains(&byte), "{word:?}");
                    if wrong == 0 {
                        let slow = std::str::from_utf8(&word).unwrap();
                        let slow = u32::from_str_radix(slow, 16).unwrap();
                        assert_eq!(value.to_le_bytes(), slow.to_be_bytes());
                    }
                }
            }
        }
    }

    #[test]
    fn base64_is_canonical_or_refused() {
        for (bytes, padding) in [(16, 2), (32, 1)] {
            let good = STANDARD.encode(vec![0xfb; bytes]);
            for at in 0..good.len() {
                for byte in 0..=255 {
                    let mut text = good.clone().into_bytes();
                    text[at] = byte;
                    let slow = STANDARD
                        .decode(&text)
                        .is_ok_and(|found| found.len() == bytes);
                    assert_eq!(is_base64(&text, padding), slow, "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_string_ends_where_reading_byte_by_byte_finds_its_end(
            bytes in prop::collection::vec(
                prop_oneof![4 => 0x20..0x80_u8, 1 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')],
                0..60,
            ),
        ) {
            let end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f | 0x80..);
            let slow = bytes.iter().position(end).filter(|at| bytes[*at] == b'"');
            prop_assert_eq!(text_length(&bytes), slow.unwrap_or(usize::MAX));
            let slow = bytes.iter().take(8).rev();
            let slow = slow.fold(0, |word, byte| word << 8 | u64::from(*byte));
            prop_assert_eq!(head(&bytes), slow);
        }

        #[test]
        fn leading_digits_are_the_number_that_they_spell(
            number in 0..100_000_000_u64, from in 0..9_usize, more in any::<u64>(),
        ) {
            let mut text: [u8; 8] = format!("{number:08}").into_bytes().try_into().unwrap();
            for (into, byte) in text.iter_mut().skip(from).zip(more.to_le_bytes()) {
                *into = byte;
            }
            let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let slow = std::str::from_utf8(&text[..count]).unwrap().parse().unwrap_or(0);
            prop_assert_eq!(leading_digits(u64::from_le_bytes(text)), (slow, count));
        }
    }
}

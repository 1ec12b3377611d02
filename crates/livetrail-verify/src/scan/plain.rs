//! Recognises a plain entry in one pass, and notes where its values are.
//!
//! A *plain* entry is one that [`RecordView`](livetrail_record::RecordView) reads and that has only
//! ASCII, no free-form label, and no field of a later schema. [`Plain::read`] accepts no other
//! entry. It copies no text, because most fields are needed by no check.

use livetrail_record::{Field, MAX_CANONICAL_BYTES, MAX_INTEGER, Uuid};

use crate::scan::words::{
    head, hex_digits, is_base64, leading_digits, text_length, two_times_four,
};

/// Hands the fields of a plain entry to a macro, in canonical order: their names, and how each is
/// read.
macro_rules! with_fields {
    ($then:ident) => {
        $then! {
            action: First; app: Text; boot: Id; by: Text; bytes: Number; clock_error_us: Number;
            clock_synced: Flag; count: Number; detail: Text; detail_cut: Flag; distinct: Number;
            dropped_frames: Number; duration_ms: Number; first_seq: Number; first_ts_ms: Number;
            frames: Number; inferred: Flag; last_seq: Number; last_ts_ms: Number; mono_ms: Number;
            node: Text; nonce: Nonce; outcome: Text; peer: Text; peer_source: Text;
            personal: Digest; principal: Text; protocol: Text; reason: Text;
            refused_before: Number; seq: Number; session: Id; stream: Text; ts_ms: Number;
            user_agent: Text; v: Number; via: Text;
        }
    };
}

/// The key of a field: the bytes from the comma to its value.
macro_rules! key {
    ($name:ident, First) => { key!("{" $name "\"") };
    ($name:ident, Number) => { key!("," $name "") };
    ($name:ident, Flag) => { key!("," $name "true") };
    ($name:ident, $text:ident) => { key!("," $name "\"") };
    ($before:literal $name:ident $after:literal) => {
        const { Key::new(concat!($before, "\"", stringify!($name), "\":", $after)) }
    };
}

/// Reads a value into its place.
macro_rules! value {
    ($c:ident, $into:ident, $name:ident, Number) => {
        $into.set(Place::$name, $c.number()?)
    };
    ($c:ident, $into:ident, $name:ident, Flag) => {};
    ($c:ident, $into:ident, $name:ident, Id) => {
        $c.id(&mut $into.$name)?
    };
    ($c:ident, $into:ident, $name:ident, Nonce) => {
        $into.set(Place::$name, $c.base64(24, 2)?)
    };
    ($c:ident, $into:ident, $name:ident, Digest) => {
        $into.set(Place::$name, $c.base64(44, 1)?)
    };
    ($c:ident, $into:ident, $name:ident, $text:ident) => {
        $into.set(Place::$name, $c.text()?)
    };
}

macro_rules! plain {
    ($($name:ident: $kind:ident;)+) => {
        /// A field's place among those of a plain entry.
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "they are the names of the fields")]
        pub(crate) enum Place {
            $($name,)+
        }

        const FIELDS: usize = [$(Place::$name),+].len();

        impl Plain {
            /// Reads the members in canonical order. Each is searched once and in its place, which
            /// proves the order.
            #[inline(never)]
            fn members(&mut self, entry: &[u8]) -> Option<()> {
                let mut c = Cursor::new(entry);
                let mut present = 0;
                $(
                    if c.has(key!($name, $kind)) {
                        value!(c, self, $name, $kind);
                        present |= Place::$name.bit();
                    }
                )+
                self.present = present;
                (c.rest == b"}").then_some(())
            }
        }

        const NAMES: [&str; FIELDS] = [$(stringify!($name)),+];
    };
}

with_fields!(plain);

// A new field belongs on the list above. The label of a free-form event is not plain.
const _: () = assert!(are_all_fields());

/// The fields that every entry has.
const REQUIRED: u64 = Place::action.bit() | Place::app.bit() | Place::ts_ms.bit() | Place::v.bit();

/// The fields of schema 2. In an entry of schema 1 they would be fields of its own, with any value.
const COMMITTING: u64 = Place::peer_source.bit() | Place::personal.bit() | Place::via.bit();
const COMMITTING_SCHEMA: u64 = 2;

impl Place {
    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// A plain entry: which fields it has, and their values. The values of absent fields are those of
/// an earlier entry.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    present: u64,
    /// Numbers as they are, and texts as their start and length in the entry.
    values: [u64; FIELDS],
    boot: Uuid,
    session: Uuid,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            present: 0,
            values: [0; FIELDS],
            boot: Uuid::nil(),
            session: Uuid::nil(),
        }
    }
}

impl Plain {
    /// Reads a plain entry. Returns `false` for any other, which may be a record nevertheless.
    pub(crate) fn read(&mut self, entry: &[u8]) -> bool {
        if entry.len() > MAX_CANONICAL_BYTES || self.members(entry).is_none() {
            return false;
        }
        let v = self.number(Place::v).unwrap_or_default();
        let is_known = self.present & COMMITTING == 0 || v >= COMMITTING_SCHEMA;
        self.present & REQUIRED == REQUIRED && v <= u64::from(u32::MAX) && is_known
    }

    #[inline(always)]
    fn set(&mut self, place: Place, value: u64) {
        if let Some(into) = self.values.get_mut(place as usize) {
            *into = value;
        }
    }

    #[inline(always)]
    pub(crate) const fn has(&self, place: Place) -> bool {
        self.present & place.bit() != 0
    }

    #[inline(always)]
    pub(crate) fn number(&self, place: Place) -> Option<u64> {
        let value = self.values.get(place as usize).copied();
        value.filter(|_| self.has(place))
    }

    /// A text in the bytes that were read.
    #[inline(always)]
    pub(crate) fn text<'a>(&self, place: Place, entry: &'a [u8]) -> Option<&'a [u8]> {
        let value = self.number(place)?;
        let start = (value & u64::from(u32::MAX)) as usize;
        let end = start.saturating_add((value >> 32) as usize);
        entry.get(start..end)
    }

    pub(crate) fn boot(&self) -> Option<Uuid> {
        self.has(Place::boot).then_some(self.boot)
    }

    pub(crate) fn session(&self) -> Option<Uuid> {
        self.has(Place::session).then_some(self.session)
    }
}

/// The text of a key.
struct Key {
    text: &'static [u8],
    /// Its first eight bytes as a little-endian number, and which of these it has.
    head: u64,
    mask: u64,
}

impl Key {
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "evaluated by the compiler"
    )]
    const fn new(text: &'static str) -> Self {
        let text = text.as_bytes();
        let (mut head, mut mask) = (0_u64, 0_u64);
        let mut at = 0;
        while at < text.len() && at < 8 {
            head |= (text[at] as u64) << (at * 8);
            mask |= 0xff << (at * 8);
            at += 1;
        }
        Self { text, head, mask }
    }
}

/// What remains of an entry.
struct Cursor<'a> {
    rest: &'a [u8],
    /// The first eight bytes of `rest`. Most keys are absent, and this shows it.
    head: u64,
    /// The bytes of the whole entry.
    length: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn new(entry: &'a [u8]) -> Self {
        Self {
            rest: entry,
            head: head(entry),
            length: entry.len(),
        }
    }

    #[inline(always)]
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        self.head = head(self.rest);
        Some(())
    }

    /// Skips this key if it comes next. The test for an absent one is a comparison of a register
    /// with a constant.
    #[inline(always)]
    fn has(&mut self, key: Key) -> bool {
        self.head & key.mask == key.head
            && self.rest.starts_with(key.text)
            && self.skip(key.text.len()).is_some()
    }

    /// The next bytes as one number: where they start in the entry, and how many they are. An entry
    /// has less than 2^32 bytes.
    #[inline(always)]
    const fn span(&self, length: usize) -> u64 {
        self.length.wrapping_sub(self.rest.len()) as u64 | (length as u64) << 32
    }

    /// Reads a string up to its closing quote.
    #[inline(always)]
    fn text(&mut self) -> Option<u64> {
        let length = text_length(self.rest);
        let span = self.span(length);
        self.skip(length.checked_add(1)?)?;
        Some(span)
    }

    /// Reads canonical base64 of this length with its closing quote.
    #[inline(always)]
    fn base64(&mut self, length: usize, padding: usize) -> Option<u64> {
        let (text, after) = self.rest.split_at_checked(length)?;
        if after.first() != Some(&b'"') || !is_base64(text, padding) {
            return None;
        }
        let span = self.span(length);
        self.skip(length.wrapping_add(1))?;
        Some(span)
    }

    #[inline(always)]
    fn id(&mut self, into: &mut Uuid) -> Option<()> {
        if !uuid(self.rest.first_chunk()?, into) {
            return None;
        }
        self.skip(37)
    }

    /// Reads a canonical integer of at most sixteen digits. If there are more, the entry is not
    /// plain: no key begins with a digit.
    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        let (number, digits) = number(self.rest, self.head);
        let is_canonical = digits == 1 || (digits > 1 && self.head as u8 != b'0');
        self.skip(digits)?;
        (is_canonical && number <= MAX_INTEGER).then_some(number)
    }
}

/// The number that at most sixteen digits spell, and how many there are. The first eight bytes are
/// in `word`.
#[inline(never)]
fn number(rest: &[u8], word: u64) -> (u64, usize) {
    let (number, digits) = leading_digits(word);
    if digits < 8 {
        return (number, digits);
    }
    let (low, more) = leading_digits(head(rest.get(8..).unwrap_or_default()));
    // At most 16 digits, which do not overflow.
    let power = POWERS_OF_TEN.get(more).copied().unwrap_or_default();
    let number = number.wrapping_mul(power).wrapping_add(low);
    (number, digits.wrapping_add(more))
}

static POWERS_OF_TEN: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// Parses the hyphenated form in lower case, with the quote behind it.
#[inline(never)]
fn uuid(text: &[u8; 37], into: &mut Uuid) -> bool {
    let hyphens = [text[8], text[13], text[18], text[23], text[36]];
    let (first, first_wrong) = hex_digits(two_times_four(text, 0, 4));
    let (second, second_wrong) = hex_digits(two_times_four(text, 9, 14));
    let (third, third_wrong) = hex_digits(two_times_four(text, 19, 24));
    let (fourth, fourth_wrong) = hex_digits(two_times_four(text, 28, 32));
    let low = u64::from(first) | u64::from(second) << 32;
    let high = u64::from(third) | u64::from(fourth) << 32;
    let id = u128::from(low) | u128::from(high) << 64;
    *into = Uuid::from_bytes(id.to_le_bytes());
    let wrong = first_wrong | second_wrong | third_wrong | fourth_wrong;
    wrong == 0 && hyphens == *b"----\""
}

/// Whether [`NAMES`] are those of the fields that are in a view, in their order, without the label
/// of a free-form event.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler"
)]
const fn are_all_fields() -> bool {
    let (mut at, mut place) = (0, 0);
    while at < Field::ALL.len() {
        let field = Field::ALL[at];
        at += 1;
        if !field.is_in_view() || is_same(field.name(), "label") {
            continue;
        }
        if place == NAMES.len() || !is_same(field.name(), NAMES[place]) {
            return false;
        }
        place += 1;
    }
    place == NAMES.len() && place <= 64
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler"
)]
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut same = 0;
    while same < one.len() && same < other.len() && one[same] == other[same] {
        same += 1;
    }
    same == one.len() && same == other.len()
}

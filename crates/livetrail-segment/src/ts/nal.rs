//! Access units with start codes, without a copy: the slices that follow each other.

const START_CODE: &[u8] = &[0, 0, 0, 1];

/// The syntax of NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Avc,
    Hevc,
}

impl Kind {
    /// A delimiter for any kind of pictures, with its start code. Players need one in front of each
    /// access unit.
    fn delimiter(self) -> &'static [u8] {
        match self {
            Self::Avc => &[0, 0, 0, 1, 0x09, 0xf0],
            Self::Hevc => &[0, 0, 0, 1, 0x46, 0x01, 0x50],
        }
    }

    /// Whether a NAL unit is a delimiter, or a sequence parameter set.
    fn is(self, unit: &[u8], avc: u8, hevc: u8) -> bool {
        unit.first().is_some_and(|first| match self {
            Self::Avc => first & 0x1f == avc,
            Self::Hevc => (first >> 1) & 0x3f == hevc,
        })
    }
}

/// The NAL units of a payload. Bytes that have no length end it.
#[derive(Debug, Clone)]
struct Units<'a> {
    rest: &'a [u8],
    length_bytes: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_at_checked(self.length_bytes)?;
        let length = length.iter().fold(0_usize, |length, byte| {
            length
                .saturating_mul(256)
                .saturating_add(usize::from(*byte))
        });
        let (unit, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(unit)
    }
}

/// The slices of an access unit: a delimiter, in front of a keyframe the parameter sets unless it
/// has some, and its NAL units.
pub(super) fn access_unit<'a>(
    payload: &'a [u8],
    length_bytes: u8,
    kind: Kind,
    key: bool,
    sets: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> + Clone {
    let units = Units {
        rest: payload,
        length_bytes: usize::from(length_bytes.max(1)),
    };
    let has_sets = || units.clone().any(|unit| kind.is(unit, 7, 33));
    let sets = if key && !has_sets() { sets } else { &[] };
    let units = units
        .filter(move |unit| !unit.is_empty() && !kind.is(unit, 9, 35))
        .flat_map(|unit| [START_CODE, unit]);
    [kind.delimiter(), sets].into_iter().chain(units)
}

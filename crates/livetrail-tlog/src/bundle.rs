//! Entry bundles: up to 256 entries, each preceded by its length (tlog-tiles, "Log entries").

use crate::error::Error;
use crate::tile::Bundle;

/// The maximum number of bytes that an entry may have: its length is a 16-bit number.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Appends one entry to a bundle's bytes: `length u16 BE │ bytes`.
///
/// # Errors
/// [`Error::EntryTooLong`]; the bundle is then unchanged.
pub fn encode_entry_into(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Error> {
    let length =
        u16::try_from(entry.len()).map_err(|_| Error::EntryTooLong { bytes: entry.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// A bundle's bytes.
///
/// # Errors
/// [`Error::EntryTooLong`].
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for entry in entries {
        encode_entry_into(&mut bytes, entry.as_ref())?;
    }
    Ok(bytes)
}

/// The entries of `bundle` from its bytes: exactly as many as its width, with nothing after them.
///
/// # Errors
/// [`Error::BundleShort`] when the bytes end within or before an entry, [`Error::BundleTrailing`]
/// when bytes remain.
pub fn parse_bundle(bundle: Bundle, bytes: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut entries = Vec::with_capacity(usize::from(bundle.width()));
    let mut rest = bytes;
    while entries.len() < usize::from(bundle.width()) {
        let (entry, after) = split_entry(rest).ok_or_else(|| Error::BundleShort {
            wanted: bundle.width(),
            found: entries.len(),
            offset: bytes.len().saturating_sub(rest.len()),
        })?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Error::BundleTrailing {
            wanted: bundle.width(),
            bytes: rest.len(),
        });
    }
    Ok(entries)
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bundle(width: u16) -> Bundle {
        Bundle::new(0, width).unwrap()
    }

    #[test]
    fn bytes() {
        assert_eq!(encode_bundle(&["ab", ""]).unwrap(), b"\0\x02ab\0\0");
        let parsed = parse_bundle(bundle(2), b"\0\x02ab\0\0").unwrap();
        assert_eq!(parsed, [b"ab".as_slice(), b""]);
    }

    #[test]
    fn an_entry_of_65535_bytes_fits_and_one_of_65536_is_refused() {
        let mut bytes = Vec::new();
        encode_entry_into(&mut bytes, &[b'A'; 65_535]).unwrap();
        assert_eq!(bytes.len(), 65_537);
        assert_eq!(
            encode_entry_into(&mut bytes, &[b'A'; 65_536]),
            Err(Error::EntryTooLong { bytes: 65_536 })
        );
        assert_eq!(bytes.len(), 65_537, "nothing was appended");
    }

    #[test]
    fn short_and_trailing_bytes_are_distinguished() {
        let bytes = b"\0\x02ab\0\x01c";
        for cut in 0..bytes.len() {
            let (found, offset) = if cut < 4 { (0, 0) } else { (1, 4) };
            assert_eq!(
                parse_bundle(bundle(2), &bytes[..cut]),
                Err(Error::BundleShort {
                    wanted: 2,
                    found,
                    offset
                }),
                "{cut} bytes"
            );
        }
        assert_eq!(
            parse_bundle(bundle(1), bytes),
            Err(Error::BundleTrailing {
                wanted: 1,
                bytes: 3
            })
        );
        assert_eq!(
            parse_bundle(bundle(3), bytes),
            Err(Error::BundleShort {
                wanted: 3,
                found: 2,
                offset: 7
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=256)) {
            let bytes = encode_bundle(&entries).unwrap();
            let width = entries.len().try_into().unwrap();
            prop_assert_eq!(parse_bundle(bundle(width), &bytes).unwrap(), entries);
        }
    }
}

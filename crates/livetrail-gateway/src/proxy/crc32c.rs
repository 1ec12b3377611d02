//! CRC-32C (Castagnoli), as the PROXY protocol uses it.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of these bytes, one part after the other.
pub(super) fn crc32c<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let reduced = if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            (crc >> 1) ^ reduced
        })
    })
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// The vectors of RFC 3720, appendix B.4, and the usual check value.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c([&b"1234"[..], b"56789"]), 0xe306_9283);
        assert_eq!(crc32c([&[0; 32][..]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 32][..]]), 0x62a8_ab43);
        assert_eq!(crc32c([]), 0);
    }
}

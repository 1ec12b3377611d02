//! A certificate's times and names: what the library does not report.

use rustls::pki_types::CertificateDer;

/// When a certificate is valid, in seconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The times of a certificate (RFC 5280 section 4.1.2.5), or `None` if it is malformed.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let mut outer = Der(certificate.as_ref());
    let mut certificate = Der(outer.expect(SEQUENCE)?);
    let mut fields = Der(certificate.expect(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.expect(VERSION)?;
    }
    fields.expect(INTEGER)?;
    // The algorithm of the signature, and the issuer.
    fields.expect(SEQUENCE)?;
    fields.expect(SEQUENCE)?;
    let mut times = Der(fields.expect(SEQUENCE)?);
    Some(Validity {
        not_before: times.time()?,
        not_after: times.time()?,
    })
}

/// The names of hosts that a server's certificate is for, in lower case.
pub(crate) fn dns_names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let names = parsed.valid_dns_names();
    Some(names.map(str::to_ascii_lowercase).collect())
}

/// DER values, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, contents) = self.next()?;
        (found == tag).then_some(contents)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let len = match first {
            0..=0x7f => usize::from(first),
            // A certificate is shorter than 2^24 bytes.
            0x81..=0x83 => {
                let (len, after) = rest.split_at_checked(usize::from(first & 3))?;
                rest = after;
                len.iter()
                    .fold(0_usize, |sum, &byte| (sum << 8) | usize::from(byte))
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, contents))
    }

    fn time(&mut self) -> Option<u64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match tag {
            UTC_TIME if text.len() == 12 => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: u64 = year.parse().ok()?;
                // RFC 5280 section 4.1.2.5.1.
                let century = if year < 50 { 2000 } else { 1900 };
                (year.checked_add(century)?, rest)
            }
            GENERALIZED_TIME if text.len() == 14 => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let mut parts = rest.as_bytes().chunks(2).map(|two| {
            let two = std::str::from_utf8(two).ok()?;
            two.parse::<u64>().ok()
        });
        let mut part = || parts.next().flatten();
        let (month, day) = (part()?, part()?);
        let (hour, minute, second) = (part()?, part()?, part()?);
        let days = days_since_1970(year, month, day)?;
        let of_day = hour
            .checked_mul(3_600)?
            .checked_add(minute.checked_mul(60)?)?;
        days.checked_mul(86_400)?
            .checked_add(of_day)?
            .checked_add(second)
    }
}

/// Days from 1970-01-01 to this date of the Gregorian calendar; 0 for one before.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    // A year begins in March, so that its leap day is its last day.
    let (year, month) = match month {
        3.. => (year, month.checked_sub(3)?),
        _ => (year.checked_sub(1)?, month.checked_add(9)?),
    };
    let leaps = (year / 4)
        .checked_sub(year / 100)?
        .checked_add(year / 400)?;
    let before = year.checked_mul(365)?.checked_add(leaps)?;
    let of_year = month.checked_mul(153)?.checked_add(2)? / 5;
    let days = before.checked_add(of_year)?.checked_add(day)?;
    // The same count for 1970-01-01 is 719 469.
    days.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn times_are_those_of_the_certificate_before_and_after_2050() {
        let key = KeyPair::generate().unwrap();
        for (from, until, expected) in [
            ((1999, 2, 28), (2026, 12, 1), (920_160_000, 1_796_083_200)),
            ((2000, 2, 29), (2051, 3, 1), (951_782_400, 2_561_241_600)),
            ((1970, 1, 1), (2100, 3, 1), (0, 4_107_542_400)),
        ] {
            let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
            params.not_before = date_time_ymd(from.0, from.1, from.2);
            params.not_after = date_time_ymd(until.0, until.1, until.2);
            let made = params.self_signed(&key).unwrap();
            let (not_before, not_after) = expected;
            let expected = Validity {
                not_before,
                not_after,
            };
            assert_eq!(validity(made.der()), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let der = CertificateDer::from(bytes);
            let _ = (validity(&der), dns_names(&der));
        }

        #[test]
        fn any_change_of_a_certificate_is_read_without_a_panic(at in 0usize..400, byte in any::<u8>()) {
            let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
            let mut bytes = made.cert.der().to_vec();
            let len = bytes.len();
            bytes[at % len] = byte;
            let der = CertificateDer::from(bytes);
            let _ = (validity(&der), dns_names(&der));
        }
    }
}

//! The sending direction: plain bytes to records, without allocating.
//!
//! ```text
//!  TLS 1.3   17 03 03 len │ encrypted: data, 17 │ tag 16
//!  TLS 1.2   17 03 03 len │ nonce 8 (AES-GCM) │ encrypted: data │ tag 16
//! ```

use std::{io::IoSlice, sync::Arc};

use aws_lc_rs::aead::{Aad, Nonce};

use crate::{
    Error,
    keys::{Form, Key, NextKeys},
};

/// The most plain bytes in one record.
pub const MAX_RECORD_PLAIN: usize = 1 << 14;
/// The most bytes of a record that are not plain bytes.
pub const MAX_RECORD_OVERHEAD: usize = HEADER + EXPLICIT_NONCE + TAG;

pub(crate) const HEADER: usize = 5;
pub(crate) const EXPLICIT_NONCE: usize = 8;
pub(crate) const TAG: usize = 16;

pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// The message `KeyUpdate` of TLS 1.3, which asks for nothing in return.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// The alert `close_notify`, a warning.
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// The sending direction of an established connection: makes records of plain bytes.
///
/// It changes to new keys by itself before the present ones have encrypted too much, and when the
/// other side has asked for it (TLS 1.3).
#[derive(Debug)]
pub struct Sealer {
    key: Key,
    next: Arc<NextKeys>,
}

impl Sealer {
    pub(crate) fn new(key: Key, next: Arc<NextKeys>) -> Self {
        Self { key, next }
    }

    /// Appends records with these bytes to `records`, as few as possible: one for each 16 KiB.
    /// Takes at most `limit` bytes, and returns how many. Allocates only if `records` must grow.
    ///
    /// The records must be sent in the order in which they are made, and none may be left out.
    ///
    /// # Errors
    /// [`Error::KeysUsedUp`] on a TLS 1.2 connection that has sent 8 million records. Nothing more
    /// can be sent then.
    pub fn seal(
        &mut self,
        plain: &[IoSlice<'_>],
        limit: usize,
        records: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let mut parts = Parts {
            slices: plain,
            skip: 0,
        };
        let mut sealed = 0_usize;
        while sealed < limit && !parts.is_empty() {
            let most = limit.saturating_sub(sealed).min(MAX_RECORD_PLAIN);
            self.refresh(records)?;
            let taken = self.record(APPLICATION_DATA, records, |records| {
                parts.append(most, records)
            })?;
            sealed = sealed.saturating_add(taken);
        }
        Ok(sealed)
    }

    /// Appends the record that says that nothing more follows.
    ///
    /// # Errors
    /// As for [`seal`](Self::seal).
    pub fn close(&mut self, records: &mut Vec<u8>) -> Result<(), Error> {
        self.refresh(records)?;
        self.whole(ALERT, &CLOSE_NOTIFY, records)
    }

    /// Changes to new keys if that is due.
    fn refresh(&mut self, records: &mut Vec<u8>) -> Result<(), Error> {
        let used_up = self.key.number >= self.key.limit;
        if used_up && self.key.form != Form::Tls13 {
            return Err(Error::KeysUsedUp);
        }
        if self.next.take_asked() || used_up {
            self.whole(HANDSHAKE, &KEY_UPDATE, records)?;
            self.key = self.next.next_sending()?;
        }
        Ok(())
    }

    fn whole(&mut self, content: u8, bytes: &[u8], records: &mut Vec<u8>) -> Result<(), Error> {
        let append = |records: &mut Vec<u8>| {
            records.extend_from_slice(bytes);
            bytes.len()
        };
        self.record(content, records, append).map(|_| ())
    }

    /// Appends one record, whose plain bytes `append` appends. Returns how many these are.
    fn record(
        &mut self,
        content: u8,
        records: &mut Vec<u8>,
        append: impl FnOnce(&mut Vec<u8>) -> usize,
    ) -> Result<usize, Error> {
        let start = records.len();
        let nonce = self.key.nonce();
        records.extend_from_slice(&[0; HEADER]);
        if self.key.form == Form::Gcm12 {
            records.extend(nonce.iter().skip(4));
        }
        let from = records.len();
        let plain = append(records);
        if self.key.form == Form::Tls13 {
            records.push(content);
        }
        let outer = match self.key.form {
            Form::Tls13 => APPLICATION_DATA,
            Form::Gcm12 | Form::ChaCha12 => content,
        };
        // At most 2^14 bytes and the overhead, so it fits.
        let body = records.len().saturating_sub(start).saturating_sub(HEADER);
        let len = u16::try_from(body.saturating_add(TAG)).unwrap_or(u16::MAX);
        let [high, low] = len.to_be_bytes();
        let header = [outer, 3, 3, high, low];
        if let Some(slot) = records.get_mut(start..start.saturating_add(HEADER)) {
            slot.copy_from_slice(&header);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let in_out = records.get_mut(from..).unwrap_or_default();
        let key = self.key.key();
        let sealed = match self.key.form {
            Form::Tls13 => key.seal_in_place_separate_tag(nonce, Aad::from(header), in_out),
            Form::Gcm12 | Form::ChaCha12 => {
                let len = u16::try_from(plain).unwrap_or(u16::MAX);
                let aad = self.key.aad12(content, len);
                key.seal_in_place_separate_tag(nonce, Aad::from(aad), in_out)
            }
        };
        let Ok(tag) = sealed else {
            // Whatever is there is not encrypted.
            records.truncate(start);
            return Err(Error::Keys);
        };
        records.extend_from_slice(tag.as_ref());
        self.key.number = self.key.number.checked_add(1).ok_or(Error::KeysUsedUp)?;
        Ok(plain)
    }
}

/// Slices of which a part is taken already.
struct Parts<'a, 'b> {
    slices: &'a [IoSlice<'b>],
    /// Bytes of the first slice that are taken.
    skip: usize,
}

impl Parts<'_, '_> {
    fn is_empty(&self) -> bool {
        let mut slices = self.slices.iter();
        let first = slices.next().map_or(0, |slice| slice.len());
        first <= self.skip && slices.all(|slice| slice.is_empty())
    }

    /// Appends up to `most` bytes to `out`. Returns how many.
    fn append(&mut self, most: usize, out: &mut Vec<u8>) -> usize {
        let mut taken = 0_usize;
        while let Some((first, rest)) = self.slices.split_first() {
            let left = first.get(self.skip..).unwrap_or_default();
            let room = most.saturating_sub(taken);
            let part = left.get(..room).unwrap_or(left);
            out.extend_from_slice(part);
            taken = taken.saturating_add(part.len());
            if part.len() < left.len() {
                self.skip = self.skip.saturating_add(part.len());
                break;
            }
            (self.slices, self.skip) = (rest, 0);
        }
        taken
    }
}

#[cfg(test)]
impl Sealer {
    /// As if this many records had been sent.
    pub(crate) fn skip_to(&mut self, number: u64) {
        self.key.number = number;
    }

    pub(crate) fn number(&self) -> u64 {
        self.key.number
    }

    /// Changes to new keys, and asks the other side to do the same.
    pub(crate) fn request_keys(&mut self, records: &mut Vec<u8>) {
        self.whole(HANDSHAKE, &[24, 0, 0, 1, 1], records).unwrap();
        self.key = self.next.next_sending().unwrap();
    }
}

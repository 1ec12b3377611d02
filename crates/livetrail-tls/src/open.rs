//! The receiving direction: records to plain bytes.

use std::sync::Arc;

use aws_lc_rs::aead::{Aad, Nonce};
use bytes::{Buf as _, BytesMut};

use crate::{
    Error,
    keys::{Form, Key, NextKeys},
    seal::{ALERT, APPLICATION_DATA, EXPLICIT_NONCE, HANDSHAKE, HEADER, MAX_RECORD_PLAIN, TAG},
};

/// Records without data that may come in a row. Each costs work and brings nothing.
const MAX_EMPTY: u32 = 32;

const CHANGE_CIPHER_SPEC: u8 = 20;
const KEY_UPDATE: u8 = 24;
const NEW_SESSION_TICKET: u8 = 4;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

/// What [`Opener::open`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// This many plain bytes, at least one.
    Data(usize),
    /// Less than a whole record. Its length is in the first bytes.
    Incomplete,
    /// The other side sends nothing more. Whatever follows is not read.
    Closed,
}

/// The receiving direction of an established connection: reads records.
///
/// It changes to new keys when the other side does (TLS 1.3). An error is final: the connection
/// must be closed.
#[derive(Debug)]
pub struct Opener {
    key: Key,
    next: Arc<NextKeys>,
    /// Records without data since the last one with data.
    empty: u32,
    closed: bool,
    is_client: bool,
    /// A message of TLS 1.3 that continues in the next record: how much of it is still to come.
    pending: usize,
}

impl Opener {
    pub(crate) fn new(key: Key, next: Arc<NextKeys>, is_client: bool) -> Self {
        Self {
            key,
            next,
            empty: 0,
            closed: false,
            is_client,
            pending: 0,
        }
    }

    /// Reads records from the start of `records` up to the first that has data, and appends the
    /// data to `plain`. Removes the records that it has read.
    ///
    /// `plain` grows by at most 16 KiB and 32 bytes. An incomplete record is at most 16 KiB and 256
    /// bytes long, so `records` needs no more room than that.
    ///
    /// # Errors
    /// The other side breaks the protocol, or ends the connection with an error.
    pub fn open(&mut self, records: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, Error> {
        loop {
            if self.closed {
                records.clear();
                return Ok(Opened::Closed);
            }
            let Some(header) = records.first_chunk::<HEADER>().copied() else {
                return Ok(Opened::Incomplete);
            };
            let len = self.check(header)?;
            let Some(body) = records.get(HEADER..HEADER.saturating_add(len)) else {
                return Ok(Opened::Incomplete);
            };
            let before = plain.len();
            let content = match (header, self.key.form) {
                // Sent for old machines in between (RFC 8446 appendix D.4); it means nothing.
                ([CHANGE_CIPHER_SPEC, ..], Form::Tls13) => CHANGE_CIPHER_SPEC,
                _ => self.decrypt(header, body, plain)?,
            };
            records.advance(HEADER.saturating_add(len));
            let bytes = plain.len().saturating_sub(before);
            if content == APPLICATION_DATA && bytes > 0 {
                self.empty = 0;
                return Ok(Opened::Data(bytes));
            }
            self.empty = self.empty.saturating_add(1);
            if self.empty > MAX_EMPTY {
                return Err(Error::TooManyEmptyRecords { limit: MAX_EMPTY });
            }
            let message = plain.get(before..).unwrap_or_default().to_vec();
            plain.truncate(before);
            match content {
                APPLICATION_DATA | CHANGE_CIPHER_SPEC => {}
                ALERT => self.alert(&message)?,
                HANDSHAKE => self.message(&message)?,
                _ => return Err(Error::UnexpectedContent),
            }
        }
    }

    /// Checks a header. Returns the length of what follows it.
    fn check(&self, [content, major, _, high, low]: [u8; HEADER]) -> Result<usize, Error> {
        if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&content) || major != 3 {
            return Err(Error::NotARecord);
        }
        let bytes = usize::from(u16::from_be_bytes([high, low]));
        let limit = match self.key.form {
            Form::Tls13 => MAX_RECORD_PLAIN.saturating_add(256),
            Form::Gcm12 | Form::ChaCha12 => {
                MAX_RECORD_PLAIN.saturating_add(EXPLICIT_NONCE.saturating_add(TAG))
            }
        };
        if bytes > limit {
            return Err(Error::RecordTooLong { bytes, limit });
        }
        Ok(bytes)
    }

    /// Appends what is in the record to `plain`, and returns its type.
    fn decrypt(
        &mut self,
        header: [u8; HEADER],
        body: &[u8],
        plain: &mut BytesMut,
    ) -> Result<u8, Error> {
        let [outer, ..] = header;
        let before = plain.len();
        let (explicit, sealed) = match self.key.form {
            Form::Gcm12 => {
                let (explicit, sealed) = body.split_first_chunk().ok_or(Error::Decrypt)?;
                (Some(*explicit), sealed)
            }
            Form::ChaCha12 | Form::Tls13 => (None, body),
        };
        if self.key.form == Form::Tls13 && outer != APPLICATION_DATA {
            return Err(Error::UnexpectedContent);
        }
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::Decrypt)?;
        let nonce = match explicit {
            Some(explicit) => self.key.nonce_with(explicit),
            None => Nonce::assume_unique_for_key(self.key.nonce()),
        };
        plain.extend_from_slice(sealed);
        let in_out = plain.get_mut(before..).unwrap_or_default();
        let key = self.key.key();
        let opened = match self.key.form {
            Form::Tls13 => key.open_in_place_separate_tag(nonce, Aad::from(header), tag, in_out),
            Form::Gcm12 | Form::ChaCha12 => {
                let len = u16::try_from(sealed.len()).map_err(|_| Error::Decrypt)?;
                let aad = Aad::from(self.key.aad12(outer, len));
                key.open_in_place_separate_tag(nonce, aad, tag, in_out)
            }
        };
        if opened.is_err() {
            plain.truncate(before);
            return Err(Error::Decrypt);
        }
        self.key.number = self.key.number.checked_add(1).ok_or(Error::KeysUsedUp)?;
        let content = match self.key.form {
            Form::Tls13 => unpad(plain, before)?,
            Form::Gcm12 | Form::ChaCha12 => outer,
        };
        let bytes = plain.len().saturating_sub(before);
        if bytes > MAX_RECORD_PLAIN {
            plain.truncate(before);
            let limit = MAX_RECORD_PLAIN;
            return Err(Error::RecordTooLong { bytes, limit });
        }
        Ok(content)
    }

    fn alert(&mut self, message: &[u8]) -> Result<(), Error> {
        let [_, description] = message else {
            return Err(Error::UnexpectedContent);
        };
        match *description {
            CLOSE_NOTIFY => self.closed = true,
            USER_CANCELED => {}
            description => return Err(Error::Alert(description)),
        }
        Ok(())
    }

    /// Messages after the handshake: new keys, and tickets, which are not used.
    fn message(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        if self.key.form != Form::Tls13 {
            return Err(Error::Renegotiation);
        }
        let of_pending = self.pending.min(bytes.len());
        self.pending = self.pending.saturating_sub(of_pending);
        bytes = bytes.get(of_pending..).unwrap_or_default();
        while let [kind, a, b, c, rest @ ..] = bytes {
            let len = u32::from_be_bytes([0, *a, *b, *c]);
            let len = usize::try_from(len).map_err(|_| Error::UnexpectedContent)?;
            match (*kind, rest) {
                // Keys change between two records, so it is the last message of its record.
                (KEY_UPDATE, [asks @ (0 | 1)]) if len == 1 => {
                    if *asks == 1 {
                        self.next.ask();
                    }
                    self.key = self.next.next_receiving()?;
                    return Ok(());
                }
                // This side begins no further connection with it.
                (NEW_SESSION_TICKET, _) if self.is_client && len <= MAX_RECORD_PLAIN => {
                    self.pending = len.saturating_sub(rest.len());
                    bytes = rest.get(len..).unwrap_or_default();
                }
                _ => return Err(Error::UnexpectedContent),
            }
        }
        match bytes {
            [] => Ok(()),
            _ => Err(Error::UnexpectedContent),
        }
    }
}

/// Removes padding and type from the end of a record of TLS 1.3. Returns the type.
fn unpad(plain: &mut BytesMut, before: usize) -> Result<u8, Error> {
    let record = plain.get(before..).unwrap_or_default();
    let end = record.iter().rposition(|&byte| byte != 0);
    let content = end.and_then(|end| record.get(end).copied());
    plain.truncate(before.saturating_add(end.unwrap_or(0)));
    content.ok_or(Error::UnexpectedContent)
}

#[cfg(test)]
impl Opener {
    /// As if this many records had been received.
    pub(crate) fn skip_to(&mut self, number: u64) {
        self.key.number = number;
    }
}

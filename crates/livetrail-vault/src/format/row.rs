//! A row: a header in clear and a sealed body. Rows follow each other in a rows file.
//!
//! ```text
//! file    "LTVROWS1" │ segment u64 │ zeros(12) │ crc32c u32                     32 bytes
//! header  magic u32 │ len u32 │ row u32 │ batch u32 │ crc32c u32 │ zeros(12)    32 bytes
//! body    session(16) │ sealed, together len bytes; then zeros up to a multiple of 32
//!
//! magic   "LTr1": a row. "LTr0": an erased one, its body is zeros.
//! row     the number of the row in the segment, and of its slot in the keys file.
//! batch   the first row of the batch that wrote this one. All rows before it were synced.
//!
//! sealed  version u8 = 1 │ time_ms u64 │ kind u8 │ app u8 len + bytes │ flags u8
//!         │ principal token(12)? │ user agent token(12)? │ peer(4 or 16)?
//!         │ stream token(12)? │ owner(16)? │ opening
//! ```
//!
//! Headers begin at multiples of 32, so each is within one sector, and replacing it is atomic.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{Read, count, narrow, wide};
use crate::{
    crypt::{self, TAG_BYTES},
    error::VaultError,
    key::{Keys, Kind, Token},
};

/// The size of a header and the alignment of rows, in bytes.
pub(crate) const ALIGN: u64 = 32;

const HEADER_BYTES: usize = 32;
const ROW: [u8; 4] = *b"LTr1";
const ERASED: [u8; 4] = *b"LTr0";
const FILE: [u8; 8] = *b"LTVROWS1";

/// The maximum size of an opening, in bytes.
pub const MAX_OPENING_BYTES: usize = 80 * 1024;

/// The maximum length of an application's name, in bytes.
pub const MAX_APP_BYTES: usize = 254;

/// The maximum size of a sealed body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = MAX_OPENING_BYTES + 512;

/// A session's identifier.
pub type SessionId = [u8; 16];

/// The origin of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowKind {
    /// A session that was admitted, or an act of an operator.
    Session,
    /// A refused attempt. Strangers can cause any number of them, so the vault keeps a bounded
    /// number.
    Refusal,
}

/// A decrypted row.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) session: SessionId,
    pub(crate) time_ms: u64,
    pub(crate) kind: RowKind,
    pub(crate) app: String,
    pub(crate) principal: Option<Token>,
    pub(crate) user_agent: Option<Token>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) stream: Option<Token>,
    pub(crate) owner: Option<SessionId>,
    pub(crate) opening: Zeroizing<Vec<u8>>,
}

/// The bits of `flags`.
mod flag {
    pub(super) const PRINCIPAL: u8 = 1;
    pub(super) const USER_AGENT: u8 = 2;
    pub(super) const V4: u8 = 4;
    pub(super) const V6: u8 = 8;
    pub(super) const STREAM: u8 = 16;
    pub(super) const OWNER: u8 = 32;
    pub(super) const ALL: u8 = 63;
}

impl Row {
    /// An empty row, for a session without a row. Its application and time are in no hold.
    pub(crate) fn nobody(session: SessionId) -> Self {
        Self {
            session,
            time_ms: u64::MAX,
            kind: RowKind::Session,
            app: "\0".to_owned(),
            principal: None,
            user_agent: None,
            peer: None,
            stream: None,
            owner: None,
            opening: Zeroizing::default(),
        }
    }

    /// The tokens under which the row is found.
    pub(crate) fn tokens(&self, keys: &Keys) -> Vec<(Kind, Token)> {
        let mut tokens = vec![(Kind::Session, keys.token(Kind::Session, &self.session))];
        tokens.extend(self.principal.map(|token| (Kind::Principal, token)));
        tokens.extend(self.user_agent.map(|token| (Kind::UserAgent, token)));
        if let Some(peer) = self.peer {
            tokens.push((Kind::Near, keys.network(Kind::Near, peer)));
            tokens.push((Kind::Wide, keys.network(Kind::Wide, peer)));
        }
        let owner = self.owner.as_ref();
        tokens.extend(owner.map(|owner| (Kind::Owner, keys.token(Kind::Owner, owner))));
        tokens.extend(self.stream.map(|token| (Kind::Stream, token)));
        tokens
    }

    fn plain(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(
            self.opening
                .len()
                .saturating_add(self.app.len())
                .saturating_add(96),
        ));
        plain.push(1);
        plain.extend_from_slice(&self.time_ms.to_be_bytes());
        plain.push(u8::from(self.kind == RowKind::Refusal));
        plain.push(u8::try_from(self.app.len()).unwrap_or(u8::MAX));
        plain.extend(self.app.bytes().take(MAX_APP_BYTES));
        let peer = match self.peer {
            None => 0,
            Some(IpAddr::V4(_)) => flag::V4,
            Some(IpAddr::V6(_)) => flag::V6,
        };
        let flags = [
            (self.principal.is_some(), flag::PRINCIPAL),
            (self.user_agent.is_some(), flag::USER_AGENT),
            (self.stream.is_some(), flag::STREAM),
            (self.owner.is_some(), flag::OWNER),
        ];
        let set = flags.iter().filter(|(is_set, _)| *is_set);
        plain.push(set.fold(peer, |flags, (_, flag)| flags | flag));
        plain.extend(self.principal.iter().flatten());
        plain.extend(self.user_agent.iter().flatten());
        match self.peer {
            None => {}
            Some(IpAddr::V4(address)) => plain.extend_from_slice(&address.octets()),
            Some(IpAddr::V6(address)) => plain.extend_from_slice(&address.octets()),
        }
        plain.extend(self.stream.iter().flatten());
        plain.extend(self.owner.iter().flatten());
        plain.extend_from_slice(&self.opening);
        plain
    }

    /// Parses the decrypted body.
    pub(crate) fn parse(session: SessionId, plain: &[u8]) -> Option<Self> {
        let mut read = Read(plain);
        if read.u8()? != 1 {
            return None;
        }
        let time_ms = read.u64()?;
        let kind = match read.u8()? {
            0 => RowKind::Session,
            1 => RowKind::Refusal,
            _ => return None,
        };
        let app_len = usize::from(read.u8()?);
        let app = str::from_utf8(read.take(app_len)?).ok()?.to_owned();
        let flags = read.u8()?;
        if flags & !flag::ALL != 0 {
            return None;
        }
        let has = |flag: u8| flags & flag != 0;
        let principal = if has(flag::PRINCIPAL) {
            Some(read.array()?)
        } else {
            None
        };
        let user_agent = if has(flag::USER_AGENT) {
            Some(read.array()?)
        } else {
            None
        };
        let peer = match (has(flag::V4), has(flag::V6)) {
            (false, false) => None,
            (true, false) => Some(IpAddr::from(read.array::<4>()?)),
            (false, true) => Some(IpAddr::from(read.array::<16>()?)),
            (true, true) => return None,
        };
        let stream = if has(flag::STREAM) {
            Some(read.array()?)
        } else {
            None
        };
        let owner = if has(flag::OWNER) {
            Some(read.array()?)
        } else {
            None
        };
        Some(Self {
            session,
            time_ms,
            kind,
            app,
            principal,
            user_agent,
            peer,
            stream,
            owner,
            opening: Zeroizing::new(read.0.to_vec()),
        })
    }
}

/// The place of a row: what its seal is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) segment: u64,
    pub(crate) row: u32,
}

impl At {
    fn about(self) -> [u8; 12] {
        let mut about = [0; 12];
        let (segment, row) = (self.segment.to_be_bytes(), self.row.to_be_bytes());
        for (to, from) in about.iter_mut().zip(segment.into_iter().chain(row)) {
            *to = from;
        }
        about
    }
}

/// Appends the frame of a row to `file`, whose length is a multiple of 32.
///
/// The body begins with the session in clear: the key is derived from it. A session's identifier is
/// random and in the log.
pub(crate) fn push_frame(
    file: &mut Vec<u8>,
    at: At,
    batch: u32,
    keys: &Keys,
    slot: &[u8; 32],
    row: &Row,
) -> Result<(), VaultError> {
    let mut body = std::mem::take(&mut *row.plain());
    crypt::seal_once(&keys.row(slot, &row.session), &at.about(), &mut body)?;
    let len = body.len().saturating_add(16);
    file.extend_from_slice(&header(ROW, count(len), at.row, batch));
    file.extend_from_slice(&row.session);
    file.extend_from_slice(&body);
    pad(file);
    Ok(())
}

/// The bytes that replace a frame of this length: an erased row.
pub(crate) fn erased_frame(frame_bytes: u64, row: u32, batch: u32) -> Vec<u8> {
    let body = frame_bytes.saturating_sub(ALIGN);
    let mut bytes = header(ERASED, count(narrow(body)), row, batch).to_vec();
    bytes.resize(narrow(frame_bytes), 0);
    bytes
}

fn header(magic: [u8; 4], len: u32, row: u32, batch: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&magic);
    for number in [len, row, batch] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes.try_into().unwrap_or([0; HEADER_BYTES])
}

fn pad(file: &mut Vec<u8>) {
    file.resize(file.len().next_multiple_of(narrow(ALIGN)), 0);
}

/// The header of a rows file.
pub(crate) fn file_header(segment: u64) -> Vec<u8> {
    let mut bytes = FILE.to_vec();
    bytes.extend_from_slice(&segment.to_be_bytes());
    bytes.resize(28, 0);
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) erased: bool,
    pub(crate) len: u32,
    pub(crate) row: u32,
    pub(crate) batch: u32,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.first_chunk::<HEADER_BYTES>()?;
        let mut read = Read(whole);
        let erased = match read.array()? {
            ROW => false,
            ERASED => true,
            _ => return None,
        };
        let (len, row, batch) = (read.u32()?, read.u32()?, read.u32()?);
        if read.u32()? != crc32c::crc32c(whole.get(..16)?) || read.0.iter().any(|byte| *byte != 0) {
            return None;
        }
        let fits = usize::try_from(len).is_ok_and(|len| len <= MAX_BODY_BYTES);
        (fits && batch <= row).then_some(Self {
            erased,
            len,
            row,
            batch,
        })
    }

    /// Bytes of the header and the padded body.
    pub(crate) fn frame_bytes(self) -> u64 {
        u64::from(self.len)
            .next_multiple_of(ALIGN)
            .saturating_add(ALIGN)
    }
}

/// Decrypts a frame's body.
pub(crate) fn open_frame(frame: &[u8], at: At, keys: &Keys, slot: &[u8; 32]) -> Option<Row> {
    let header = Header::parse(frame)?;
    if header.erased || header.row != at.row || *slot == [0; 32] {
        return None;
    }
    let (_, body) = frame.split_at_checked(HEADER_BYTES)?;
    let body = body.get(..usize::try_from(header.len).ok()?)?;
    let (session, sealed) = body.split_first_chunk::<16>()?;
    if sealed.len() < TAG_BYTES {
        return None;
    }
    let plain = crypt::open_once(&keys.row(slot, session), &at.about(), sealed).ok()?;
    Row::parse(*session, &plain)
}

/// A row that a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) frame_bytes: u64,
    /// `None`: rows are missing here, because the file is damaged.
    pub(crate) header: Option<Header>,
}

impl Found {
    pub(crate) fn is_erased(&self) -> bool {
        self.header.is_some_and(|header| header.erased)
    }
}

/// The frames of a rows file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// One for each row, in order.
    pub(crate) rows: Vec<Found>,
    /// Where the frames end. The bytes after that are zeros, or belong to a batch that was never
    /// synced.
    pub(crate) end: u64,
    /// The first row of the newest batch: all rows before were synced.
    pub(crate) batch: u32,
}

/// Finds the frames in a rows file of at most `most` rows. Returns `None` when its header is
/// invalid.
///
/// An invalid frame ends the scan if no later frame proves that its batch was synced. Otherwise the
/// file is damaged there: the rows of the gap have no header.
pub(crate) fn scan(file: &[u8], segment: u64, most: u32) -> Option<Scan> {
    let begin = file.get(..HEADER_BYTES)?;
    if begin != file_header(segment) {
        return None;
    }
    let mut scan = Scan {
        end: ALIGN,
        ..Scan::default()
    };
    let mut at = ALIGN;
    loop {
        let header = file.get(narrow(at)..).and_then(Header::parse);
        let next = |header: &Header| at.saturating_add(header.frame_bytes());
        let expected = count(scan.rows.len());
        let fits = |header: &Header| {
            header.row == expected && header.row < most && next(header) <= wide(file.len())
        };
        if let Some(header) = header.filter(fits) {
            scan.push(at, header);
            at = next(&header);
            continue;
        }
        match scan.skip_damage(file, at, most) {
            Some(after) => at = after,
            None => return Some(scan),
        }
    }
}

impl Scan {
    fn push(&mut self, offset: u64, header: Header) {
        let frame_bytes = header.frame_bytes();
        self.rows.push(Found {
            offset,
            frame_bytes,
            header: Some(header),
        });
        self.end = offset.saturating_add(frame_bytes);
        self.batch = header.batch;
    }

    /// Searches for a later frame of a later batch. The rows in the gap are damaged.
    fn skip_damage(&mut self, file: &[u8], from: u64, most: u32) -> Option<u64> {
        let first = count(self.rows.len());
        let mut at = from.saturating_add(ALIGN);
        while let Some(rest) = file
            .get(narrow(at)..)
            .filter(|rest| rest.len() >= HEADER_BYTES)
        {
            let header = Header::parse(rest);
            let proves = |header: &Header| header.batch > first && header.row < most;
            if let Some(header) = header.filter(proves) {
                let mut offset = from;
                for _ in first..header.row {
                    self.rows.push(Found {
                        offset,
                        frame_bytes: at.saturating_sub(offset),
                        header: None,
                    });
                    offset = at;
                }
                self.end = at;
                return Some(at);
            }
            at = at.saturating_add(ALIGN);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::MasterKey;

    fn keys() -> Keys {
        Keys::new(&MasterKey::new(Zeroizing::new([7; 32])))
    }

    fn row(byte: u8, opening_bytes: usize) -> Row {
        Row {
            session: [byte; 16],
            time_ms: 1_000,
            kind: RowKind::Session,
            app: "live".to_owned(),
            principal: Some([1; 12]),
            user_agent: None,
            peer: Some("2001:db8::1".parse().unwrap()),
            stream: None,
            owner: None,
            opening: Zeroizing::new(vec![b'x'; opening_bytes]),
        }
    }

    /// Rows of 0, 10, 20 … bytes, two per batch.
    fn file(rows: u8) -> Vec<u8> {
        let mut file = file_header(5);
        for byte in 0..rows {
            let at = At {
                segment: 5,
                row: u32::from(byte),
            };
            let row = row(byte, usize::from(byte) * 10);
            push_frame(&mut file, at, at.row & !1, &keys(), &[9; 32], &row).unwrap();
        }
        file
    }

    #[test]
    fn frames_are_found_and_open_in_their_place_only() {
        let file = file(5);
        let scan = scan(&file, 5, 100).unwrap();
        assert_eq!(
            (scan.rows.len(), scan.end, scan.batch),
            (5, wide(file.len()), 4)
        );
        for (number, found) in scan.rows.iter().enumerate() {
            let frame = &file[narrow(found.offset)..][..narrow(found.frame_bytes)];
            let at = At {
                segment: 5,
                row: count(number),
            };
            let read = open_frame(frame, at, &keys(), &[9; 32]).unwrap();
            assert!(read == row(u8::try_from(number).unwrap(), number * 10));
            assert!(open_frame(frame, At { segment: 6, ..at }, &keys(), &[9; 32]).is_none());
            assert!(open_frame(frame, at, &keys(), &[8; 32]).is_none());
            assert!(open_frame(frame, at, &keys(), &[0; 32]).is_none());
        }
        assert_eq!(super::scan(&file, 6, 100), None);
        assert_eq!(super::scan(&file, 5, 3).unwrap().rows.len(), 3);
    }

    #[test]
    fn an_unsynced_end_is_left_out_and_damage_before_a_later_batch_is_not() {
        let whole = file(5);
        let all = scan(&whole, 5, 100).unwrap();
        for (number, found) in all.rows.iter().enumerate() {
            let mut torn = whole.clone();
            torn[narrow(found.offset) + 5] ^= 1;
            let scan = scan(&torn, 5, 100).unwrap();
            if number < 4 {
                // Row 4 is of a later batch, so rows 0 to 3 were synced.
                assert_eq!(scan.rows.len(), 5, "{number}");
                assert_eq!(scan.rows[number].header, None);
                assert_eq!(scan.end, all.end);
            } else {
                assert_eq!(scan.rows.len(), number);
                assert_eq!(scan.end, found.offset);
            }
        }
    }

    #[test]
    fn an_erased_frame_has_the_same_length_and_nothing_in_it() {
        let mut file = file(3);
        let scan = scan(&file, 5, 100).unwrap();
        let Found {
            offset,
            frame_bytes,
            ..
        } = scan.rows[1];
        let erased = erased_frame(frame_bytes, 1, 0);
        assert_eq!(wide(erased.len()), frame_bytes);
        assert!(erased[32..].iter().all(|byte| *byte == 0));
        file[narrow(offset)..][..erased.len()].copy_from_slice(&erased);
        let again = super::scan(&file, 5, 100).unwrap();
        assert_eq!(again.rows.len(), 3);
        assert!(again.rows[1].header.unwrap().erased);
    }

    proptest::proptest! {
        #[test]
        fn any_row_reads_as_it_was_written(
            session in proptest::array::uniform16(0_u8..),
            time_ms in 0_u64..,
            refusal: bool,
            app in "[^\\x00]{0,60}",
            principal in proptest::option::of(proptest::array::uniform12(0_u8..)),
            user_agent in proptest::option::of(proptest::array::uniform12(0_u8..)),
            peer: Option<IpAddr>,
            stream in proptest::option::of(proptest::array::uniform12(0_u8..)),
            owner in proptest::option::of(proptest::array::uniform16(0_u8..)),
            opening in proptest::collection::vec(0_u8.., 0..300),
        ) {
            let kind = if refusal { RowKind::Refusal } else { RowKind::Session };
            let opening = Zeroizing::new(opening);
            let row = Row { session, time_ms, kind, app, principal, user_agent, peer, stream, owner, opening };
            let mut file = file_header(1);
            let at = At { segment: 1, row: 0 };
            push_frame(&mut file, at, 0, &keys(), &[3; 32], &row).unwrap();
            let found = scan(&file, 1, 1).unwrap().rows[0];
            proptest::prop_assert_eq!(found.offset + found.frame_bytes, wide(file.len()));
            let read = open_frame(&file[32..], at, &keys(), &[3; 32]);
            proptest::prop_assert!(read.is_some_and(|read| read == row));
        }
    }
}

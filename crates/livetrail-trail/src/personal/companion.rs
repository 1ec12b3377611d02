//! The companion of an entry: its opening on the way through the write-ahead log, sealed.
//!
//! ```text
//! companion  version u8 = 1 │ key u64 │ kind u8 │ row(16) │ sealed
//! sealed     row(16) │ owner(16) │ kind u8 │ time_ms u64 │ app: u8 length + bytes
//!            │ peer: u8 length (0, 4 or 16) + bytes │ principal: u16 length + bytes
//!            │ user agent: u16 length + bytes │ stream: u16 length + bytes │ opening, to the end
//! ```
//!
//! Numbers are big-endian. What is in clear is in the entry, too: the session, and whether it is a
//! refusal. It is repeated inside, so that nobody can exchange it.

use std::net::{IpAddr, SocketAddr};

use livetrail_audit::AuditRecord;
use livetrail_record::{Opening, Personal, SessionRole};
use livetrail_vault::{MAX_APP_BYTES, NewRow, RowKind, SessionId, VaultError, sealed::SegmentKey};

const VERSION: u8 = 1;

/// The longest principal and user agent by which a row can be found.
const MAX_LOOKUP_BYTES: usize = 1024;

/// The row of an opening.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The session, or what stands for it: [`livetrail_record::session_of`].
    pub(crate) id: SessionId,
    /// The session that this row is a part of; equal to `id` if it is not a part of another one.
    pub(crate) owner: SessionId,
    pub(crate) kind: RowKind,
    pub(crate) app: String,
    pub(crate) time_ms: u64,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) principal: String,
    pub(crate) user_agent: String,
    /// The stream's name, also if the entry has a token in its place. It is for holds.
    pub(crate) stream: String,
    pub(crate) opening: Vec<u8>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Row {
    /// The row of the opening that belongs to this record.
    pub(crate) fn new(record: &AuditRecord, opening: &Opening) -> Self {
        let id = opening.session();
        // A record of an operator may name a session, but it is about the operator.
        let is_part = record.action.role() != SessionRole::Apart;
        let owner = record.session.filter(|_| is_part).unwrap_or(id);
        let text = |field: &Option<Personal>| {
            let text = field.as_ref().map_or("", Personal::expose);
            let fits = text.len() <= MAX_LOOKUP_BYTES;
            if fits { text } else { "" }.to_owned()
        };
        let stream = record.stream.as_deref().unwrap_or_default();
        let app = record.app.as_str();
        let peer = record.peer.as_ref();
        Self {
            id: *id.as_bytes(),
            owner: *owner.as_bytes(),
            kind: if record.action.is_refusal() {
                RowKind::Refusal
            } else {
                RowKind::Session
            },
            app: app[..app.floor_char_boundary(MAX_APP_BYTES)].to_owned(),
            time_ms: record.ts_ms,
            peer: peer.and_then(|peer| address(peer.expose())),
            principal: text(&record.principal),
            user_agent: text(&record.user_agent),
            stream: stream[..stream.floor_char_boundary(MAX_LOOKUP_BYTES)].to_owned(),
            opening: opening.to_json(),
        }
    }

    /// The row for the vault.
    pub(crate) fn as_new(&self) -> NewRow<'_> {
        NewRow {
            session: self.id,
            kind: self.kind,
            app: &self.app,
            time_ms: self.time_ms,
            principal: Some(self.principal.as_str()).filter(|name| !name.is_empty()),
            peer: self.peer,
            user_agent: Some(self.user_agent.as_str()).filter(|name| !name.is_empty()),
            stream: Some(self.stream.as_str()).filter(|name| !name.is_empty()),
            owner: Some(self.owner).filter(|owner| *owner != self.id),
            opening: &self.opening,
        }
    }

    fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.opening.len().saturating_add(256));
        plain.extend_from_slice(&self.id);
        plain.extend_from_slice(&self.owner);
        plain.push(kind_byte(self.kind));
        plain.extend_from_slice(&self.time_ms.to_be_bytes());
        plain.push(u8::try_from(self.app.len()).unwrap_or(u8::MAX));
        plain.extend_from_slice(self.app.as_bytes());
        match self.peer {
            None => plain.push(0),
            Some(IpAddr::V4(peer)) => {
                plain.push(4);
                plain.extend_from_slice(&peer.octets());
            }
            Some(IpAddr::V6(peer)) => {
                plain.push(16);
                plain.extend_from_slice(&peer.octets());
            }
        }
        for text in [&self.principal, &self.user_agent, &self.stream] {
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(text.as_bytes());
        }
        plain.extend_from_slice(&self.opening);
        plain
    }

    fn parse(plain: &[u8]) -> Option<Self> {
        let mut read = Read(plain);
        let (id, owner) = (read.array()?, read.array()?);
        let kind = kind_of(read.byte()?)?;
        let time_ms = u64::from_be_bytes(read.array()?);
        let app_bytes = read.byte()?;
        let app = read.text(app_bytes.into())?;
        let peer = match read.byte()? {
            0 => None,
            4 => Some(IpAddr::from(read.array::<4>()?)),
            16 => Some(IpAddr::from(read.array::<16>()?)),
            _ => return None,
        };
        let mut text = || {
            let length = u16::from_be_bytes(read.array()?);
            read.text(length.into())
        };
        let (principal, user_agent, stream) = (text()?, text()?, text()?);
        Some(Self {
            id,
            owner,
            kind,
            app,
            time_ms,
            peer,
            principal,
            user_agent,
            stream,
            opening: read.0.to_vec(),
        })
    }

    /// Seals the row with a key of the write-ahead log, and appends the companion to `into`.
    pub(crate) fn seal(&self, key: &SegmentKey, into: &mut Vec<u8>) -> Result<(), VaultError> {
        let plain = zeroize::Zeroizing::new(self.plain());
        let sealed = key.seal(place(&self.id), &plain)?;
        into.push(VERSION);
        into.extend_from_slice(&key.segment().to_be_bytes());
        into.push(kind_byte(self.kind));
        into.extend_from_slice(&self.id);
        into.extend_from_slice(&sealed);
        Ok(())
    }
}

/// A companion whose opening is still sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed<'a> {
    /// The number of the key.
    pub(crate) key: u64,
    pub(crate) kind: RowKind,
    pub(crate) id: SessionId,
    bytes: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Splits a companion. `None` if it is not a companion.
    pub(crate) fn parse(companion: &'a [u8]) -> Option<Self> {
        let mut read = Read(companion);
        (read.byte()? == VERSION).then_some(())?;
        Some(Self {
            key: u64::from_be_bytes(read.array()?),
            kind: kind_of(read.byte()?)?,
            id: read.array()?,
            bytes: read.0,
        })
    }

    /// Opens it. `None` if the key or the bytes are not the ones that were sealed.
    pub(crate) fn open(&self, key: &SegmentKey) -> Option<Row> {
        let plain = key.open(place(&self.id), self.bytes).ok()?;
        Row::parse(&plain).filter(|row| row.id == self.id && row.kind == self.kind)
    }
}

/// Binds what is sealed to its row.
fn place(id: &SessionId) -> u64 {
    let (words, _) = id.as_chunks::<8>();
    words
        .iter()
        .fold(0, |sum, word| sum ^ u64::from_be_bytes(*word))
}

const fn kind_byte(kind: RowKind) -> u8 {
    matches!(kind, RowKind::Refusal) as u8
}

const fn kind_of(byte: u8) -> Option<RowKind> {
    match byte {
        0 => Some(RowKind::Session),
        1 => Some(RowKind::Refusal),
        _ => None,
    }
}

/// The address of a peer: with or without a port, or that of a network.
fn address(peer: &str) -> Option<IpAddr> {
    if let Ok(socket) = peer.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    let address = peer.split_once('/').map_or(peer, |(address, _)| address);
    address.parse().ok()
}

/// Reads from the front of bytes.
struct Read<'a>(&'a [u8]);

impl<'a> Read<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn text(&mut self, bytes: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use livetrail_audit::AuditAction;
    use livetrail_ledger::MemStore;
    use livetrail_record::{EntryContext, Uuid, encode_entry};
    use livetrail_vault::sealed::SegmentKeys;

    use super::*;

    fn key(number: u64) -> SegmentKey {
        let store = Arc::new(MemStore::new());
        SegmentKeys::open(store, 4).unwrap().create(number).unwrap()
    }

    fn record(action: AuditAction) -> AuditRecord {
        AuditRecord::new(action, "live")
            .with_boot(Uuid::from_u128(1))
            .with_seq(9)
            .with_ts_ms(1_700_000_000_123)
            .with_session(Uuid::from_u128(7))
            .with_stream("cam")
            .with_principal("alice")
            .with_peer("[2001:db8::7]:50312")
            .with_user_agent("VLC/3")
            .with_detail("free text")
    }

    fn row(record: &AuditRecord) -> Row {
        let entry = encode_entry(record, &EntryContext::new([9; 16])).unwrap();
        Row::new(record, &entry.opening.unwrap())
    }

    #[test]
    fn a_row_comes_back_from_its_companion_and_no_changed_byte_passes() {
        let row = row(&record(AuditAction::PlayStarted));
        assert_eq!(
            (row.id, row.owner),
            (row.owner, *Uuid::from_u128(7).as_bytes())
        );
        assert_eq!(row.peer, Some("2001:db8::7".parse().unwrap()));
        let key = key(3);
        let mut companion = Vec::new();
        row.seal(&key, &mut companion).unwrap();
        let clear = String::from_utf8_lossy(&companion);
        assert!(!clear.contains("alice") && !clear.contains("VLC"));
        let sealed = Sealed::parse(&companion).unwrap();
        assert_eq!((sealed.key, sealed.kind, sealed.id), (3, row.kind, row.id));
        assert_eq!(sealed.open(&key), Some(row));
        for at in 0..companion.len() {
            let mut changed = companion.clone();
            changed[at] ^= 1;
            let opened = Sealed::parse(&changed);
            let opened = opened.filter(|sealed| sealed.key == 3);
            assert_eq!(
                opened.and_then(|sealed| sealed.open(&key)),
                None,
                "byte {at}"
            );
        }
        for end in 0..companion.len() {
            let short = Sealed::parse(&companion[..end]);
            assert_eq!(short.and_then(|sealed| sealed.open(&key)), None);
        }
    }

    #[test]
    fn plain_bytes_of_any_kind_are_a_row_or_none() {
        let row = row(&record(AuditAction::PlayDenied));
        assert_eq!(row.kind, RowKind::Refusal);
        let plain = row.plain();
        assert_eq!(Row::parse(&plain), Some(row));
        for at in 0..plain.len() {
            let _ = Row::parse(&plain[..at]);
            let mut changed = plain.clone();
            changed[at] ^= 0xff;
            let _ = Row::parse(&changed);
        }
    }

    #[test]
    fn a_later_text_of_a_session_is_a_part_of_it_and_an_operators_is_not() {
        let session = *Uuid::from_u128(7).as_bytes();
        let later = row(&record(AuditAction::PlayEnded));
        assert_ne!(later.id, session);
        assert_eq!(later.as_new().owner, Some(session));
        let kicked = row(&record(AuditAction::AdminSessionKicked));
        assert_eq!(kicked.as_new().owner, None);
        let first = row(&record(AuditAction::PublishStarted));
        assert_eq!((first.id, first.as_new().owner), (session, None));
    }

    #[test]
    fn the_address_of_any_form_of_a_peer_is_found() {
        for (peer, found) in [
            ("192.0.2.7:50312", Some("192.0.2.7")),
            ("192.0.2.0/24", Some("192.0.2.0")),
            ("2001:db8::/64", Some("2001:db8::")),
            ("[2001:db8::1]:1", Some("2001:db8::1")),
            ("192.0.2.7", Some("192.0.2.7")),
            ("a door", None),
            ("", None),
        ] {
            let found = found.map(|found| found.parse().unwrap());
            assert_eq!(address(peer), found, "{peer}");
        }
    }

    #[test]
    fn the_largest_opening_of_any_record_fits() {
        for text in ["x", "\u{1}", "é"] {
            let long = text.repeat(100_000);
            let shorter = text.repeat(MAX_LOOKUP_BYTES / text.len());
            let record = record(AuditAction::PlayDenied)
                .with_principal(shorter.as_str())
                .with_user_agent(shorter.as_str())
                .with_peer(long.as_str())
                .with_detail(long.as_str());
            let row = row(&record);
            row.seal(&key(1), &mut Vec::new()).unwrap();
        }
    }
}

//! The vault's own key, and the keys that are derived from it.
//!
//! ```text
//! key of a purpose   HMAC-SHA-256(master, "livetrail vault 1\0" │ purpose)
//! token              HMAC-SHA-256(key of its kind, value)[0..12]
//! key of a row       HMAC-SHA-256(key of "row", key slot │ session)
//! key of the state   HMAC-SHA-256(key of "state", vault id)
//! secret of a host   HMAC-SHA-256(key of "secret", the host's purpose)
//! ```

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use livetrail_ledger::{LedgerError, Seed, generate_seed, read_seed, write_seed};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::VaultError;

type HmacSha256 = Hmac<Sha256>;

/// 96 bits of a keyed hash. It cannot be guessed without the vault's key.
pub(crate) type Token = [u8; 12];

/// The number of kinds of tokens.
pub(crate) const KINDS: usize = 7;

/// What a token is made of. The order is that of the sections of an index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Session,
    Principal,
    UserAgent,
    /// IPv4 /24, IPv6 /64.
    Near,
    /// IPv4 /16, IPv6 /48.
    Wide,
    /// The session whose record the row belongs to.
    Owner,
    /// An application and a stream in it.
    Stream,
}

impl Kind {
    pub(crate) const ALL: [Self; KINDS] = [
        Self::Session,
        Self::Principal,
        Self::UserAgent,
        Self::Near,
        Self::Wide,
        Self::Owner,
        Self::Stream,
    ];

    const fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::Principal => b"principal",
            Self::UserAgent => b"user agent",
            Self::Near => b"near network",
            Self::Wide => b"wide network",
            Self::Owner => b"owner",
            Self::Stream => b"stream",
        }
    }
}

/// The vault's key: 32 secret bytes, in a file of their own.
#[derive(Clone)]
pub struct MasterKey(Seed);

impl MasterKey {
    /// A key from its bytes.
    #[must_use]
    pub const fn new(bytes: Seed) -> Self {
        Self(bytes)
    }

    /// Reads the key file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, VaultError> {
        match read_seed(path) {
            Ok(seed) => Ok(Some(Self(seed))),
            Err(LedgerError::KeyMissing { .. }) => Ok(None),
            Err(error) => Err(VaultError::Key(error)),
        }
    }

    /// Creates the key file, which must not exist, with mode 0600.
    pub(crate) fn create(path: &Path) -> Result<Self, VaultError> {
        let seed = generate_seed().map_err(VaultError::Key)?;
        write_seed(path, &seed).map_err(VaultError::Key)?;
        Ok(Self(seed))
    }

    fn derive(&self, purpose: &[u8]) -> HmacSha256 {
        let mut mac = keyed(&self.0);
        mac.update(b"livetrail vault 1\0");
        mac.update(purpose);
        keyed(&finish(mac))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

fn keyed(key: &[u8; 32]) -> HmacSha256 {
    // HMAC pads a key that is shorter than a block with zeros.
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    HmacSha256::new(&(*block).into())
}

fn finish(mac: HmacSha256) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Everything derived from the key.
#[derive(Clone)]
pub(crate) struct Keys {
    tokens: [HmacSha256; KINDS],
    row: HmacSha256,
    state: HmacSha256,
    check: HmacSha256,
    secret: HmacSha256,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self {
            tokens: Kind::ALL.map(|kind| master.derive(kind.label())),
            row: master.derive(b"row"),
            state: master.derive(b"state"),
            check: master.derive(b"check"),
            secret: master.derive(b"secret"),
        }
    }

    /// A value that only this key gives for this vault.
    pub(crate) fn check(&self, vault: &[u8; 16]) -> [u8; 16] {
        let mut mac = self.check.clone();
        mac.update(vault);
        let sum = finish(mac);
        let [head, _] = halves(&sum);
        head
    }

    /// The key that seals a row.
    pub(crate) fn row(&self, slot: &[u8; 32], session: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let mut mac = self.row.clone();
        mac.update(slot);
        mac.update(session);
        finish(mac)
    }

    /// The key that seals holds and waiting requests.
    pub(crate) fn state(&self, vault: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let mut mac = self.state.clone();
        mac.update(vault);
        finish(mac)
    }

    pub(crate) fn token(&self, kind: Kind, value: &[u8]) -> Token {
        let [session, principal, user_agent, near, wide, owner, stream] = &self.tokens;
        let mut mac = match kind {
            Kind::Session => session,
            Kind::Principal => principal,
            Kind::UserAgent => user_agent,
            Kind::Near => near,
            Kind::Wide => wide,
            Kind::Owner => owner,
            Kind::Stream => stream,
        }
        .clone();
        mac.update(value);
        let sum = finish(mac);
        let mut token = [0; 12];
        for (to, from) in token.iter_mut().zip(sum.iter()) {
            *to = *from;
        }
        token
    }

    pub(crate) fn principal(&self, name: &str) -> Token {
        self.token(Kind::Principal, name.as_bytes())
    }

    /// A secret of the host.
    pub(crate) fn secret(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut mac = self.secret.clone();
        mac.update(purpose);
        finish(mac)
    }

    /// An application's name has no zero byte.
    pub(crate) fn stream(&self, app: &str, name: &str) -> Token {
        let value = [app.as_bytes(), b"\0", name.as_bytes()].concat();
        self.token(Kind::Stream, &value)
    }

    /// White space around a user agent is not part of it.
    pub(crate) fn user_agent(&self, name: &str) -> Token {
        self.token(Kind::UserAgent, name.trim().as_bytes())
    }

    pub(crate) fn network(&self, kind: Kind, peer: IpAddr) -> Token {
        let (v4, v6) = if kind == Kind::Near {
            (24, 64)
        } else {
            (16, 48)
        };
        match network(peer, if peer.is_ipv4() { v4 } else { v6 }) {
            IpAddr::V4(address) => self.token(kind, &address.octets()),
            IpAddr::V6(address) => self.token(kind, &address.octets()),
        }
    }
}

fn halves(sum: &[u8; 32]) -> [[u8; 16]; 2] {
    let (chunks, _) = sum.as_chunks::<16>();
    let mut halves = [[0; 16]; 2];
    for (to, from) in halves.iter_mut().zip(chunks) {
        *to = *from;
    }
    halves
}

/// The address with all bits after the prefix cleared.
pub(crate) fn network(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(u32::from(bits)))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(u32::from(bits)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(byte: u8) -> Keys {
        Keys::new(&MasterKey::new(Zeroizing::new([byte; 32])))
    }

    #[test]
    fn tokens_differ_by_key_kind_and_value() {
        let one = keys(1);
        let all = [
            one.token(Kind::Session, b"a"),
            one.token(Kind::Principal, b"a"),
            one.token(Kind::UserAgent, b"a"),
            one.token(Kind::Principal, b"b"),
            keys(2).token(Kind::Principal, b"a"),
        ];
        for (at, token) in all.iter().enumerate() {
            assert!(!all[..at].contains(token));
        }
        assert_eq!(one.user_agent(" VLC/3 "), one.user_agent("VLC/3"));
    }

    #[test]
    fn a_network_has_no_bits_after_its_prefix() {
        let v4: IpAddr = "192.0.2.77".parse().unwrap();
        assert_eq!(network(v4, 24).to_string(), "192.0.2.0");
        assert_eq!(network(v4, 0).to_string(), "0.0.0.0");
        assert_eq!(network(v4, 32), v4);
        let v6: IpAddr = "2001:db8:1:2:3::4".parse().unwrap();
        assert_eq!(network(v6, 48).to_string(), "2001:db8:1::");
        assert_eq!(network(v6, 0).to_string(), "::");
        assert_eq!(network(v6, 128), v6);
    }

    #[test]
    fn the_key_of_a_row_is_that_of_hmac() {
        // HMAC-SHA-256 of RFC 4231, case 2, has a key of 4 bytes: padded with zeros it is the same.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mut mac = keyed(&key);
        mac.update(b"what do ya want for nothing?");
        assert_eq!(finish(mac)[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}

//! The handshake, both sides, and the digest scheme that some clients require.
//!
//! ```text
//! C0 S0   version, 3
//! C1 S1   time 32 | version 32, 0 for the simple scheme | random 1528
//! C2 S2   simple: the other side's C1 or S1 again; digest: random 1504, HMAC 32
//! ```
//!
//! The simple scheme is RTMP 1.0 section 5.2. The digest scheme hides a keyed digest in C1; a
//! client that sends one may disconnect if the server does not answer with the same scheme. The
//! keys are public: nothing here provides security.

use bytes::{Buf, BytesMut};

use super::digest::{self, PACKET_BYTES, Packet};
use crate::error::{Error, Result};

const VERSION: u8 = 3;
/// The position of the sender's version in C1 and S1; all zero means the simple scheme.
const VERSION_AT: std::ops::Range<usize> = 4..8;
/// The version of our server in the digest scheme. Clients read the first number, which must be 3
/// or more.
const SERVER_VERSION: [u8; 4] = [5, 0, 0, 1];

/// The server's side. Call [`handle_input`](Self::handle_input) until it returns that the handshake
/// is done.
///
/// It needs exactly 3,073 bytes and holds none of them: incomplete packets stay in the input.
#[derive(Debug)]
pub struct ServerHandshake {
    state: ServerState,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerState {
    /// C0 and C1 are next.
    Hello,
    /// C2 is next.
    Echo,
    Done,
}

impl ServerHandshake {
    /// `seed` fills S1, which need not be secret. Two connections should have different seeds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: ServerState::Hello,
            seed,
        }
    }

    /// Reads complete packets from `input` and appends answers to `output`. Returns true once the
    /// handshake is done; the rest of the input then belongs to the chunk stream.
    ///
    /// # Errors
    /// A version other than 3: the client speaks another protocol. The content of C2 is not
    /// checked, because too many clients send a wrong one.
    pub fn handle_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<bool> {
        if self.state == ServerState::Hello {
            check_version(input)?;
            let Some(c1) = take_packet(input, 1) else {
                return Ok(false);
            };
            output.extend_from_slice(&[VERSION]);
            self.answer(&c1, output);
            self.state = ServerState::Echo;
        }
        if self.state == ServerState::Echo {
            if take_packet(input, 0).is_none() {
                return Ok(false);
            }
            self.state = ServerState::Done;
        }
        Ok(true)
    }

    fn answer(&self, c1: &Packet, output: &mut BytesMut) {
        let mut s1 = random_packet(self.seed);
        if let Some((digest, scheme)) = digest::find(c1, digest::CLIENT_KEY) {
            set_version(&mut s1, SERVER_VERSION);
            digest::place(&mut s1, scheme, digest::SERVER_KEY);
            let mut s2 = random_packet(self.seed.rotate_left(32));
            digest::sign(&mut s2, &digest, digest::SERVER_KEY_FULL);
            output.extend_from_slice(&s1);
            output.extend_from_slice(&s2);
        } else {
            set_version(&mut s1, [0; 4]);
            output.extend_from_slice(&s1);
            output.extend_from_slice(c1);
        }
    }
}

/// The client's side, of the simple scheme. Send [`hello`](Self::hello) first.
#[derive(Debug)]
pub struct ClientHandshake {
    seed: u64,
    state: ClientState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    /// S0 and S1 are next.
    Hello,
    /// S2 is next.
    Echo,
    Done,
}

impl ClientHandshake {
    /// `seed` fills C1, which need not be secret.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            state: ClientState::Hello,
        }
    }

    /// Appends C0 and C1.
    pub fn hello(&self, output: &mut BytesMut) {
        let mut c1 = random_packet(self.seed);
        set_version(&mut c1, [0; 4]);
        output.extend_from_slice(&[VERSION]);
        output.extend_from_slice(&c1);
    }

    /// Reads complete packets from `input` and appends C2 to `output`. Returns true once the
    /// handshake is done.
    ///
    /// # Errors
    /// A version other than 3.
    pub fn handle_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<bool> {
        if self.state == ClientState::Hello {
            check_version(input)?;
            let Some(s1) = take_packet(input, 1) else {
                return Ok(false);
            };
            output.extend_from_slice(&s1);
            self.state = ClientState::Echo;
        }
        if self.state == ClientState::Echo {
            if take_packet(input, 0).is_none() {
                return Ok(false);
            }
            self.state = ClientState::Done;
        }
        Ok(true)
    }
}

fn check_version(input: &BytesMut) -> Result<()> {
    match input.first() {
        Some(&VERSION) | None => Ok(()),
        Some(&version) => Err(Error::HandshakeVersion { version }),
    }
}

/// The packet after `skip` bytes, once all of it is there.
fn take_packet(input: &mut BytesMut, skip: usize) -> Option<Packet> {
    let packet = *input.get(skip..)?.first_chunk::<PACKET_BYTES>()?;
    input.advance(skip.saturating_add(PACKET_BYTES));
    Some(packet)
}

fn set_version(packet: &mut Packet, version: [u8; 4]) {
    if let Some(place) = packet.get_mut(VERSION_AT) {
        place.copy_from_slice(&version);
    }
}

/// A time of 0, then xorshift64* output from the seed: filler, not secrets.
fn random_packet(seed: u64) -> Packet {
    let mut packet = [0; PACKET_BYTES];
    let mut state = seed | 1;
    for eight in packet.chunks_exact_mut(8).skip(1) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        eight.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    packet
}

#[cfg(test)]
mod tests;

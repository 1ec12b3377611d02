//! The keys of one direction of a connection, and where the next ones come from.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce,
    UnboundKey,
};
use rustls::{
    ConnectionTrafficSecrets, ProtocolVersion, client::ClientConnectionData,
    kernel::KernelConnection, server::ServerConnectionData,
};

use crate::Error;

/// Records that one key of AES-GCM may encrypt: less than 2^24.5 (RFC 8446 section 5.5).
const AES_GCM_RECORDS: u64 = 1 << 23;

/// The version of a connection, and so the form of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// TLS 1.2 with AES-GCM: each record has eight bytes of its nonce.
    Gcm12,
    /// TLS 1.2 with ChaCha20-Poly1305.
    ChaCha12,
    /// TLS 1.3.
    Tls13,
}

/// The key of one direction, and the number of the next record.
pub(crate) struct Key {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    pub(crate) form: Form,
    /// Each record has its number; none is used twice.
    pub(crate) number: u64,
    /// How many records the key may encrypt.
    pub(crate) limit: u64,
}

impl Key {
    pub(crate) fn new(
        version: ProtocolVersion,
        (number, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, Error> {
        let (algorithm, key, iv, limit): (&'static Algorithm, _, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&AES_128_GCM, key, iv, AES_GCM_RECORDS)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&AES_256_GCM, key, iv, AES_GCM_RECORDS)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, u64::MAX)
            }
            _ => return Err(Error::Keys),
        };
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            ProtocolVersion::TLSv1_2 if limit == u64::MAX => Form::ChaCha12,
            ProtocolVersion::TLSv1_2 => Form::Gcm12,
            _ => return Err(Error::Keys),
        };
        let unbound = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::Keys)?;
        Ok(Self {
            key: LessSafeKey::new(unbound),
            iv: iv.as_ref().try_into().map_err(|_| Error::Keys)?,
            form,
            number,
            limit,
        })
    }

    pub(crate) fn key(&self) -> &LessSafeKey {
        &self.key
    }

    /// The nonce of the present record: the initial value, combined with the number.
    pub(crate) fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let number = self.number.to_be_bytes();
        for (byte, of_number) in nonce.iter_mut().skip(4).zip(number) {
            *byte ^= of_number;
        }
        nonce
    }

    /// The nonce of a record of TLS 1.2 that has this part of it.
    pub(crate) fn nonce_with(&self, explicit: [u8; 8]) -> Nonce {
        let mut nonce = self.iv;
        for (byte, of_record) in nonce.iter_mut().skip(4).zip(explicit) {
            *byte = of_record;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// What a record of TLS 1.2 authenticates next to its content.
    pub(crate) fn aad12(&self, content_type: u8, len: u16) -> [u8; 13] {
        let [a, b, c, d, e, f, g, h] = self.number.to_be_bytes();
        let [high, low] = len.to_be_bytes();
        [a, b, c, d, e, f, g, h, content_type, 3, 3, high, low]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("form", &self.form)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// What derives the next keys of a connection.
pub(crate) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What the two directions of a connection share. A lock is taken only for new keys.
pub(crate) struct NextKeys {
    kernel: Mutex<Kernel>,
    version: ProtocolVersion,
    /// The other side has asked for new keys of what is sent to it.
    asked: AtomicBool,
}

impl NextKeys {
    pub(crate) fn new(kernel: Kernel) -> Self {
        let version = match &kernel {
            Kernel::Server(kernel) => kernel.protocol_version(),
            Kernel::Client(kernel) => kernel.protocol_version(),
        };
        Self {
            kernel: Mutex::new(kernel),
            version,
            asked: AtomicBool::new(false),
        }
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Notes that the other side asks for new keys.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Relaxed);
    }

    /// Whether the other side has asked since the last call. It costs a load if it has not.
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.load(Relaxed) && self.asked.swap(false, Relaxed)
    }

    /// The next key for sending.
    pub(crate) fn next_sending(&self) -> Result<Key, Error> {
        let secrets = match &mut *self.kernel() {
            Kernel::Server(kernel) => kernel.update_tx_secret(),
            Kernel::Client(kernel) => kernel.update_tx_secret(),
        };
        Key::new(self.version, secrets.map_err(|_| Error::Keys)?)
    }

    /// The next key for receiving.
    pub(crate) fn next_receiving(&self) -> Result<Key, Error> {
        let secrets = match &mut *self.kernel() {
            Kernel::Server(kernel) => kernel.update_rx_secret(),
            Kernel::Client(kernel) => kernel.update_rx_secret(),
        };
        Key::new(self.version, secrets.map_err(|_| Error::Keys)?)
    }

    fn kernel(&self) -> std::sync::MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for NextKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextKeys")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

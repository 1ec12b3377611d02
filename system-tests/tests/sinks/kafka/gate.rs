//! A login in front of a broker without users: Kafka's SASL exchange (KIP-43, KIP-152) with PLAIN
//! (RFC 4616) and SCRAM-SHA-512 (RFC 5802, RFC 7677). Afterwards the client talks to the broker.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha512};
use tokio::io::{self, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

const HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const AUTHENTICATE: i16 = 36;

const UNSUPPORTED_MECHANISM: i16 = 33;
const AUTHENTICATION_FAILED: i16 = 58;

const ITERATIONS: u32 = 4_096;

const MAX_REQUEST_BYTES: usize = 1 << 16;

/// A running gate. Dropping it ends it, and the connections through it.
pub(crate) struct Gate {
    address: SocketAddr,
    door: Arc<Door>,
    task: AbortHandle,
}

#[derive(Default)]
struct Door {
    /// User and password.
    known: Mutex<(String, String)>,
    connections: Mutex<JoinSet<()>>,
}

impl Gate {
    /// In front of this broker, for one user.
    pub(crate) async fn start(broker: SocketAddr, user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Arc::new(Door::default());
        *lock(&door.known) = (user.to_owned(), password.to_owned());
        let opening = Arc::clone(&door);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let door = Arc::clone(&opening);
                lock(&opening.connections).spawn(async move {
                    // A client that hangs up in between is ignored.
                    let _ = door.pass(client, broker).await;
                });
            }
        });
        Self {
            address,
            door,
            task: task.abort_handle(),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the password. Clients that are logged in must show it again.
    pub(crate) fn set_password(&self, password: &str) {
        password.clone_into(&mut lock(&self.door.known).1);
        lock(&self.door.connections).abort_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
        lock(&self.door.connections).abort_all();
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Door {
    async fn pass(&self, mut client: TcpStream, broker: SocketAddr) -> io::Result<()> {
        let mut broker = TcpStream::connect(broker).await?;
        for stream in [&client, &broker] {
            stream.set_nodelay(true)?;
        }
        let mut login = None;
        loop {
            let request = read(&mut client).await?;
            let (api, correlation, body) = header(&request).ok_or(io::ErrorKind::InvalidData)?;
            let mut answer = correlation.to_vec();
            match api {
                API_VERSIONS => {
                    write(&mut broker, &request).await?;
                    answer = read(&mut broker).await?;
                }
                HANDSHAKE => {
                    let mechanism = std::str::from_utf8(body.get(2..).unwrap_or_default());
                    login = mechanism.ok().and_then(Login::of);
                    let code = login.as_ref().map_or(UNSUPPORTED_MECHANISM, |_| 0);
                    answer.extend(code.to_be_bytes());
                    answer.extend(0_i32.to_be_bytes());
                }
                AUTHENTICATE => {
                    let message = body.get(4..).unwrap_or_default();
                    let known = lock(&self.known).clone();
                    let step = login.as_mut().and_then(|login| login.step(message, &known));
                    answer.extend(
                        step.as_ref()
                            .map_or(AUTHENTICATION_FAILED, |_| 0)
                            .to_be_bytes(),
                    );
                    let said = step.as_ref().map_or("wrong user or password", |_| "");
                    answer.extend(u16::try_from(said.len()).unwrap().to_be_bytes());
                    answer.extend(said.as_bytes());
                    let bytes = step.as_ref().map_or(&[] as &[_], |step| &step.answer);
                    answer.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                    answer.extend(bytes);
                    // The session's lifetime, of version 1: for ever.
                    if request.get(3) == Some(&1) {
                        answer.extend(0_i64.to_be_bytes());
                    }
                    write(&mut client, &answer).await?;
                    match step {
                        None => return Ok(()),
                        Some(Step { done: false, .. }) => continue,
                        Some(Step { done: true, .. }) => break,
                    }
                }
                _ => return Ok(()),
            }
            write(&mut client, &answer).await?;
        }
        io::copy_bidirectional(&mut client, &mut broker).await?;
        Ok(())
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_REQUEST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).unwrap();
    stream
        .write_all(&[&length.to_be_bytes(), bytes].concat())
        .await
}

/// The kind of request, its correlation id, and the bytes after the client's name.
fn header(request: &[u8]) -> Option<(i16, &[u8], &[u8])> {
    let api = i16::from_be_bytes(*request.first_chunk()?);
    let named = request.get(8..)?;
    let name = usize::from(u16::from_be_bytes(*named.first_chunk()?));
    Some((api, request.get(4..8)?, named.get(2 + name..)?))
}

struct Step {
    answer: Vec<u8>,
    done: bool,
}

/// The state of an exchange.
enum Login {
    Plain,
    Scram,
    /// The contents of the first two messages.
    ScramFinal {
        bare: String,
        challenge: String,
    },
}

impl Login {
    fn of(mechanism: &str) -> Option<Self> {
        match mechanism {
            "PLAIN" => Some(Self::Plain),
            "SCRAM-SHA-512" => Some(Self::Scram),
            _ => None,
        }
    }

    /// The answer to a message, or `None` when nobody is admitted for it.
    fn step(&mut self, message: &[u8], (user, password): &(String, String)) -> Option<Step> {
        let message = std::str::from_utf8(message).ok()?;
        match self {
            Self::Plain => (message == format!("\0{user}\0{password}")).then(|| Step {
                answer: Vec::new(),
                done: true,
            }),
            Self::Scram => {
                let bare = message.strip_prefix("n,,")?.to_owned();
                let (name, nonce) = bare.strip_prefix("n=")?.split_once(",r=")?;
                if name != user {
                    return None;
                }
                let challenge = format!("r={nonce}gate,s={},i={ITERATIONS}", BASE64.encode("salt"));
                let answer = challenge.clone().into_bytes();
                *self = Self::ScramFinal { bare, challenge };
                Some(Step {
                    answer,
                    done: false,
                })
            }
            Self::ScramFinal { bare, challenge } => {
                let (unproven, proof) = message.rsplit_once(",p=")?;
                let said = format!("{bare},{challenge},{unproven}");
                let salted = salted(password);
                let stored = Sha512::digest(hmac(&salted, b"Client Key"));
                let signature = hmac(&stored, said.as_bytes());
                let proof = BASE64.decode(proof).ok()?;
                let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
                if Sha512::digest(&key) != stored {
                    return None;
                }
                let server = hmac(&hmac(&salted, b"Server Key"), said.as_bytes());
                Some(Step {
                    answer: format!("v={}", BASE64.encode(server)).into_bytes(),
                    done: true,
                })
            }
        }
    }
}

/// `Hi` of RFC 5802, section 2.2.
fn salted(password: &str) -> [u8; 64] {
    let mut last = hmac(password.as_bytes(), b"salt\0\0\0\x01");
    let mut all = last;
    for _ in 1..ITERATIONS {
        last = hmac(password.as_bytes(), &last);
        all.iter_mut()
            .zip(last)
            .for_each(|(all, last)| *all ^= last);
    }
    all
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 64] {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

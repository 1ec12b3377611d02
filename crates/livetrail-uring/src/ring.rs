//! The ring, and the proof that memory is lent to the kernel for one call only.
//!
//! # Proof
//!
//! io_uring is unsafe because an operation reads memory at an address that it was given until it is
//! *completed*, whatever the program does with that memory meanwhile. Here that memory is a
//! `msghdr` (in [`Ring::queue`]), the `iovec`s that it points to (the caller's slices) and the
//! bytes that these point to. The invariant:
//!
//! > **Between two calls of [`Ring::send`] there is no entry in the submission queue that the
//! > kernel could still take, and no operation that it has taken and not completed.**
//!
//! It holds when a ring is created. A call preserves it:
//!
//! 1. All of the caller's code (its iterator) runs before the first entry is put into the queue.
//!    When it panics, there is no entry.
//! 2. From the first entry until the last completion ([`Ring::round`]) only this module's code
//!    runs. It does not return early and does not panic; if it panics after all, [`Lent`] aborts
//!    the process.
//! 3. A round ends in one of two ways. Either every entry has its completion: the kernel posts one
//!    for each operation that it takes, and does not read the operation's memory after that. Or the
//!    kernel refused to continue and *has taken nothing that is not completed* (entries queued,
//!    minus those still in the queue, minus completions, is zero). Then the ring is abandoned: only
//!    `io_uring_enter` could take the entries that remain in its queue, and it is never called for
//!    this ring again; no kernel thread polls the queue (`IORING_SETUP_SQPOLL` is not used).
//! 4. A refusal that passes (`EINTR`, `EAGAIN`, `EBUSY`: a signal, no memory for a request, pending
//!    completions) does not end a round: completions are collected and the kernel is asked again,
//!    [`ATTEMPTS`] times without progress.
//! 5. If the kernel refused to wait for an operation that it has taken, no return would be sound,
//!    and the process aborts. This does not happen: each send has `MSG_DONTWAIT`, so the kernel
//!    tries and completes it while taking it.
//!
//! Memory does not move meanwhile: `queue` is not touched during a round, and the slices and their
//! bytes are borrowed for `'a`, which outlives the call. The sockets are borrowed as well, so that
//! no descriptor is closed and reused.

use std::{
    fmt,
    io::{self, IoSlice},
    mem,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
        unix::net::UnixStream,
    },
};

use io_uring::{IoUring, opcode, types};

use crate::{BATCH, Error};

/// The result of a send that was not tried: try again.
const NOT_TRIED: i32 = -libc::EAGAIN;

/// How often in a row the kernel is asked while it refuses for a passing reason and nothing
/// completes.
const ATTEMPTS: u32 = 16;

/// One socket's message, in the kernel's format.
struct Message {
    socket: RawFd,
    header: libc::msghdr,
}

/// A ring for sends. Only the thread that created it can use it, so it is not [`Send`].
///
/// It works on the thread that created it:
///
/// ```
/// fn is_send<T: Send>() {}
/// is_send::<Option<u8>>();
/// let _ = livetrail_uring::Ring::new();
/// ```
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<livetrail_uring::Ring>();
/// ```
pub struct Ring {
    ring: IoUring,
    /// The messages of one call. Empty between calls; kept for its capacity.
    queue: Vec<Message>,
    /// The kernel refused to continue.
    given_up: bool,
    /// A kernel thread takes every other send, and completes it later.
    #[cfg(test)]
    pub(crate) out_of_order: bool,
    /// Errors that the kernel returns instead of taking anything, the last first.
    #[cfg(test)]
    pub(crate) refusals: std::cell::RefCell<Vec<i32>>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ring = f.debug_struct("Ring");
        ring.field("given_up", &self.given_up)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Creates a ring and sends one byte through a pair of sockets with it, so that a filter of
    /// system calls is noticed now.
    ///
    /// # Errors
    /// The system allows no ring (Linux before 6.1, a seccomp filter, `kernel.io_uring_disabled`),
    /// or the ring cannot send.
    pub fn new() -> Result<Self, Error> {
        // Sends complete while they are taken, and only this thread ever asks, so the kernel need
        // not interrupt it.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(BATCH as u32)
            .map_err(|source| Error::Setup { source })?;
        let mut ring = Self {
            ring,
            queue: Vec::with_capacity(BATCH),
            given_up: false,
            #[cfg(test)]
            out_of_order: false,
            #[cfg(test)]
            refusals: std::cell::RefCell::default(),
        };
        ring.probe().map_err(|source| Error::Probe { source })?;
        Ok(ring)
    }

    /// Sends each message on its socket, once and without waiting. Afterwards `results` has for
    /// each, in the order of `messages`, the result of `sendmsg`: the number of bytes that the
    /// socket took, or an error; [`WouldBlock`](io::ErrorKind::WouldBlock) means a full socket. A
    /// closed peer raises no signal. A message has up to 1,024 slices.
    ///
    /// Up to [`BATCH`] messages need one system call. Allocates only while `results` and its own
    /// memory grow to the number of messages.
    ///
    /// # Errors
    /// The kernel refused to continue: unsent messages are `WouldBlock` in `results`, and this ring
    /// sends nothing any longer. A new ring may work ([`Error::is_passing`]).
    pub fn send<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (BorrowedFd<'a>, &'a [IoSlice<'a>])>,
        results: &mut Vec<io::Result<usize>>,
    ) -> Result<(), Error> {
        results.clear();
        // A panic in the iterator may have left some messages.
        self.queue.clear();
        for (socket, slices) in messages {
            self.queue.push(Message {
                socket: socket.as_raw_fd(),
                header: header(slices),
            });
        }
        let given = self.queue.len();
        results.extend((0..given).map(|_| taken(NOT_TRIED)));
        let mut sent = Ok(());
        for first in (0..given).step_by(BATCH) {
            if sent.is_ok() {
                sent = self.round(first, results);
            }
        }
        self.queue.clear();
        sent.map_err(|source| Error::Enter { source })
    }

    /// Sends up to [`BATCH`] messages from `first` on, and waits until all are completed.
    fn round(&mut self, first: usize, results: &mut [io::Result<usize>]) -> io::Result<()> {
        if self.given_up {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let lent = Lent;
        let mut given = 0_usize;
        let mut entries = self.ring.submission();
        for (at, message) in self.queue.iter().enumerate().skip(first).take(BATCH) {
            let send = opcode::SendMsg::new(types::Fd(message.socket), &raw const message.header)
                .flags((libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32)
                .build()
                .user_data(at as u64);
            #[cfg(test)]
            let send = if self.out_of_order && at.is_multiple_of(2) {
                send.flags(io_uring::squeue::Flags::ASYNC)
            } else {
                send
            };
            // SAFETY: by the module's proof: header, slices and bytes remain until this round ends.
            // By then the kernel has completed the operation or will never take it.
            if unsafe { entries.push(&send) }.is_err() {
                // The queue is full. Rounds are no longer than the queue and begin with an empty
                // one, so this does not happen.
                break;
            }
            given = given.saturating_add(1);
        }
        drop(entries);
        let done = self.complete(given, results);
        mem::forget(lent);
        done
    }

    /// Makes the kernel take the queue's entries, and collects all their completions.
    fn complete(&mut self, given: usize, results: &mut [io::Result<usize>]) -> io::Result<()> {
        let (mut completed, mut attempts) = (0_usize, 0_u32);
        while completed < given {
            let entered = self.enter(given.saturating_sub(completed));
            let before = completed;
            for completion in self.ring.completion() {
                completed = completed.saturating_add(1);
                let at = usize::try_from(completion.user_data()).ok();
                if let Some(result) = at.and_then(|at| results.get_mut(at)) {
                    *result = taken(completion.result());
                }
            }
            let Err(error) = entered else { continue };
            attempts = if completed > before {
                0
            } else {
                attempts.saturating_add(1)
            };
            if passes(&error) && attempts < ATTEMPTS {
                continue;
            }
            let untaken = self.ring.submission().len();
            if given != completed.saturating_add(untaken) {
                // The kernel holds addresses of our memory, and will not report when it no longer
                // does.
                std::process::abort();
            }
            self.given_up = true;
            return Err(error);
        }
        Ok(())
    }

    fn enter(&self, want: usize) -> io::Result<()> {
        #[cfg(test)]
        if let Some(errno) = self.refusals.borrow_mut().pop() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.ring.submit_and_wait(want).map(|_| ())
    }

    fn probe(&mut self) -> io::Result<()> {
        let (from, _to) = UnixStream::pair()?;
        let mut results = Vec::new();
        let byte = [IoSlice::new(b"?")];
        match self.send([(from.as_fd(), &byte[..])], &mut results) {
            Err(Error::Enter { source } | Error::Setup { source } | Error::Probe { source }) => {
                return Err(source);
            }
            Ok(()) => {}
        }
        match results.pop() {
            Some(Ok(1)) => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// While it exists, the kernel may hold addresses of memory that its owner would reuse after a
/// panic.
struct Lent;

impl Drop for Lent {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// A message without address and control data.
fn header(slices: &[IoSlice<'_>]) -> libc::msghdr {
    // SAFETY: a `msghdr` consists of integers and pointers, for which zero is a valid value: no
    // name, no control data, no flags.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    // An `IoSlice` has the layout of an `iovec` (std guarantees it on Unix). `sendmsg` reads these
    // and writes none.
    header.msg_iov = slices.as_ptr().cast::<libc::iovec>().cast_mut();
    header.msg_iovlen = slices.len() as _;
    header
}

/// Whether the kernel may accept the same call later.
pub(crate) fn passes(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [libc::EINTR, libc::EAGAIN, libc::EBUSY]
        .iter()
        .any(|passing| errno == Some(*passing))
}

/// The kernel's result, as a system call's wrapper returns it.
fn taken(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.saturating_neg()))
}

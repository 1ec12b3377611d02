//! The ring, and the proof that nothing of what is lent to the kernel is lent for longer than a call.
//!
//! # Proof
//!
//! io_uring is unsafe because an operation reads memory by an address that was given to it, until it is *completed*, whatever the
//! program has done with that memory meanwhile. Here that memory is a `msghdr` (in [`Ring::queue`]), the `iovec`s that it points to
//! (the caller's slices) and the bytes these point to. The invariant:
//!
//! > **Between two calls of [`Ring::send`] there is no entry in the submission queue that the kernel could still take, and no
//! > operation that it has taken and not completed.**
//!
//! It holds when a ring is made. A call keeps it:
//!
//! 1. All of the caller's code (its iterator) runs before the first entry is put into the queue. When it panics, there is none.
//! 2. From the first entry until the last completion ([`Ring::round`]) no code but this module's runs, which does not return early
//!    and does not panic; should it do so after all, [`Lent`] ends the process.
//! 3. A round ends in one of two ways. Either every entry has its completion; the kernel posts one for each operation that it takes,
//!    and does not read the operation's memory after that. Or the kernel refused to go on and *has taken nothing that is not
//!    completed* (entries put in, less those still in the queue, less completions, is zero). Then the ring is given up: entries that
//!    are left in its queue would be taken by `io_uring_enter` alone, which is never called for it again; no kernel thread polls the
//!    queue (`IORING_SETUP_SQPOLL` is not used).
//! 4. A refusal that passes (`EINTR`, `EAGAIN`, `EBUSY`: a signal, no memory for a request, completions that were not taken) ends no
//!    round by itself: what is completed is taken, and the kernel is asked again, [`ATTEMPTS`] times without progress.
//! 5. If the kernel refused to wait for something that it has taken, there would be no way to return soundly, and the process ends.
//!    This does not happen: each send has `MSG_DONTWAIT`, and is therefore tried and completed while it is taken.
//!
//! Memory stays where it is meanwhile: `queue` is not touched during a round, and the slices and their bytes are borrowed for `'a`,
//! which outlives the call. The sockets are borrowed as well, so that no descriptor is closed and given to something else.

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

/// What stands for a send that was not tried: try again.
const NOT_TRIED: i32 = -libc::EAGAIN;

/// How often in a row the kernel is asked while it refuses for a reason that passes, and nothing is completed.
const ATTEMPTS: u32 = 16;

/// One socket's message, as the kernel wants it.
struct Message {
    socket: RawFd,
    header: libc::msghdr,
}

/// A ring for sends, to be used by the thread that has made it and by no other (hence not [`Send`]).
///
/// It works on the thread that has made it:
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
    /// What a call sends. Between calls it is empty, and kept for its capacity.
    queue: Vec<Message>,
    /// The kernel refused to go on.
    given_up: bool,
    /// Every other send is taken by a thread of the kernel, and is completed when that comes to it.
    #[cfg(test)]
    pub(crate) out_of_order: bool,
    /// Errors that the kernel gives in place of taking anything, the last first.
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
    /// A ring, with which a byte has been sent from one end of a pair of sockets: what a filter of system calls forbids is known now.
    ///
    /// # Errors
    /// The system has none for us (Linux before 6.1, a seccomp filter, `kernel.io_uring_disabled`), or nothing can be sent with it.
    pub fn new() -> Result<Self, Error> {
        // Sends are tried while they are taken, and nobody but this thread ever asks: the kernel need not interrupt it.
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

    /// Sends each message on its socket, once and without waiting. `results` has then for each, in the order of `messages`, what
    /// `sendmsg` gives: how many bytes the socket took, or an error; [`WouldBlock`](io::ErrorKind::WouldBlock) is a socket that is
    /// full. A peer that is gone raises no signal. A message has up to 1,024 slices.
    ///
    /// With no more than [`BATCH`] messages that is one system call. Allocates while `results` and its own memory grow to the number
    /// of messages, and never again.
    ///
    /// # Errors
    /// The kernel refused to go on: what was not sent is `WouldBlock` in `results`, and nothing will be sent with this ring any more. A
    /// new ring may work ([`Error::is_passing`]).
    pub fn send<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (BorrowedFd<'a>, &'a [IoSlice<'a>])>,
        results: &mut Vec<io::Result<usize>>,
    ) -> Result<(), Error> {
        results.clear();
        // A panic in the iterator may have left some.
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

    /// Sends up to [`BATCH`] messages from `first` on, and waits until all of them are completed.
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
            // SAFETY: by the module's proof: header, slices and bytes stay until this round ends, which is when the kernel has
            // completed the operation or will never take it.
            if unsafe { entries.push(&send) }.is_err() {
                // Full. Rounds are no longer than the queue and begin with an empty one, so it is not.
                break;
            }
            given = given.saturating_add(1);
        }
        drop(entries);
        let done = self.complete(given, results);
        mem::forget(lent);
        done
    }

    /// Has the kernel take what is in the queue, and takes what it says until that is all.
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
                // It has memory of ours, and will not say when it no longer has.
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

/// While it lives, the kernel may have addresses of memory that its owner believes to be its own again after a panic.
struct Lent;

impl Drop for Lent {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// A message without address and control data.
fn header(slices: &[IoSlice<'_>]) -> libc::msghdr {
    // SAFETY: a `msghdr` is integers and pointers, for which zero is a value: no name, no control data, no flags.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    // An `IoSlice` has the layout of an `iovec` (std's promise on Unix). `sendmsg` reads these and writes none of them.
    header.msg_iov = slices.as_ptr().cast::<libc::iovec>().cast_mut();
    header.msg_iovlen = slices.len() as _;
    header
}

/// Whether the kernel may take the same at another time.
pub(crate) fn passes(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [libc::EINTR, libc::EAGAIN, libc::EBUSY]
        .iter()
        .any(|passing| errno == Some(*passing))
}

/// What the kernel says, as a system call's wrapper says it.
fn taken(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.saturating_neg()))
}

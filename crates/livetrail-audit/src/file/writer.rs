//! The thread of the file sink.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::error::{AuditError, SinkError};

/// The first pause after a failed write.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Answer = oneshot::Sender<Result<(), SinkError>>;

/// Lines that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u64,
}

#[derive(Debug, Default)]
struct State {
    buffer: Buffer,
    /// The callers that wait for a sync. Each caller of `flush` waits for its answer, so their
    /// number bounds this.
    asking: Vec<Answer>,
    closed: bool,
    /// The thread has given up or is done.
    ended: bool,
    /// The lines that the thread could not write.
    unwritten: Buffer,
    /// The current error.
    failing: Option<SinkError>,
}

/// The state that the sink and its thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    path: PathBuf,
    /// Whether the file is a regular file. Devices and pipes cannot be synced.
    regular: bool,
    state: Mutex<State>,
    /// Signals that the thread has work.
    work: Condvar,
    /// Signals that the thread has ended.
    done: Condvar,
    /// Signals that the buffer has space.
    pub(crate) room: Notify,
    failed: AtomicU64,
}

impl Shared {
    pub(crate) fn new(path: PathBuf, regular: bool) -> Self {
        Self {
            path,
            regular,
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            done: Condvar::new(),
            room: Notify::new(),
            failed: AtomicU64::new(0),
        }
    }

    /// Puts lines into the buffer. `false` if there is no space. After the thread has ended, the
    /// lines are dropped and count as failed.
    pub(crate) fn append(&self, lines: &[u8], records: u64, limit: usize) -> bool {
        let mut state = self.lock();
        if state.ended {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        if state.buffer.bytes.len() >= limit {
            return false;
        }
        state.buffer.bytes.extend_from_slice(lines);
        state.buffer.records += records;
        drop(state);
        self.work.notify_one();
        true
    }

    pub(crate) fn ask_sync(&self, answer: Answer) {
        let mut state = self.lock();
        // Without a thread nobody answers. The dropped sender reports that to the caller.
        if !state.ended {
            state.asking.push(answer);
        }
        drop(state);
        self.work.notify_one();
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn failing(&self) -> Option<SinkError> {
        self.lock().failing.clone()
    }

    /// Lets the thread write the unwritten lines, and waits for it. Returns the lines that it could
    /// not write.
    pub(crate) fn close(&self, deadline: Duration) -> Option<Buffer> {
        let mut state = self.lock();
        state.closed = true;
        self.work.notify_one();
        let (mut state, waited) = self
            .done
            .wait_timeout_while(state, deadline, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        // If the thread still hangs, it holds lines that this does not return.
        let unwritten = if waited.timed_out() {
            &mut state.buffer
        } else {
            &mut state.unwritten
        };
        Some(std::mem::take(unwritten)).filter(|unwritten| unwritten.records > 0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state has only plain values, so a panic under the lock leaves nothing unfinished that
        // matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn spawn(shared: Arc<Shared>, file: impl Disk) -> Result<(), AuditError> {
    const NAME: &str = "audit-file";
    let writer = Writer {
        shared,
        file,
        poisoned: None,
        spare: Vec::new(),
    };
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || writer.run())
        .map(drop)
        .map_err(|source| AuditError::Thread { name: NAME, source })
}

/// The operations on the thread's file. Tests use a failing file.
pub(crate) trait Disk: Send + 'static {
    /// Appends some of the bytes and returns their number.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Removes this many bytes from the end.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
    /// Makes the appended bytes durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is open for appending.
impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let len = self.metadata()?.len();
        self.set_len(len.saturating_sub(bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

struct Writer<D> {
    shared: Arc<Shared>,
    file: D,
    /// The error of a failed sync.
    poisoned: Option<SinkError>,
    /// The emptied buffer of the last write. Its memory is used again.
    spare: Vec<u8>,
}

/// The work that the thread has taken.
struct Work {
    buffer: Buffer,
    asking: Vec<Answer>,
    closed: bool,
}

impl<D: Disk> Writer<D> {
    fn run(mut self) {
        loop {
            let Work {
                mut buffer,
                mut asking,
                closed,
            } = self.next();
            let written = self.write(&buffer.bytes, &mut asking);
            if written && (closed || !asking.is_empty()) {
                let result = self.sync();
                for answer in asking.drain(..) {
                    let _ = answer.send(result.clone());
                }
            }
            if written {
                buffer.bytes.clear();
                self.spare = std::mem::take(&mut buffer.bytes);
                buffer.records = 0;
            }
            if (closed || !written) && self.end(buffer) {
                return;
            }
        }
    }

    /// Ends the thread, unless there are more lines and they can be written. `unwritten` has the
    /// lines that could not be written.
    fn end(&self, mut unwritten: Buffer) -> bool {
        let mut state = self.shared.lock();
        let more = !state.buffer.bytes.is_empty() || !state.asking.is_empty();
        if more && unwritten.records == 0 {
            return false;
        }
        unwritten.records += state.buffer.records;
        unwritten.bytes.append(&mut state.buffer.bytes);
        state.ended = true;
        state.unwritten = unwritten;
        state.asking.clear();
        drop(state);
        self.shared.done.notify_all();
        self.shared.room.notify_waiters();
        true
    }

    fn next(&mut self) -> Work {
        let idle = |state: &mut State| {
            state.buffer.bytes.is_empty() && state.asking.is_empty() && !state.closed
        };
        let mut state = self
            .shared
            .work
            .wait_while(self.shared.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let empty = Buffer {
            bytes: std::mem::take(&mut self.spare),
            records: 0,
        };
        let work = Work {
            buffer: std::mem::replace(&mut state.buffer, empty),
            asking: std::mem::take(&mut state.asking),
            closed: state.closed,
        };
        drop(state);
        self.shared.room.notify_waiters();
        work
    }

    /// Writes all of the bytes, however often a write fails. The callers that wait for a sync get
    /// the first error. `false` if the sink is closed and the write still fails.
    fn write(&mut self, bytes: &[u8], asking: &mut Vec<Answer>) -> bool {
        let mut from = 0;
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.write_from(bytes, &mut from) {
            if self.write_failed(error, asking, pause) {
                return false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if pause > FIRST_PAUSE {
            tracing::info!(path = %self.shared.path.display(), "the trail's file takes records again");
        }
        if self.poisoned.is_none() {
            self.shared.lock().failing = None;
        }
        true
    }

    /// Makes one attempt. After a failure `from` is where the next attempt begins. That is the
    /// start of the write if the partly written bytes could be removed, and otherwise the end of
    /// those bytes.
    fn write_from(&mut self, bytes: &[u8], from: &mut usize) -> io::Result<()> {
        let begun = *from;
        while *from < bytes.len() {
            match self.file.append(&bytes[*from..]) {
                Ok(0) => return self.undo(begun, from, io::ErrorKind::WriteZero.into()),
                Ok(written) => *from += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.undo(begun, from, error),
            }
        }
        Ok(())
    }

    fn undo(&mut self, begun: usize, from: &mut usize, error: io::Error) -> io::Result<()> {
        let partial = u64::try_from(*from - begun).unwrap_or(u64::MAX);
        if partial > 0 && self.shared.regular && self.file.cut(partial).is_ok() {
            *from = begun;
        }
        Err(error)
    }

    /// Logs the error, reports it to all waiting callers, and pauses. Returns whether to give up.
    fn write_failed(&self, error: io::Error, asking: &mut Vec<Answer>, pause: Duration) -> bool {
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        let error = SinkError::Write(Arc::new(error));
        let mut state = self.shared.lock();
        if state.failing.is_none() {
            tracing::error!(path = %self.shared.path.display(), error = ?error, "the trail's file does not take records");
        }
        state.failing = Some(error.clone());
        for answer in asking.drain(..).chain(state.asking.drain(..)) {
            let _ = answer.send(Err(error.clone()));
        }
        let (state, _) = self
            .shared
            .work
            .wait_timeout_while(state, pause, |state| {
                state.asking.is_empty() && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.closed
    }

    fn sync(&mut self) -> Result<(), SinkError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        if !self.shared.regular {
            return Ok(());
        }
        let Err(error) = self.file.sync() else {
            return Ok(());
        };
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        tracing::error!(path = %self.shared.path.display(), %error, "the trail's file cannot be synced: what was written before may be lost");
        let error = SinkError::Sync(Arc::new(error));
        self.poisoned = Some(error.clone());
        self.shared.lock().failing = Some(error.clone());
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const LIMIT: usize = 1 << 20;

    /// The fault of the next operation.
    #[derive(Debug)]
    enum Fault {
        /// Appends this many bytes, and fails at the call for the others.
        AppendOnly(usize),
        Append,
        Cut,
        Sync,
    }

    #[derive(Debug, Default)]
    struct Content {
        bytes: Vec<u8>,
        synced: usize,
        faults: VecDeque<Fault>,
    }

    #[derive(Debug, Clone, Default)]
    struct Faulty(Arc<Mutex<Content>>);

    fn no_space() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    impl Disk for Faulty {
        fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut content = self.0.lock().unwrap();
            let taken = match content.faults.front() {
                Some(Fault::AppendOnly(taken)) => *taken,
                Some(Fault::Append) => {
                    content.faults.pop_front();
                    return Err(no_space());
                }
                _ => bytes.len(),
            };
            if taken < bytes.len() {
                content.faults[0] = Fault::Append;
            }
            content.bytes.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn cut(&mut self, bytes: u64) -> io::Result<()> {
            let mut content = self.0.lock().unwrap();
            if matches!(content.faults.front(), Some(Fault::Cut)) {
                content.faults.pop_front();
                return Err(no_space());
            }
            let len = content.bytes.len() - usize::try_from(bytes).unwrap();
            content.bytes.truncate(len);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            let mut content = self.0.lock().unwrap();
            if matches!(content.faults.front(), Some(Fault::Sync)) {
                content.faults.pop_front();
                return Err(io::Error::other("told to"));
            }
            content.synced = content.bytes.len();
            Ok(())
        }
    }

    fn start(faults: impl IntoIterator<Item = Fault>) -> (Arc<Shared>, Faulty) {
        let disk = Faulty::default();
        disk.0.lock().unwrap().faults.extend(faults);
        let shared = Arc::new(Shared::new(PathBuf::from("trail"), true));
        spawn(Arc::clone(&shared), disk.clone()).unwrap();
        (shared, disk)
    }

    fn sync(shared: &Shared) -> Result<(), SinkError> {
        let (answer, answered) = oneshot::channel();
        shared.ask_sync(answer);
        answered.blocking_recv().unwrap_or(Err(SinkError::Closed))
    }

    /// Syncs until it succeeds. A failed write answers at once and is repeated.
    fn sync_in_the_end(shared: &Shared) {
        for _ in 0..1_000 {
            if sync(shared).is_ok() {
                return;
            }
        }
        panic!("a thousand syncs failed");
    }

    #[test]
    fn a_partial_write_is_truncated_and_repeated() {
        let (shared, disk) = start([Fault::AppendOnly(5)]);
        assert!(shared.append(b"first line\n", 1, LIMIT));
        sync_in_the_end(&shared);
        assert!(shared.append(b"second\n", 1, LIMIT));
        sync_in_the_end(&shared);
        let content = disk.0.lock().unwrap();
        assert_eq!(content.bytes, b"first line\nsecond\n");
        assert_eq!(content.synced, content.bytes.len());
        assert_eq!(shared.failed(), 1);
        assert!(shared.failing().is_none());
    }

    #[test]
    fn a_partial_write_that_cannot_be_truncated_is_completed() {
        // Five bytes fit. Then there is no space, and the removal fails, too. Then there is space
        // again.
        let (shared, disk) = start([Fault::AppendOnly(5), Fault::Cut]);
        assert!(shared.append(b"first line\n", 1, LIMIT));
        sync_in_the_end(&shared);
        assert_eq!(disk.0.lock().unwrap().bytes, b"first line\n");
    }

    #[test]
    fn a_failed_sync_is_never_taken_back() {
        let (shared, disk) = start([Fault::Sync]);
        assert!(shared.append(b"line\n", 1, LIMIT));
        assert!(matches!(sync(&shared), Err(SinkError::Sync(_))));
        assert!(shared.append(b"next\n", 1, LIMIT));
        assert!(
            matches!(sync(&shared), Err(SinkError::Sync(_))),
            "the disk would say yes now"
        );
        assert!(matches!(shared.failing(), Some(SinkError::Sync(_))));
        assert_eq!(disk.0.lock().unwrap().bytes, b"line\nnext\n");
    }

    #[test]
    fn closing_says_what_could_not_be_written() {
        let (shared, _disk) = start((0..1_000).map(|_| Fault::Append));
        assert!(shared.append(b"a\nb\n", 2, LIMIT));
        let unwritten = shared.close(Duration::from_secs(10)).unwrap();
        assert_eq!(
            (unwritten.records, unwritten.bytes.as_slice()),
            (2, b"a\nb\n".as_slice())
        );
        assert!(
            shared.append(b"late\n", 1, LIMIT),
            "taken by nobody, so nobody waits"
        );
        assert!(matches!(sync(&shared), Err(SinkError::Closed)));
    }
}

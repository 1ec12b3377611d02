//! The engine's thread, a viewing's lease and a session's outbox under a model checker: each
//! interleaving that the memory model allows.

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{lease::Lease, model, outbox::Outbox, wakeup::Wakeup};

/// Two threads add work, one of them possibly after the thread has gone to sleep for good: the
/// thread does all of it.
#[test]
fn all_added_work_is_seen() {
    model(|| {
        let (wakeup, work) = (Arc::new(Wakeup::new()), Arc::new(Mutex::new(0)));
        let adders: Vec<_> = (0..2)
            .map(|_| {
                let (wakeup, work) = (wakeup.clone(), work.clone());
                thread::spawn(move || {
                    *work.lock().unwrap() += 1;
                    wakeup.added();
                })
            })
            .collect();
        let mut done = 0;
        loop {
            done += std::mem::take(&mut *work.lock().unwrap());
            if done == 2 {
                break;
            }
            if wakeup.is_idle(|| *work.lock().unwrap() == 0) {
                wakeup.sleep(None);
            }
        }
        for adder in adders {
            adder.join().unwrap();
        }
    });
}

/// The receiver of a session's events: never two at a time.
#[derive(Default)]
struct Observer {
    entered: AtomicBool,
    heard: Mutex<Vec<u32>>,
}

const START: u32 = 0;
const END: u32 = 100;

impl Observer {
    fn hear(&self, message: u32) {
        assert!(!self.entered.swap(true, Ordering::SeqCst));
        self.heard.lock().unwrap().push(message);
        self.entered.store(false, Ordering::SeqCst);
    }

    fn deliver(&self, outbox: &Outbox<u32>, first: Option<u32>) {
        let Some(first) = first else { return };
        self.hear(first);
        while let Some(message) = outbox.next() {
            self.hear(message);
        }
    }
}

/// One thread starts the session and reports events; another ends it meanwhile.
#[test]
fn events_are_reported_once_in_order_and_none_after_the_last() {
    model(|| {
        let (outbox, observer) = (Arc::new(Outbox::busy()), Arc::new(Observer::default()));
        let ended = {
            let (outbox, observer) = (outbox.clone(), observer.clone());
            thread::spawn(move || {
                let last = outbox.post_last(END, || {});
                observer.deliver(&outbox, last);
                let again = outbox.post_last(END, || {});
                observer.deliver(&outbox, again);
            })
        };
        observer.deliver(&outbox, Some(START));
        for message in 1..3 {
            let posted = outbox.post(message);
            observer.deliver(&outbox, posted);
        }
        ended.join().unwrap();
        let heard = observer.heard.lock().unwrap();
        assert_eq!(heard.first(), Some(&START));
        assert_eq!(heard.last(), Some(&END));
        assert!(heard.is_sorted() && heard.iter().filter(|m| **m == END).count() == 1);
    });
}

/// A thread that must deliver puts the message back, because it is delivering another session's:
/// the order stays.
#[test]
fn a_returned_item_keeps_its_position() {
    model(|| {
        let (outbox, observer) = (Arc::new(Outbox::busy()), Arc::new(Observer::default()));
        observer.deliver(&outbox, Some(START));
        let other = {
            let (outbox, observer) = (outbox.clone(), observer.clone());
            thread::spawn(move || {
                let posted = outbox.post(2);
                observer.deliver(&outbox, posted);
                let last = outbox.post_last(END, || {});
                observer.deliver(&outbox, last);
            })
        };
        if let Some(message) = outbox.post(1) {
            outbox.put_back(message);
            while let Some(message) = outbox.next() {
                observer.hear(message);
            }
        }
        other.join().unwrap();
        let heard = observer.heard.lock().unwrap();
        assert_eq!(heard.last(), Some(&END), "{heard:?}");
        assert_eq!(heard.iter().filter(|message| **message == 2).count(), 1);
    });
}

/// A touch, a kick and two sweeps coincide with the end of a lease: the session ends once. It ends
/// as idle only if the touch was refused, and a touch that succeeds keeps the lease.
#[test]
fn a_lease_is_renewed_or_expires_and_the_session_ends_once() {
    const OVER_MS: u64 = 10;
    model(|| {
        let lease = Lease::new(OVER_MS);
        assert!(lease.renew(0), "its time begins");
        let session = Arc::new((lease, Outbox::<&str>::busy(), Mutex::new(Vec::new())));
        let end = |session: &(Lease, Outbox<&str>, Mutex<Vec<&str>>), reason: &'static str| {
            let decided = || session.2.lock().unwrap().push(reason);
            assert!(session.1.post_last(reason, decided).is_none(), "it is busy");
        };
        let sweep = move |session: &(Lease, Outbox<&str>, Mutex<Vec<&str>>)| {
            let expired = session.0.expire(OVER_MS);
            if expired {
                end(session, "idle");
            }
            expired
        };
        let sweeper = {
            let session = session.clone();
            thread::spawn(move || sweep(&session))
        };
        let toucher = {
            let session = session.clone();
            thread::spawn(move || session.0.renew(OVER_MS))
        };
        end(&session, "kicked");
        let expired_here = sweep(&session);
        let expired_there = sweeper.join().unwrap();
        let touched = toucher.join().unwrap();
        assert!(!(expired_here && expired_there), "it expires once");
        assert_eq!(
            touched,
            !(expired_here || expired_there),
            "one of them wins, never both"
        );
        if touched {
            assert!(!session.0.expire(2 * OVER_MS - 1), "it was renewed");
            assert!(session.0.expire(2 * OVER_MS));
        }
        assert!(!session.0.expire(u64::MAX - 2), "it expires once");
        let mut delivered = Vec::new();
        while let Some(reason) = session.1.next() {
            delivered.push(reason);
        }
        assert_eq!(delivered.len(), 1, "the session ends once");
        assert_eq!(*session.2.lock().unwrap(), delivered);
    });
}

//! Sends on real sockets: full, closed, disconnected; more than a batch; out of order; and a system
//! that allows no ring.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, IoSlice, Read as _},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd as _, BorrowedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use socket2::SockRef;

use super::*;

/// A ring. `None`, and a line that reports this, on a machine without one, such as in most
/// containers: there the tests can only check the report.
#[expect(clippy::print_stderr, reason = "the output of tests should say so")]
fn ring() -> Option<Ring> {
    match Ring::new() {
        Ok(ring) => Some(ring),
        Err(error @ Error::Setup { .. }) => {
            eprintln!("not tested: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Two ends of a connection with small buffers: the sender's and the receiver's.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (to, _) = listener.accept().unwrap();
    SockRef::from(&from).set_send_buffer_size(4 << 10).unwrap();
    SockRef::from(&to).set_recv_buffer_size(4 << 10).unwrap();
    (from, to)
}

/// Sends the same message on all sockets.
fn send_all(ring: &mut Ring, sockets: &[&TcpStream], slices: &[&[u8]]) -> Vec<io::Result<usize>> {
    let slices: Vec<_> = slices.iter().copied().map(IoSlice::new).collect();
    let mut results = vec![Ok(usize::MAX)];
    let messages = sockets
        .iter()
        .map(|socket| (socket.as_fd(), &slices[..]))
        .collect::<Vec<_>>();
    ring.send(messages, &mut results).unwrap();
    results
}

fn read(mut from: &TcpStream, bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    from.read_exact(&mut all).unwrap();
    all
}

#[test]
fn each_socket_gets_its_slices_in_order() {
    let Some(mut ring) = ring() else { return };
    let ends: Vec<_> = (0..10).map(|_| connection()).collect();
    let texts: Vec<_> = (0..10).map(|n| format!("text number {n}")).collect();
    let slices: Vec<_> = texts
        .iter()
        .map(|text| [IoSlice::new(b"the "), IoSlice::new(text.as_bytes())])
        .collect();
    let messages = ends.iter().zip(&slices);
    let messages = messages.map(|((from, _), slices)| (from.as_fd(), &slices[..]));
    let mut results = Vec::new();
    ring.send(messages, &mut results).unwrap();
    for (((_, to), text), result) in ends.iter().zip(&texts).zip(results) {
        let wanted = format!("the {text}");
        assert_eq!(result.unwrap(), wanted.len());
        assert_eq!(read(to, wanted.len()), wanted.as_bytes());
    }
}

#[test]
fn nothing_to_send_is_nothing_sent() {
    let Some(mut ring) = ring() else { return };
    assert!(send_all(&mut ring, &[], &[b"text"]).is_empty());
    let (from, _to) = connection();
    let results = send_all(&mut ring, &[&from], &[]);
    assert_eq!(results[0].as_ref().unwrap(), &0);
}

#[test]
fn a_full_socket_takes_a_part_and_then_nothing_until_it_is_read_whether_or_not_it_blocks() {
    let Some(mut ring) = ring() else { return };
    for nonblocking in [false, true] {
        let ((full, to), (other, other_to)) = (connection(), connection());
        full.set_nonblocking(nonblocking).unwrap();
        let bytes: Vec<u8> = (0..1_000_000).map(|n| n as u8).collect();
        let (mut sent, mut parts) = (0, 0);
        let error = loop {
            let halves = bytes[sent..].split_at(bytes[sent..].len() / 2);
            let result = send_all(&mut ring, &[&full], &[halves.0, halves.1]).remove(0);
            match result {
                Ok(taken) => {
                    assert!(taken > 0 && taken < bytes.len() - sent);
                    (sent, parts) = (sent + taken, parts + 1);
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(parts > 0);
        // A socket next to a full one gets its message.
        let results = send_all(&mut ring, &[&full, &other], &[b"beside"]);
        assert_eq!(
            results[0].as_ref().unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert_eq!(results[1].as_ref().unwrap(), &6);
        assert_eq!(read(&other_to, 6), b"beside");
        assert!(read(&to, sent) == bytes[..sent]);
        let results = send_all(&mut ring, &[&full], &[b"again"]);
        assert_eq!(results[0].as_ref().unwrap(), &5);
        assert_eq!(read(&to, 5), b"again");
    }
}

#[test]
fn a_peer_that_is_gone_is_an_error_of_its_socket_alone_and_no_signal() {
    let Some(mut ring) = ring() else { return };
    let ((from, to), (other, _other_to)) = (connection(), connection());
    drop(to);
    let mut rounds = 0;
    let error = loop {
        let mut results = send_all(&mut ring, &[&from, &other], &[b"x"]);
        assert_eq!(results.remove(1).unwrap(), 1);
        match results.remove(0) {
            Ok(_) => rounds += 1,
            Err(error) => break error,
        }
        assert!(rounds < 1_000, "sending does not fail");
    };
    let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(gone.contains(&error.kind()), "{error}");
    // Once more, after the disconnection is known: this is the send that would raise SIGPIPE.
    let error = send_all(&mut ring, &[&from], &[b"x"]).remove(0);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn what_is_no_open_socket_is_an_error_of_its_own_alone() {
    let Some(mut ring) = ring() else { return };
    let (from, to) = connection();
    let file = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: descriptors are numbered from 0, and no process has that many: this one is unused.
    let closed = unsafe { BorrowedFd::borrow_raw(i32::MAX - 1) };
    let text = [IoSlice::new(b"text")];
    let sockets = [closed, from.as_fd(), file.as_fd(), from.as_fd()];
    let mut results = Vec::new();
    ring.send(sockets.map(|socket| (socket, &text[..])), &mut results)
        .unwrap();
    let codes: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().map_err(io::Error::raw_os_error))
        .collect();
    let (closed, no_socket) = (Err(Some(libc::EBADF)), Err(Some(libc::ENOTSOCK)));
    assert_eq!(codes, [closed, Ok(&4), no_socket, Ok(&4)]);
    assert_eq!(read(&to, 8), b"texttext");
}

#[test]
fn more_slices_than_the_system_takes_are_an_error_and_the_rest_is_sent() {
    let Some(mut ring) = ring() else { return };
    let (from, to) = connection();
    let many = vec![IoSlice::new(b"x"); 1_025];
    let few = vec![IoSlice::new(b"y"); 1_024];
    let mut results = Vec::new();
    let messages = [&many, &few].map(|slices| (from.as_fd(), &slices[..]));
    ring.send(messages, &mut results).unwrap();
    let code = results[0].as_ref().unwrap_err().raw_os_error();
    assert_eq!(code, Some(libc::EMSGSIZE));
    assert_eq!(results[1].as_ref().unwrap(), &1_024);
    assert_eq!(read(&to, 1_024), vec![b'y'; 1_024]);
}

#[test]
fn more_than_a_batch_is_sent_batch_by_batch_and_memory_is_kept() {
    let Some(mut ring) = ring() else { return };
    let (from, to) = connection();
    let mut results = Vec::new();
    let mut capacities = Vec::new();
    for count in [1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 7, 5, 2 * BATCH] {
        let bytes: Vec<_> = (0..count).map(|n| [n as u8]).collect();
        let slices: Vec<_> = bytes.iter().map(|byte| [IoSlice::new(byte)]).collect();
        let messages = slices.iter().map(|slice| (from.as_fd(), &slice[..]));
        ring.send(messages, &mut results).unwrap();
        assert_eq!(results.len(), count);
        assert!(results.iter().all(|result| matches!(result, Ok(1))));
        assert_eq!(read(&to, count), bytes.concat());
        capacities.push(results.capacity());
    }
    assert_eq!(capacities[4..], [capacities[4]; 3]);
}

#[test]
fn a_result_is_its_messages_own_in_whatever_order_the_kernel_completes_them() {
    let Some(mut ring) = ring() else { return };
    ring.out_of_order = true;
    let ends: Vec<_> = (0..100).map(|_| connection()).collect();
    let bytes: Vec<u8> = (0..100).collect();
    for round in 0..50 {
        let slices: Vec<_> = (0..100)
            .map(|n| [IoSlice::new(&bytes[..=(n + round) % 100])])
            .collect();
        let messages = ends.iter().zip(&slices);
        let messages = messages.map(|((from, _), slices)| (from.as_fd(), &slices[..]));
        let mut results = Vec::new();
        ring.send(messages, &mut results).unwrap();
        // All sends are done: the borrowed memory can be freed.
        drop(slices);
        for (n, ((_, to), result)) in ends.iter().zip(results).enumerate() {
            let wanted = (n + round) % 100 + 1;
            assert_eq!(result.unwrap(), wanted);
            assert_eq!(read(to, wanted), bytes[..wanted]);
        }
    }
}

#[test]
fn a_panic_while_messages_are_gathered_sends_none_of_them_then_or_later() {
    let Some(mut ring) = ring() else { return };
    let (from, to) = connection();
    for panics_at in [0, 1, BATCH, BATCH + 1] {
        let texts: Vec<_> = (0..=panics_at).map(|n| format!("lost {n}")).collect();
        let slices: Vec<_> = texts
            .iter()
            .map(|text| [IoSlice::new(text.as_bytes())])
            .collect();
        let messages = slices.iter().enumerate().map(|(n, slices)| {
            assert!(n < panics_at, "on purpose");
            (from.as_fd(), &slices[..])
        });
        let mut results = Vec::new();
        let sends = AssertUnwindSafe(|| ring.send(messages, &mut results));
        assert!(catch_unwind(sends).is_err());
        drop(slices);
        drop(texts);
        let results = send_all(&mut ring, &[&from, &from], &[b"kept"]);
        assert!(results.iter().all(|result| matches!(result, Ok(4))));
        assert_eq!(read(&to, 8), b"keptkept");
    }
    to.set_nonblocking(true).unwrap();
    let nothing = (&to).read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_ring_that_the_kernel_refuses_gives_up_with_nothing_lent_and_says_so_ever_after() {
    struct Moved(Ring);
    // SAFETY: wrong on purpose, and harmless: the kernel refuses any thread that did not create the
    // ring.
    unsafe impl Send for Moved {}
    let Some(ring) = ring() else { return };
    let moved = Moved(ring);
    let there = move || {
        let moved = moved;
        let Moved(mut ring) = moved;
        let (from, to) = connection();
        for _ in 0..2 {
            let text = "lent".to_owned();
            let slices = [IoSlice::new(text.as_bytes())];
            let mut results = Vec::new();
            let messages = vec![(from.as_fd(), &slices[..]); BATCH + 1];
            let refused = ring.send(messages, &mut results);
            assert!(matches!(refused, Err(Error::Enter { .. })), "{refused:?}");
            assert_eq!(results.len(), BATCH + 1);
            let untried = |result: &io::Result<usize>| matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock);
            assert!(results.iter().all(untried));
        }
        drop(ring);
        to.set_nonblocking(true).unwrap();
        let nothing = (&to).read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    };
    thread::spawn(there).join().unwrap();
}

#[test]
fn a_refusal_that_passes_costs_nothing_and_one_that_stays_costs_the_ring() {
    let Some(mut ring) = ring() else { return };
    let (from, to) = connection();
    ring.refusals = [libc::EAGAIN, libc::EBUSY, libc::EINTR].repeat(5).into();
    let results = send_all(&mut ring, &[&from, &from], &[b"kept"]);
    assert!(results.iter().all(|result| matches!(result, Ok(4))));
    assert_eq!(read(&to, 8), b"keptkept");
    assert!(ring.refusals.borrow().is_empty());
    for refusals in [vec![libc::EAGAIN; 16], vec![libc::EIO]] {
        let Some(mut ring) = self::ring() else { return };
        ring.refusals = refusals.into();
        let text = [IoSlice::new(b"lost")];
        let mut results = Vec::new();
        let refused = ring.send([(from.as_fd(), &text[..])], &mut results);
        assert!(refused.is_err_and(|error| error.is_passing()));
        assert!(matches!(&results[0], Err(error) if error.kind() == ErrorKind::WouldBlock));
    }
    to.set_nonblocking(true).unwrap();
    let nothing = (&to).read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}

/// The reason why there is no ring on a thread where this system call fails with that error.
fn refusal(call: i64, errno: i32) -> Option<String> {
    let refused = move || {
        let rules = BTreeMap::from([(call, vec![])]);
        let refuse = SeccompAction::Errno(errno as u32);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
        apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        match Ring::new() {
            Ok(_) => None,
            Err(error) => {
                let source = std::error::Error::source(&error).unwrap();
                Some(format!("{error}: {source}"))
            }
        }
    };
    thread::spawn(refused).join().unwrap()
}

#[test]
fn a_system_that_forbids_it_and_one_that_lacks_it_are_distinguished() {
    for (call, errno, words) in [
        (
            libc::SYS_io_uring_setup,
            libc::EPERM,
            &["cannot create", "kernel.io_uring_disabled", "seccomp"][..],
        ),
        (
            libc::SYS_io_uring_setup,
            libc::ENOSYS,
            &["cannot create", "has no io_uring"],
        ),
        (
            libc::SYS_io_uring_setup,
            libc::EINVAL,
            &["cannot create", "Linux 6.1"],
        ),
        (
            libc::SYS_io_uring_enter,
            libc::EPERM,
            &["a first send with it failed", "not permitted"],
        ),
    ] {
        if call == libc::SYS_io_uring_enter && ring().is_none() {
            continue;
        }
        let error = refusal(call, errno).unwrap();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}

//! Viewers on real sockets: each gets its variant's bytes, whole and in order, however slowly it
//! reads. A viewer that joins or stalls costs the others no frame.

use std::{
    future::poll_fn,
    io::{ErrorKind, IoSlice, Read},
    net::TcpStream as StdStream,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use livetrail_egress::{
    Cipher, Egress, EgressConfig, Encrypt, Format, Output, Unsent, ViewerHandle,
};
use livetrail_engine::*;
use livetrail_uring::Ring;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// The payload, in two slices; for the variant `true` with a mark before it.
struct Plain;

const MARK: &[u8] = b"#";

impl Format for Plain {
    type Variant = bool;

    fn parts(frame: &SharedFrame, marked: bool) -> impl Iterator<Item = &[u8]> {
        let (a, b) = frame.payload.split_at(frame.payload.len() / 2);
        [if marked { MARK } else { &[] }, a, b]
            .into_iter()
            .filter(|part| !part.is_empty())
    }

    fn preface(first: &[Arc<SharedFrame>], marked: bool) -> Bytes {
        let text = format!("<{}{marked}>", u8::from(first[0].is_keyframe()));
        text.into_bytes().into()
    }
}

/// Makes records whose header is their number and their length, both of 32 bits.
struct Records {
    number: u32,
    key: u8,
}

impl Encrypt for Records {
    fn encrypt(
        &mut self,
        plain: &[IoSlice<'_>],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> std::io::Result<usize> {
        let all = plain.iter().flat_map(|part| part.iter());
        let bytes: Vec<u8> = all.take(limit).map(|byte| byte ^ self.key).collect();
        for record in bytes.chunks(1 << 14) {
            out.extend(self.number.to_be_bytes());
            out.extend((record.len() as u32).to_be_bytes());
            out.extend(record);
            self.number += 1;
        }
        Ok(bytes.len())
    }

    fn close(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        out.extend(self.number.to_be_bytes());
        out.extend([0; 4]);
        Ok(())
    }
}

/// The plain bytes of records, which must be whole and in order. True if the last is the end.
fn plain_of(mut records: &[u8], key: u8) -> (Vec<u8>, bool) {
    let (mut plain, mut number) = (Vec::new(), 0_u32);
    while let Some((header, rest)) = records.split_first_chunk::<8>() {
        let found = u32::from_be_bytes(header[..4].try_into().unwrap());
        assert_eq!(found, number, "records are in order");
        number += 1;
        let len = u32::from_be_bytes(header[4..].try_into().unwrap()) as usize;
        if len == 0 {
            assert!(rest.is_empty(), "nothing follows the end");
            return (plain, true);
        }
        plain.extend(rest[..len].iter().map(|byte| byte ^ key));
        records = &rest[len..];
    }
    assert!(records.is_empty(), "records are whole");
    (plain, false)
}

/// Attaches a viewer with a cipher of this key.
async fn attach_encrypted(
    engine: &Engine,
    egress: &Egress<Plain>,
    key: u8,
) -> (StdStream, Arc<TcpStream>, ViewerHandle<Plain>) {
    let (client, server) = narrow().await;
    let stream = Arc::new(server);
    let playback = engine.play(attempt()).await.unwrap();
    let output = Output {
        stream: stream.clone(),
        cipher: Some(Box::new(Cipher::new(Records { number: 0, key }))),
    };
    let first = Bytes::from_static(b"first ");
    let viewer = egress.attach(playback, output, first, key.is_multiple_of(2));
    (client, stream, viewer.await.unwrap())
}

/// Makes two tests of each: with io_uring, where the system has it, and without.
macro_rules! both_ways {
    ($($test:ident),* $(,)?) => {
        both_ways! { by_io_uring true $($test)* }
        both_ways! { by_writev false $($test)* }
    };
    ($way:ident $io_uring:literal $($test:ident)*) => {
        mod $way {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($io_uring).await;
                }
            )*
        }
    };
}

both_ways!(
    a_frame_that_no_socket_takes_whole_is_begun_for_all_and_ended_for_each_as_it_reads,
    every_viewer_gets_its_variants_bytes_in_order_however_slowly_it_reads,
    who_leaves_takes_along_what_has_to_be_written_first,
    a_connection_that_breaks_frees_its_slot_and_its_session_ends,
    a_peer_that_is_gone_is_reported_and_the_others_go_on,
    each_viewer_with_a_cipher_gets_the_same_bytes_in_records_of_its_own,
    records_are_whole_and_in_order_although_the_viewer_is_skipped_and_leaves,
    what_is_encrypted_and_not_taken_counts_in_the_memory_budget,
    a_viewer_above_its_cap_waits_and_the_others_do_not,
    a_viewer_above_its_cap_skips_to_a_keyframe_and_is_not_evicted,
);

fn engine() -> Engine {
    let app = AppSpec::new("live")
        .gop_cache(1_000)
        .subscriber_max_lag(2_000);
    Engine::builder().application(app).build().unwrap()
}

fn attempt() -> Attempt {
    Attempt::new(StreamKey::parse("live", "cam").unwrap(), "test")
}

fn egress(interval_ms: u64, io_uring: bool) -> Egress<Plain> {
    let mut config = EgressConfig::default();
    config.threads = 2;
    config.send_interval = Duration::from_millis(interval_ms);
    config.io_uring = io_uring;
    Egress::start("test", config).unwrap()
}

/// A frame of `bytes` bytes that all have its number as value; number 0 is a keyframe.
fn frame(n: u8, bytes: usize) -> MediaFrame {
    let flags = if n == 0 {
        FrameFlags::KEYFRAME
    } else {
        FrameFlags::NONE
    };
    let (time, payload) = (i64::from(n), Bytes::from(vec![b'a' + n % 26; bytes]));
    MediaFrame::video(CodecId::H264, time, time, flags, payload)
}

fn expected(first: &[u8], marked: bool, frames: impl Iterator<Item = (u8, usize)>) -> Vec<u8> {
    let mut all = [first, format!("<1{marked}>").as_bytes()].concat();
    for (n, bytes) in frames {
        all.extend_from_slice(if marked { MARK } else { &[] });
        all.extend(vec![b'a' + n % 26; bytes]);
    }
    all
}

/// A connection whose two ends have small buffers.
async fn narrow() -> (StdStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(4 << 10).unwrap();
    client
        .connect(&listener.local_addr().unwrap().into())
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    SockRef::from(&server)
        .set_send_buffer_size(4 << 10)
        .unwrap();
    (client.into(), server)
}

/// Attaches a viewer of the stream; returns its end of the connection, too.
async fn attach(
    engine: &Engine,
    egress: &Egress<Plain>,
    first: &'static [u8],
    marked: bool,
) -> (StdStream, ViewerHandle<Plain>) {
    let (client, server) = narrow().await;
    let playback = engine.play(attempt()).await.unwrap();
    let first = Bytes::from_static(first);
    let viewer = egress
        .attach(playback, Arc::new(server), first, marked)
        .await;
    (client, viewer.unwrap())
}

async fn read_exact(client: StdStream, bytes: usize) -> Vec<u8> {
    let read = move || {
        let limit = Some(Duration::from_secs(20));
        client.set_read_timeout(limit).unwrap();
        let mut all = vec![0; bytes];
        (&client).read_exact(&mut all).unwrap();
        all
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

async fn every_viewer_gets_its_variants_bytes_in_order_however_slowly_it_reads(io_uring: bool) {
    for interval_ms in [0, 5] {
        let (engine, egress) = (engine(), egress(interval_ms, io_uring));
        let mut publication = engine.publish(attempt()).await.unwrap();
        let sizes = (1..=100).map(|n| (n, 50 + 97 * usize::from(n)));
        let frames: Vec<_> = [(0, 30_000)].into_iter().chain(sizes).collect();
        publication.push(frame(0, 30_000)).unwrap();
        let (mut clients, mut tasks) = (Vec::new(), Vec::new());
        for n in 0..24 {
            let (client, viewer) = attach(&engine, &egress, b"first ", n % 2 == 0).await;
            clients.push(client);
            // The job of a connection's task: it waits for the socket while that is full.
            tasks.push(tokio::spawn(async move {
                poll_fn(|cx| viewer.poll_full(cx)).await
            }));
        }
        assert_eq!(egress.viewers(), 24);
        let threads = usize::from(io_uring && Ring::new().is_ok()) * 2;
        assert_eq!(egress.io_uring_threads(), threads);
        for (n, bytes) in frames.iter().skip(1) {
            publication.push(frame(*n, *bytes)).unwrap();
            tokio::task::yield_now().await;
        }
        // Read one after the other: the last one's socket has been full for a long time.
        for (n, client) in clients.into_iter().enumerate() {
            let wanted = expected(b"first ", n % 2 == 0, frames.iter().copied());
            assert!(read_exact(client, wanted.len()).await == wanted);
        }
        tasks.into_iter().for_each(|task| task.abort());
    }
}

async fn a_frame_that_no_socket_takes_whole_is_begun_for_all_and_ended_for_each_as_it_reads(
    io_uring: bool,
) {
    let (engine, egress) = (engine(), egress(0, io_uring));
    let mut publication = engine.publish(attempt()).await.unwrap();
    publication.push(frame(0, 100)).unwrap();
    let (mut clients, mut tasks) = (Vec::new(), Vec::new());
    for n in 0..24 {
        let (client, viewer) = attach(&engine, &egress, b"", n % 2 == 0).await;
        clients.push(client);
        tasks.push(tokio::spawn(async move {
            poll_fn(|cx| viewer.poll_full(cx)).await
        }));
    }
    // All are up to date before the large frame: they have received the others together.
    publication.push(frame(1, 10)).unwrap();
    let small = [(0, 100), (1, 10)];
    for (n, client) in clients.iter().enumerate() {
        let wanted = expected(b"", n % 2 == 0, small.into_iter());
        assert!(read_exact(client.try_clone().unwrap(), wanted.len()).await == wanted);
    }
    publication.push(frame(2, 3_000_000)).unwrap();
    publication.push(frame(3, 10)).unwrap();
    let large = [(2, 3_000_000), (3, 10)];
    for (n, client) in clients.into_iter().enumerate() {
        let all = small.into_iter().chain(large);
        let wanted = expected(b"", n % 2 == 0, all);
        let had = expected(b"", n % 2 == 0, small.into_iter()).len();
        assert!(read_exact(client, wanted.len() - had).await == wanted[had..]);
    }
    tasks.into_iter().for_each(|task| task.abort());
}

async fn each_viewer_with_a_cipher_gets_the_same_bytes_in_records_of_its_own(io_uring: bool) {
    let (engine, egress) = (engine(), egress(0, io_uring));
    let mut publication = engine.publish(attempt()).await.unwrap();
    publication.push(frame(0, 30_000)).unwrap();
    let (mut clients, mut handles) = (Vec::new(), Vec::new());
    for key in 0..24 {
        let (client, _, viewer) = attach_encrypted(&engine, &egress, key).await;
        let plain = attach(&engine, &egress, b"first ", key % 2 == 0).await;
        clients.push((client, plain.0));
        handles.push(tokio::spawn(async move {
            poll_fn(|cx| viewer.poll_full(cx)).await
        }));
        let viewer = plain.1;
        handles.push(tokio::spawn(async move {
            poll_fn(|cx| viewer.poll_full(cx)).await
        }));
    }
    let mut frames = vec![(0, 30_000)];
    for n in 1..=60 {
        // Some are encrypted together, and some are larger than what is encrypted at once.
        let bytes = if n == 30 {
            200_000
        } else {
            50 + 97 * usize::from(n)
        };
        publication.push(frame(n, bytes)).unwrap();
        frames.push((n, bytes));
        tokio::task::yield_now().await;
    }
    for (key, (client, plain)) in clients.into_iter().enumerate() {
        let key = key as u8;
        let wanted = expected(b"first ", key.is_multiple_of(2), frames.iter().copied());
        assert!(read_exact(plain, wanted.len()).await == wanted);
        let read = tokio::task::spawn_blocking(move || {
            let limit = Some(Duration::from_secs(20));
            client.set_read_timeout(limit).unwrap();
            let (mut records, mut plain) = (Vec::new(), 0);
            while plain < wanted.len() {
                let mut header = [0; 8];
                (&client).read_exact(&mut header).unwrap();
                let len = u32::from_be_bytes(header[4..].try_into().unwrap()) as usize;
                let start = records.len() + 8;
                records.extend(header);
                records.resize(start + len, 0);
                (&client).read_exact(&mut records[start..]).unwrap();
                plain += len;
            }
            assert!(plain_of(&records, key).0 == wanted);
        });
        read.await.unwrap();
    }
    handles.into_iter().for_each(|task| task.abort());
}

async fn what_is_encrypted_and_not_taken_counts_in_the_memory_budget(io_uring: bool) {
    const VIEWERS: usize = 120;
    let app = AppSpec::new("live").gop_cache(10).subscriber_max_lag(10);
    let engine = Engine::builder().application(app).build().unwrap();
    let egress = egress(0, io_uring);
    let mut publication = engine.publish(attempt()).await.unwrap();
    let mut of_frames = 0;
    for _ in 0..64 {
        publication.push(frame(0, 20_000)).unwrap();
        of_frames = of_frames.max(engine.buffered_bytes());
    }
    let mut stalled = Vec::new();
    for key in 0..VIEWERS {
        stalled.push(attach_encrypted(&engine, &egress, key as u8).await);
    }
    while !stalled.iter().all(|(_, _, viewer)| viewer.is_full()) {
        publication.push(frame(0, 20_000)).unwrap();
        tokio::task::yield_now().await;
    }
    // Each has a part of a frame, and at most what is encrypted ahead.
    let counted = engine.buffered_bytes();
    assert!(counted > of_frames + 100_000, "{counted} {of_frames}");
    let most = (VIEWERS as u64) * (65 << 10);
    assert!(counted < of_frames + most, "{counted} {of_frames}");
    drop((stalled, egress, publication));
}

async fn records_are_whole_and_in_order_although_the_viewer_is_skipped_and_leaves(io_uring: bool) {
    let app = AppSpec::new("live").gop_cache(10).subscriber_max_lag(10);
    let engine = Engine::builder().application(app).build().unwrap();
    let egress = egress(0, io_uring);
    let mut publication = engine.publish(attempt()).await.unwrap();
    publication.push(frame(0, 100)).unwrap();
    let (client, stream, viewer) = attach_encrypted(&engine, &egress, 7).await;
    let quiet = engine.buffered_bytes();
    // It reads nothing, so most frames are skipped, and what is encrypted is bounded.
    while !viewer.is_full() {
        publication.push(frame(0, 20_000)).unwrap();
        tokio::task::yield_now().await;
    }
    for n in 0..200 {
        publication.push(frame(n % 4, 20_000)).unwrap();
        tokio::task::yield_now().await;
    }
    viewer.send(Bytes::from_static(b"bye")).await;
    drop(publication);
    let read = tokio::task::spawn_blocking(move || {
        let limit = Some(Duration::from_secs(20));
        client.set_read_timeout(limit).unwrap();
        let mut records = Vec::new();
        (&client).read_to_end(&mut records).unwrap();
        records
    });
    let left = viewer.detach().await;
    let mut cipher = left.cipher.unwrap();
    let mut unwritten = Pending(left.unwritten);
    while cipher.is_pending() || !unwritten.0.is_empty() {
        stream.writable().await.unwrap();
        cipher.try_write_unsent(&stream, &mut unwritten).unwrap();
    }
    cipher.close().unwrap();
    cipher.close().unwrap();
    while cipher.is_pending() {
        stream.writable().await.unwrap();
        cipher.flush(&stream).unwrap();
    }
    drop((stream, left.playback));
    drop(egress);
    let (plain, is_whole) = plain_of(&read.await.unwrap(), 7);
    assert!(is_whole && plain.starts_with(b"first <1false>") && plain.ends_with(b"bye"));
    assert!(plain.len() < 40 * 20_000, "most frames were skipped");
    drop(cipher);
    assert!(
        engine.buffered_bytes() <= quiet,
        "nothing is counted any longer"
    );
}

/// Bytes that a connection writes.
struct Pending(Bytes);

impl Unsent for Pending {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        slices[0] = IoSlice::new(&self.0);
        usize::from(!self.0.is_empty())
    }

    fn advance(&mut self, written: usize) {
        self.0 = self.0.slice(written..);
    }
}

async fn who_leaves_takes_along_what_has_to_be_written_first(io_uring: bool) {
    let (engine, egress) = (engine(), egress(0, io_uring));
    let mut publication = engine.publish(attempt()).await.unwrap();
    publication.push(frame(0, 3_000_000)).unwrap();
    let (client, viewer) = attach(&engine, &egress, b"", false).await;
    // The frame is partly written, and the socket is full.
    while !viewer.is_full() {
        tokio::task::yield_now().await;
    }
    viewer.send(Bytes::from_static(b"bye")).await;
    let left = viewer.detach().await;
    let rest = left.unwritten;
    assert_eq!(left.playback.unwrap().end_reason(), None);
    let wanted = expected(b"", false, [(0, 3_000_000)].into_iter());
    let wanted = [&wanted[..], b"bye"].concat();
    assert!(wanted.ends_with(&rest) && rest.len() > 3);
    let sent = read_exact(client, wanted.len() - rest.len()).await;
    assert!([&sent[..], &rest[..]].concat() == wanted);
}

async fn a_connection_that_breaks_frees_its_slot_and_its_session_ends(io_uring: bool) {
    let (engine, egress) = (engine(), egress(0, io_uring));
    let _publication = engine.publish(attempt()).await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..20 {
        let (_client, server) = narrow().await;
        let playback = engine.play(attempt()).await.unwrap();
        ends.push(playback.end_signal());
        let viewer = egress.attach(playback, Arc::new(server), Bytes::new(), false);
        drop(viewer.await.unwrap());
    }
    for end in ends {
        assert_eq!(end.wait().await, Reason::ClientClosed);
    }
    assert_eq!(egress.viewers(), 0);
}

async fn a_peer_that_is_gone_is_reported_and_the_others_go_on(io_uring: bool) {
    let (engine, egress) = (engine(), egress(0, io_uring));
    let mut publication = engine.publish(attempt()).await.unwrap();
    publication.push(frame(0, 100)).unwrap();
    let mut stay = Vec::new();
    for _ in 0..12 {
        stay.push(attach(&engine, &egress, b"", false).await);
    }
    let (goes, viewer) = attach(&engine, &egress, b"", false).await;
    drop(goes);
    let mut told = std::pin::pin!(poll_fn(|cx| viewer.poll_full(cx)));
    let mut sent = vec![(0, 100)];
    let error = loop {
        let n = (sent.len() % 200) as u8 + 1;
        publication.push(frame(n, 10)).unwrap();
        sent.push((n, 10));
        match timeout(Duration::from_millis(10), told.as_mut()).await {
            Ok(error) => break error,
            Err(_) => assert!(sent.len() < 1_000, "writing does not fail"),
        }
    };
    let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(gone.contains(&error.kind()), "{error}");
    let wanted = expected(b"", false, sent.into_iter());
    for (stays, _viewer) in stay {
        assert!(read_exact(stays, wanted.len()).await == wanted);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_system_forbids_io_uring_each_viewer_is_written_to_by_itself() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    let start = || {
        // This applies to this thread and the threads that it starts.
        let rules = [(libc::SYS_io_uring_setup, vec![])].into();
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
        apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        egress(0, true)
    };
    let (engine, egress) = (engine(), std::thread::spawn(start).join().unwrap());
    let mut publication = engine.publish(attempt()).await.unwrap();
    publication.push(frame(0, 100)).unwrap();
    let mut viewers = Vec::new();
    for _ in 0..12 {
        viewers.push(attach(&engine, &egress, b"", false).await);
    }
    assert_eq!(egress.io_uring_threads(), 0);
    publication.push(frame(1, 100)).unwrap();
    let wanted = expected(b"", false, [(0, 100), (1, 100)].into_iter());
    for (client, _viewer) in viewers {
        assert!(read_exact(client, wanted.len()).await == wanted);
    }
}

/// Caps the viewers that join from now on.
fn cap(engine: &Engine, bits_per_second: u64) {
    let mut limits = engine.limits();
    limits.viewer_bits_per_second = bits_per_second;
    engine.set_limits(limits);
}

async fn a_viewer_above_its_cap_waits_and_the_others_do_not(io_uring: bool) {
    let (engine, egress) = (engine(), egress(0, io_uring));
    let mut publication = engine.publish(attempt()).await.unwrap();
    publication.push(frame(0, 30_000)).unwrap();
    cap(&engine, 8_000_000);
    let capped = attach(&engine, &egress, b"first ", true).await;
    cap(&engine, 0);
    let free = attach(&engine, &egress, b"first ", false).await;
    let mut tasks = Vec::new();
    let mut readers = Vec::new();
    // Two seconds' worth are sent at once, and what is left needs another 0.3 s.
    let frames: Vec<_> = [(0, 30_000)]
        .into_iter()
        .chain((1..=240).map(|n| (n, 9_600)))
        .collect();
    let clock = SystemClock::new();
    let began = clock.monotonic();
    for ((client, viewer), marked) in [(free, false), (capped, true)] {
        tasks.push(tokio::spawn(async move {
            poll_fn(|cx| viewer.poll_full(cx)).await
        }));
        let wanted = expected(b"first ", marked, frames.iter().copied());
        let clock = clock.clone();
        readers.push(tokio::spawn(async move {
            assert!(read_exact(client, wanted.len()).await == wanted);
            clock.monotonic()
        }));
    }
    for (n, bytes) in frames.iter().skip(1) {
        publication.push(frame(*n, *bytes)).unwrap();
        tokio::task::yield_now().await;
    }
    let mut took = Vec::new();
    for reader in readers {
        took.push(reader.await.unwrap() - began);
    }
    assert!(took[1] >= Duration::from_millis(200), "{took:?}");
    assert!(took[1] < Duration::from_secs(10), "{took:?}");
    tasks.into_iter().for_each(|task| task.abort());
}

async fn a_viewer_above_its_cap_skips_to_a_keyframe_and_is_not_evicted(io_uring: bool) {
    let app = AppSpec::new("live")
        .subscriber_max_lag(20)
        .subscriber_lag_budget(0);
    let engine = Engine::builder().application(app).build().unwrap();
    let egress = egress(0, io_uring);
    let mut publication = engine.publish(attempt()).await.unwrap();
    // Each GOP has ten frames of a hundred bytes.
    let gop_frame = |n: u8| {
        let mut frame = frame(n, 100);
        if n.is_multiple_of(10) {
            frame.flags = FrameFlags::KEYFRAME;
        }
        frame
    };
    publication.push(gop_frame(0)).unwrap();
    let (free, _free) = attach(&engine, &egress, b"", false).await;
    cap(&engine, 8_000);
    let (client, viewer) = attach(&engine, &egress, b"", false).await;
    let task = tokio::spawn(async move { poll_fn(|cx| viewer.poll_full(cx)).await });
    let wanted = expected(b"", false, [(0, 100)].into_iter());
    for client in [&free, &client] {
        assert!(read_exact(client.try_clone().unwrap(), wanted.len()).await == wanted);
    }
    // The thread keeps up: it has served each frame before the next one comes.
    for n in 1..200 {
        publication.push(gop_frame(n)).unwrap();
        read_exact(free.try_clone().unwrap(), 100).await;
    }
    // What its cap allows at once, and then the newest GOP from its beginning.
    let mut next = 1;
    loop {
        let letter = read_exact(client.try_clone().unwrap(), 100).await[0];
        if letter != b'a' + next % 26 {
            assert_eq!(letter, b'a' + 190 % 26, "after {next}");
            break;
        }
        next += 1;
        assert!(next < 60, "it is not capped");
    }
    let skipped = engine
        .sessions()
        .into_iter()
        .map(|one| one.totals.dropped_frames);
    assert!(skipped.max() >= Some(100), "{:?}", engine.sessions());
    task.abort();
}

//! Measures the cost of encoding a record: `cargo run --release -p livetrail-record --example
//! encode_cost`.
//!
//! To count instructions, choose one kind and few rounds, such as `valgrind --tool=callgrind
//! target/release/examples/encode_cost canonical 1000`. Then subtract the count for 0 rounds.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement for people"
)]

use std::hint::black_box;
use std::time::Instant;

use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Outcome, Reason, RecordView, Uuid, encode_canonical,
    encode_canonical_into, encode_entry, encode_line_into, parse_canonical, parse_line,
};

const ROUNDS: u32 = 500_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let only = args.next();
    let rounds = args.next().map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let report = |what: &str, round: &mut dyn FnMut()| {
        if only.as_deref().is_none_or(|only| only == what) {
            report(what, rounds, round);
        }
    };
    let record = AuditRecord::new(AuditAction::PublishEnded, "live")
        .with_stream("cam-07")
        .with_ts_ms(1_763_805_600_123)
        .with_node("edge-1")
        .with_boot(Uuid::from_u128(1 << 100))
        .with_seq(123_456)
        .with_mono_ms(987_654)
        .with_nonce([7; 16])
        .with_session(Uuid::from_u128(1 << 101))
        .with_outcome(Outcome::Success)
        .with_reason(Reason::ClientClosed)
        .with_protocol("rtmp")
        .with_principal("studio-1")
        .with_peer("192.0.2.7:50312")
        .with_user_agent("FMLE/3.0 (compatible; FMSc/1.0)")
        .with_duration_ms(61_000)
        .with_bytes(123_456_789)
        .with_frames(1_830)
        .with_dropped_frames(0);
    let mut bytes = Vec::with_capacity(4_096);
    encode_canonical_into(&record, &mut bytes).unwrap();
    report("canonical", &mut || {
        bytes.clear();
        encode_canonical_into(black_box(&record), &mut bytes).unwrap();
    });
    let mut line = String::with_capacity(4_096);
    encode_line_into(&record, &mut line);
    report("line", &mut || {
        line.clear();
        encode_line_into(black_box(&record), &mut line);
    });
    report("parse canonical", &mut || {
        drop(black_box(parse_canonical(&bytes).unwrap()))
    });
    report("read in place", &mut || {
        black_box(RecordView::parse(black_box(&bytes)).unwrap());
    });
    report("parse line", &mut || {
        drop(black_box(parse_line(line.as_bytes()).unwrap()))
    });
    // The first record of a session, in both schemas. In schema 2 it makes the session's opening.
    let mut first = record.clone();
    first.action = AuditAction::PublishStarted;
    first.reason = None;
    (first.duration_ms, first.bytes) = (None, None);
    (first.frames, first.dropped_frames) = (None, None);
    let context = EntryContext::new([7; 16]);
    report("first record", &mut || {
        black_box(encode_canonical(black_box(&first)).unwrap());
    });
    report("first entry", &mut || {
        let entry = encode_entry(black_box(&first), &context).unwrap();
        black_box((entry.opening.unwrap().to_json(), entry.bytes));
    });
    report("later record", &mut || {
        black_box(encode_canonical(black_box(&record)).unwrap());
    });
    report("later entry", &mut || {
        black_box(encode_entry(black_box(&record), &context).unwrap());
    });
    let first_entry = encode_entry(&first, &context).unwrap();
    let opening = first_entry.opening.unwrap();
    report("commitment", &mut || {
        black_box(black_box(&opening).commitment());
    });
    report("read first entry", &mut || {
        black_box(RecordView::parse(black_box(&first_entry.bytes)).unwrap());
    });
    println!(
        "{} canonical bytes, {} bytes a line",
        bytes.len(),
        line.len()
    );
}

fn report(what: &str, rounds: u32, round: &mut dyn FnMut()) {
    let start = Instant::now();
    for _ in 0..rounds {
        round();
    }
    println!(
        "{what:<16} {:>6} ns",
        start.elapsed().as_nanos() / u128::from(rounds.max(1))
    );
}

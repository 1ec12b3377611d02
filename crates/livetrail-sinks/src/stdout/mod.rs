//! Standard output as lines of JSON, for containers and pipes.
//!
//! A line is that of a file in JSON ([`file`](crate::file)): `{"index":N,"leaf":"…","record":{…}}`. Nothing else is written there.
//!
//! - **At least once.** A pipe cannot say what it has taken, so the cursor is in a file of our own
//!   ([`local_cursor`](crate::local_cursor)), and moves when the system has taken a batch: what a killed process had not noted yet comes
//!   again, with the same bytes. What stands in a pipe when its reader ends, nobody gets.
//! - **Within one process each byte goes out once**, whatever came in between: what a slow reader has taken of a batch that was given up,
//!   or a full disk of a line, is not written again.
//! - **Nobody waits for the reader** but the thread that writes: an attempt has its deadline, and a server that stops does not wait.

mod build;
mod output;
mod sink;
#[cfg(test)]
mod tests;

pub use sink::{StandardOutput, StdoutSink, Turn};

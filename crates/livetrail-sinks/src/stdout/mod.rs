//! Standard output as lines of JSON, for containers and pipes.
//!
//! A line has the form of a file in JSON ([`file`](crate::file)):
//! `{"index":N,"leaf":"…","record":{…}}`. The sink writes nothing else there.
//!
//! - **At least once.** A pipe cannot report what its reader has read. So the cursor is in a file
//!   of our own ([`local_cursor`](crate::local_cursor)). It moves when the system has accepted a
//!   batch. If the process is killed before it moves the cursor, the same bytes come again. If the
//!   reader of a pipe ends, nobody gets the bytes that are still in the pipe.
//! - **Within one process each byte goes out once**, whatever happens in between. A slow reader may
//!   have read a part of an abandoned batch, and a full disk may have a part of a line. The sink
//!   does not write these parts again.
//! - **Only the writing thread waits for the reader.** An attempt has a deadline, and a server that
//!   stops does not wait.

mod build;
mod output;
mod sink;
#[cfg(test)]
mod tests;

pub use sink::{StandardOutput, StdoutSink, Turn};

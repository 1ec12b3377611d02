//! The format from outside: fixed bytes, both encodings, the checker, the tables in the documents.

mod common;
mod documents;
mod golden;
mod personal;
mod round_trip;
mod trails;

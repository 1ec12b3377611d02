//! A client for people and tests: publishes a file over RTMP, plays over RTMP and HTTP-FLV.

mod address;
mod file;
mod http;
mod player;
mod refused;
mod summary;

pub(crate) use address::PlayAddress;
pub(crate) use file::{FlvReader, FlvWriter};
pub(crate) use player::Player;
pub(crate) use refused::{Refused, refusal_of};
pub(crate) use summary::{Ended, Summary, Tally};

//! Web pages in Chromium: the browser itself, the packages from the npm registry that the pages
//! use, and players of HLS.

mod chromium;
mod packages;
mod players;

pub(crate) use chromium::command;
pub use chromium::{Chromium, Tab};
pub(crate) use packages::folder;
pub use players::{Player, Players, Watched};

//! A system without io_uring.

use std::io::{self, IoSlice};

use crate::Error;

/// A ring, which does not exist on this system: this type has no values.
#[derive(Debug)]
pub enum Ring {}

impl Ring {
    /// Fails, because there is no ring.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> Result<Self, Error> {
        let source = io::ErrorKind::Unsupported.into();
        Err(Error::Setup { source })
    }

    /// Sends, on systems that have a ring. Takes any handle of a socket, because not every system
    /// has file descriptors.
    ///
    /// # Errors
    /// None: without a ring this cannot be called.
    pub fn send<'a, S>(
        &mut self,
        _messages: impl IntoIterator<Item = (S, &'a [IoSlice<'a>])>,
        _results: &mut Vec<io::Result<usize>>,
    ) -> Result<(), Error> {
        match *self {}
    }
}

pub(crate) fn passes(_error: &io::Error) -> bool {
    false
}

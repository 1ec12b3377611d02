//! A system without io_uring.

use std::{
    io::{self, IoSlice},
    os::fd::BorrowedFd,
};

use crate::Error;

/// A ring, of which there is none here: this has no values.
#[derive(Debug)]
pub enum Ring {}

impl Ring {
    /// Says that there is none.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> Result<Self, Error> {
        let source = io::ErrorKind::Unsupported.into();
        Err(Error::Setup { source })
    }

    /// Sends, where there is a ring.
    pub fn send<'a>(
        &mut self,
        _messages: impl IntoIterator<Item = (BorrowedFd<'a>, &'a [IoSlice<'a>])>,
        _results: &mut Vec<io::Result<usize>>,
    ) -> Result<(), Error> {
        match *self {}
    }
}

pub(crate) fn passes(_error: &io::Error) -> bool {
    false
}

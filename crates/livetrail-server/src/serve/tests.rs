//! A running server, asked over its sockets.

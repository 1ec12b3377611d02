//! The segmenter with made frames: what comes out is what went in, and the rules hold.

mod cmaf;
mod stream;
mod ts;
mod unusual;

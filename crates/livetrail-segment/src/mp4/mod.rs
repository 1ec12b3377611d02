//! Fragmented MP4 (ISO/IEC 14496-12) as CMAF restricts it: init segments and chunks.

mod fragment;
mod init;

pub(crate) use fragment::fragment;
pub(crate) use init::init;

/// A box: its size, its type and what `content` writes.
fn put_box(out: &mut Vec<u8>, kind: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    content(out);
    let size = out.len().saturating_sub(at);
    let size = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(at..at.saturating_add(4)) {
        field.copy_from_slice(&size);
    }
}

/// A box with a version and flags.
fn put_full_box(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    content: impl FnOnce(&mut Vec<u8>),
) {
    put_box(out, kind, |out| {
        put_u32(out, u32::from(version) << 24 | flags);
        content(out);
    });
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len().saturating_add(count), 0);
}

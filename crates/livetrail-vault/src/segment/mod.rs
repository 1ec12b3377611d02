//! Segments: up to `segment_rows` rows each, with their keys.
//!
//! | file | content | changes |
//! |---|---|---|
//! | `N.keys` | a slot of 32 bytes per row | a slot is written once, and once more when its row is erased |
//! | `N.rows` | the rows | rows are appended; an erased one is overwritten |
//! | `N.index` | where rows are, and sorted tokens | replaced by one without the tokens of erased rows |
//!
//! The newest segment is *active*: rows are added to it, and its index is in memory. All others are
//! *full* and have an index file.

pub(crate) mod active;
pub(crate) mod full;
pub(crate) mod recover;

use crate::{
    disk::{self, Disk, Open},
    error::VaultError,
    format::{
        narrow,
        row::{self, At, Header, Row},
        slots,
    },
    key::Keys,
};

/// The state of a row.
#[derive(PartialEq, Eq)]
pub(crate) enum Read {
    /// It has no key.
    Erased,
    /// It has a key but does not open.
    Damaged,
    /// It opens.
    Row(Box<Row>),
}

/// The files of rows and keys, open for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    segment: u64,
    keys: Open,
    rows: Open,
}

impl Reader {
    pub(crate) fn open(disk: &Disk, segment: u64) -> Result<Self, VaultError> {
        Ok(Self {
            segment,
            keys: disk.open_to_read(&disk::keys(segment))?,
            rows: disk.open_to_read(&disk::rows(segment))?,
        })
    }

    pub(crate) fn row(&self, keys: &Keys, row: u32, offset: u64) -> Result<Read, VaultError> {
        read_row(
            &self.keys,
            &self.rows,
            keys,
            At {
                segment: self.segment,
                row,
            },
            offset,
        )
    }

    /// All slots.
    pub(crate) fn slots(&self) -> Result<Vec<[u8; 32]>, VaultError> {
        let mut bytes = vec![0; narrow(self.keys.len()?)];
        self.keys.read_exact_at(0, &mut bytes)?;
        let parsed = slots::parse(&bytes, self.segment);
        parsed
            .map(<[_]>::to_vec)
            .ok_or_else(|| VaultError::damaged(self.keys.path(), "its header is invalid"))
    }
}

pub(crate) fn read_row(
    keys_file: &Open,
    rows_file: &Open,
    keys: &Keys,
    at: At,
    offset: u64,
) -> Result<Read, VaultError> {
    let slot = zeroize::Zeroizing::new(keys_file.read_array::<32>(slots::offset(at.row))?);
    if *slot == [0; 32] {
        return Ok(Read::Erased);
    }
    if let Some(row) = open_row(rows_file, keys, at, offset, &slot)? {
        return Ok(Read::Row(Box::new(row)));
    }
    // Another process may have erased it in between.
    let now = zeroize::Zeroizing::new(keys_file.read_array::<32>(slots::offset(at.row))?);
    Ok(if *now == *slot {
        Read::Damaged
    } else {
        Read::Erased
    })
}

fn open_row(
    file: &Open,
    keys: &Keys,
    at: At,
    offset: u64,
    slot: &[u8; 32],
) -> Result<Option<Row>, VaultError> {
    let end = file.len()?;
    if offset.saturating_add(row::ALIGN) > end {
        return Ok(None);
    }
    let Some(header) = Header::parse(&file.read_array::<32>(offset)?) else {
        return Ok(None);
    };
    if offset.saturating_add(header.frame_bytes()) > end {
        return Ok(None);
    }
    let mut frame = vec![0; narrow(header.frame_bytes())];
    file.read_exact_at(offset, &mut frame)?;
    Ok(row::open_frame(&frame, at, keys, slot))
}

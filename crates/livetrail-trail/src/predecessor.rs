//! A log that replaces a lost one. Its first entry contains the last checkpoint of the lost log.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use livetrail_clock::{Clock, SystemClock};
use livetrail_ledger::{Class, Ledger, RealStore, SharedStore, generate_seed, read_seed};
use livetrail_record::encode_canonical;
use livetrail_tlog::{Checkpoint, Note};

use super::{
    Error,
    create::{Created, identity},
};
use crate::operations;

/// The disk may take this long for the entry.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The last checkpoint of a lost log.
#[derive(Debug)]
pub struct Predecessor {
    origin: String,
    note: String,
}

impl Predecessor {
    /// Reads the checkpoint before anything is created. It is evidence about the other log, whose
    /// own key verifies it. Here it need only be a checkpoint.
    ///
    /// # Errors
    /// The file cannot be read, is not a signed checkpoint, or has the new log's origin.
    pub fn read(file: &Path, new_origin: Option<&str>) -> Result<Self, Error> {
        Ok(Self::parse(file, new_origin)?)
    }

    fn parse(file: &Path, new_origin: Option<&str>) -> anyhow::Result<Self> {
        let shown = file.display();
        let bytes = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        let parsed = Note::parse(&bytes).and_then(|note| Checkpoint::parse(note.text()));
        let checkpoint = parsed.with_context(|| format!("{shown} is not a signed checkpoint"))?;
        if new_origin == Some(checkpoint.origin()) {
            bail!(
                "{shown} is of the origin {}: a log that replaces another one has an origin of its own",
                checkpoint.origin()
            );
        }
        Ok(Self {
            origin: checkpoint.origin().to_owned(),
            note: String::from_utf8(bytes).with_context(|| format!("{shown} is not text"))?,
        })
    }

    /// Makes the checkpoint the first entry of a new trail, and seals it.
    ///
    /// # Errors
    /// The trail cannot be written. Remove it and create it again.
    pub fn record_in(self, created: &Created) -> Result<(), Error> {
        Ok(self.append_to(created)?)
    }

    fn append_to(self, created: &Created) -> anyhow::Result<()> {
        let store: SharedStore = Arc::new(RealStore::new(&created.directory));
        let [signer, cosigner] = &created.key_files;
        let seeds = [read_seed(signer)?, read_seed(cosigner)?];
        let identity = identity(&created.origin, &seeds)?;
        let (ledger, _) = Ledger::builder(store, identity).open()?;
        let mut nonce = [0; 16];
        for (byte, random) in nonce.iter_mut().zip(generate_seed()?.iter()) {
            *byte = *random;
        }
        // The record has no boot, because no server has run yet.
        let record = operations::trail_continued(self.origin, self.note)?
            .with_ts_ms(SystemClock::new().unix_ms())
            .with_nonce(nonce);

        let appended = ledger.append(Class::Strict, &[encode_canonical(&record)?])?;
        ledger.wait_sealed(appended.next, TIMEOUT)?;
        ledger.close()?;
        Ok(())
    }
}

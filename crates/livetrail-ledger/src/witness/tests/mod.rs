//! The exchange and its threads against a witness that follows the specification.

mod exchange;
mod running;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use livetrail_tlog::{
    AddCheckpoint, CosignatureSigner, KeyName, TreeHead, WITNESS_SIZE_TYPE, WitnessAnswer,
};

use super::{RawAnswer, Witness, WitnessOptions, WitnessTransport};
use crate::{identity::Identity, tests::harness::identity};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn cosigner(seed: u8) -> CosignatureSigner {
    let name = KeyName::new(format!("witness{seed}.example")).unwrap();
    CosignatureSigner::from_seed(name, &[seed; 32])
}

pub(super) fn witness(seed: u8) -> Witness {
    let url = format!("http://witness{seed}.example/w/");
    Witness::new(url, cosigner(seed).verifier_key()).unwrap()
}

pub(super) fn options() -> WitnessOptions {
    WitnessOptions {
        interval: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        ..WitnessOptions::default()
    }
}

/// A witness as specified, with the network in front of it.
pub(super) struct Model {
    key: CosignatureSigner,
    log: Identity,
    pub(super) state: Mutex<State>,
}

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) head: Option<TreeHead>,
    pub(super) down: bool,
    /// This many of the next answers are lost on the way, after they were made.
    pub(super) lose: u32,
    /// For each request: the old size in it, and the status of its answer.
    pub(super) answers: Vec<(u64, u16)>,
}

impl Model {
    pub(super) fn new(seed: u8) -> Arc<Self> {
        Arc::new(Self {
            key: cosigner(seed),
            log: identity(),
            state: Mutex::new(State::default()),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.state.lock().unwrap().head.map_or(0, |head| head.size)
    }

    /// Answers that a correct log never gets: a 409 except to `old 0`, a 422, or any other answer
    /// that is not a cosignature.
    pub(super) fn faults(&self) -> Vec<(u64, u16)> {
        let mut answers = self.state.lock().unwrap().answers.clone();
        answers.retain(|answer| !matches!(answer, (_, 200) | (0, 409)));
        answers
    }

    fn answer(&self, request: &AddCheckpoint, head: &mut Option<TreeHead>) -> WitnessAnswer {
        let Ok(checkpoint) = self
            .log
            .verifier()
            .unwrap()
            .verify_note(request.checkpoint().clone())
        else {
            return WitnessAnswer::Forbidden;
        };
        let (old, new) = (request.old_size(), checkpoint.head());
        let known = head.unwrap_or(TreeHead::EMPTY);
        if old > new.size {
            return WitnessAnswer::BadRequest;
        }
        if old != known.size {
            return WitnessAnswer::Conflict { size: known.size };
        }
        if new.verify_consistency(&known, request.proof()).is_err() {
            return WitnessAnswer::Inconsistent;
        }
        *head = Some(new);
        let mut note = checkpoint.note().clone();
        note.add_signature_of(&self.key.at(1_700_000_000)).unwrap();
        WitnessAnswer::Cosigned(note.signatures().last().cloned().into_iter().collect())
    }
}

impl WitnessTransport for Model {
    fn post(&self, url: &str, body: &str, _timeout: Duration) -> Result<RawAnswer, String> {
        assert!(url.ends_with(".example/w/add-checkpoint"), "{url}");
        let mut state = self.state.lock().unwrap();
        if state.down {
            return Err("cannot reach it".to_owned());
        }
        let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
        let answer = self.answer(&request, &mut state.head);
        state.answers.push((request.old_size(), answer.status()));
        if state.lose > 0 {
            state.lose -= 1;
            return Err("the connection broke".to_owned());
        }
        Ok(RawAnswer {
            status: answer.status(),
            content_type: Some(WITNESS_SIZE_TYPE.to_owned()),
            body: answer.encode().into_bytes(),
        })
    }
}

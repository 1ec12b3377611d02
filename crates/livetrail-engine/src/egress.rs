//! Caps on what viewers are sent, in bits per second.
//!
//! - **A viewer's cap** is kept by the sender, see [`EgressCap`]. The engine only knows that the
//!   viewer was over its cap: it then skips frames, and is not evicted for that.
//! - **The caps of an application and of all of them** hold when a viewer starts. What the present
//!   viewers need is the sum of their streams' bitrates, each at most the viewer's cap. The
//!   engine's thread computes it every 250 ms, and viewers that come and go change it at once.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::{event::Reason, identity::AppName, lifecycle::SessionCore};

/// How much a viewer may be sent.
#[derive(Debug, Clone)]
pub struct EgressCap {
    bits_per_second: NonZeroU64,
    exceeded: Arc<AtomicBool>,
}

impl EgressCap {
    /// The smallest of these caps, without those that are 0.
    pub(crate) fn smallest(caps: impl IntoIterator<Item = u64>) -> Option<Self> {
        let caps = caps.into_iter().filter_map(NonZeroU64::new);
        caps.min().map(|bits_per_second| Self {
            bits_per_second,
            exceeded: Arc::default(),
        })
    }

    /// The cap, in bits per second.
    #[must_use]
    pub const fn bits_per_second(&self) -> u64 {
        self.bits_per_second.get()
    }

    /// Notes that frames wait because of the cap. If the viewer falls too far behind then, it skips
    /// to the newest keyframe and is not evicted for that.
    pub fn exceeded(&self) {
        self.exceeded.store(true, Relaxed);
    }

    /// Whether frames have waited since the last time.
    pub(crate) fn was_exceeded(&self) -> bool {
        self.exceeded.swap(false, Relaxed)
    }
}

/// What this viewer needs, in bits per second: its stream's bitrate, at most its cap.
pub(crate) fn need_of(core: &SessionCore) -> u64 {
    let qos = core.stream.qos.snapshot(core.engine.now_ms());
    let bitrate = qos.video_bitrate_bps.saturating_add(qos.audio_bitrate_bps);
    let cap = core.grant.cap.as_ref().map(EgressCap::bits_per_second);
    cap.map_or(bitrate, |cap| bitrate.min(cap))
}

/// Whether one more viewer that needs `more` is allowed; 0 means that there is no cap.
pub(crate) fn within(present: u64, more: u64, cap: u64) -> Result<(), Reason> {
    // A stream that has not begun to flow needs something as well.
    if cap > 0 && present.saturating_add(more.max(1)) > cap {
        return Err(Reason::LimitReached);
    }
    Ok(())
}

/// What all viewers need, and those of each application.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) all: u64,
    pub(crate) of_app: HashMap<AppName, u64>,
}

impl Needs {
    /// The needs of these sessions.
    pub(crate) fn of<'a>(viewers: impl Iterator<Item = &'a Arc<SessionCore>>) -> Self {
        let mut needs = Self::default();
        for core in viewers {
            let need = need_of(core);
            core.grant.need_bps.store(need, Relaxed);
            needs.all = needs.all.saturating_add(need);
            match needs.of_app.get_mut(&core.context.key.app) {
                Some(of_app) => *of_app = of_app.saturating_add(need),
                None => {
                    needs.of_app.insert(core.context.key.app.clone(), need);
                }
            }
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_cap_counts_and_zero_is_none() {
        let smallest = |caps: [u64; 3]| EgressCap::smallest(caps).map(|cap| cap.bits_per_second());
        assert_eq!(smallest([0, 0, 0]), None);
        assert_eq!(smallest([0, 9, 7]), Some(7));
        assert!(within(u64::MAX, 1, 0).is_ok());
        assert!(within(90, 10, 100).is_ok());
        assert!(within(91, 10, 100).is_err());
        assert!(
            within(100, 0, 100).is_err(),
            "a stream that does not flow yet"
        );
    }
}

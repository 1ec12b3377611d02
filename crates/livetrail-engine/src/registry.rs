//! The engine's current state: streams and their publishers, sessions, and their counts per owner.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    hash::Hash,
    ops::Bound,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    app::AppSettings,
    attempts::Address,
    builder::Limits,
    bus::Stream,
    egress::{self, Needs, need_of},
    event::{Reason, Role, SessionContext},
    identity::{AppName, SessionId, StreamKey},
    kept::{KeptStreams, may_come_back},
    lifecycle::SessionCore,
    pattern::AppPattern,
};

/// Streams, publishers and sessions. Bounded by the limits on publishers and viewers, and by the
/// connections that the gateways accept.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) closed: bool,
    /// How many times credentials were revoked: attempts that were authenticated earlier are
    /// checked again.
    pub(crate) revocations: u64,
    pub(crate) publishers: HashMap<StreamKey, Arc<SessionCore>>,
    pub(crate) sessions: HashMap<SessionId, Arc<SessionCore>>,
    /// The same sessions by number, which is the order in which they started.
    by_number: BTreeMap<u64, Arc<SessionCore>>,
    /// Streams without a publisher.
    pub(crate) kept: KeptStreams,
    /// Publishers that take a stream over once all gates have let them pass.
    standby: usize,
    started: u64,
    /// What all viewers need, in bits per second.
    egress_bps: u64,
    by_address: HashMap<Address, OfOwner>,
    by_principal: HashMap<Arc<str>, OfOwner>,
    by_app: HashMap<AppName, OfApp>,
    /// Applications with a session, per pattern.
    instances: HashMap<AppPattern, usize>,
}

/// The sessions of one address or principal.
#[derive(Default, Clone, Copy)]
struct OfOwner {
    publishers: usize,
    sessions: usize,
}

/// The sessions of one application.
#[derive(Default)]
struct OfApp {
    publishers: usize,
    viewers: usize,
    /// What its viewers need, in bits per second.
    egress_bps: u64,
    /// The pattern for which it counts as an instance.
    pattern: Option<AppPattern>,
}

/// How a publisher starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// It is the stream's publisher.
    Key,
    /// It becomes the publisher once the gates have admitted it; until then another one is.
    Standby,
}

impl Registry {
    /// Registers a publisher, unless a limit forbids it or the stream's publisher must not be
    /// replaced.
    pub(crate) fn add_publisher(
        &mut self,
        core: &Arc<SessionCore>,
        limits: &Limits,
        may_replace: impl FnOnce(&SessionCore) -> bool,
    ) -> Result<(), Reason> {
        let present = self.publishers.get(&core.context.key).cloned();
        // A publisher whose end is decided no longer counts.
        let live = present.as_ref().filter(|old| old.ending().is_none());
        if live.is_some_and(|old| !may_replace(old)) {
            return Err(Reason::AlreadyPublishing);
        }
        let holds = match live {
            Some(_) => Holds::Standby,
            None => Holds::Key,
        };
        self.check_app(core)?;
        self.check_publisher(core, present.as_deref(), holds, limits)?;
        self.check_address(core, present.as_deref(), limits)?;
        self.check_principal(core, present.as_deref(), limits)?;
        if !core.engine.memory.has_room() {
            return Err(Reason::MemoryLimit);
        }
        match holds {
            Holds::Standby => {
                core.standby.store(true, Relaxed);
                self.standby += 1;
            }
            Holds::Key => {
                self.publishers
                    .insert(core.context.key.clone(), core.clone());
            }
        }
        core.stream.publishers.fetch_add(1, Relaxed);
        self.kept.published(&core.context.key);
        self.add(core);
        Ok(())
    }

    /// Registers a viewer, unless a limit forbids it.
    pub(crate) fn add_viewer(
        &mut self,
        core: &Arc<SessionCore>,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let subscribers = &core.stream.subscribers;
        if subscribers.load(Relaxed) >= limits.max_subscribers_per_stream as u64 {
            return Err(Reason::LimitReached);
        }
        self.check_app(core)?;
        self.check_address(core, None, limits)?;
        self.check_principal(core, None, limits)?;
        let need = self.check_egress(core, limits)?;
        // The registry's lock is held, so two viewers at once cannot exceed the limit.
        subscribers.fetch_add(1, Relaxed);
        self.add(core);
        core.grant.need_bps.store(need, Relaxed);
        self.egress_bps = self.egress_bps.saturating_add(need);
        if let Some(app) = self.by_app.get_mut(&core.context.key.app) {
            app.egress_bps = app.egress_bps.saturating_add(need);
        }
        Ok(())
    }

    /// Replaces what viewers need.
    pub(crate) fn set_needs(&mut self, needs: &Needs) {
        self.egress_bps = needs.all;
        for (name, app) in &mut self.by_app {
            app.egress_bps = needs.of_app.get(name).copied().unwrap_or(0);
        }
    }

    /// What this viewer needs, if the caps allow it.
    fn check_egress(&self, core: &SessionCore, limits: &Limits) -> Result<u64, Reason> {
        let of_app = core.stream.settings.egress_bits_per_second;
        if of_app == 0 && limits.egress_bits_per_second == 0 {
            return Ok(0);
        }
        let need = need_of(core);
        let app = self.by_app.get(&core.context.key.app);
        let present = app.map_or(0, |app| app.egress_bps);
        egress::within(present, need, of_app)?;
        egress::within(self.egress_bps, need, limits.egress_bits_per_second)?;
        Ok(need)
    }

    /// Makes `core` the stream's publisher, after the gates have admitted it. Returns the old
    /// publisher, which must be ended.
    pub(crate) fn take_over(
        &mut self,
        core: &Arc<SessionCore>,
        may_replace: impl FnOnce(&SessionCore) -> bool,
    ) -> Result<Option<Arc<SessionCore>>, Reason> {
        if let Some(reason) = core.ending() {
            return Err(reason);
        }
        let present = self.publishers.get(&core.context.key).cloned();
        if present
            .as_ref()
            .is_some_and(|old| old.ending().is_none() && !may_replace(old))
        {
            return Err(Reason::AlreadyPublishing);
        }
        self.end_standby(core);
        self.publishers
            .insert(core.context.key.clone(), core.clone());
        Ok(present)
    }

    /// Whether there is nothing to watch.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.kept.is_empty()
    }

    /// The stream that a publisher of this key continues, if its application lets viewers wait: the
    /// present publisher's stream, or the kept one.
    pub(crate) fn stream_to_resume(
        &self,
        key: &StreamKey,
        settings: &AppSettings,
    ) -> Option<Arc<Stream>> {
        if settings.wait_for_publisher.is_zero() {
            return None;
        }
        let present = self.publishers.get(key).map(|publisher| &publisher.stream);
        let stream = present.or_else(|| self.kept.get(key))?;
        (!stream.is_closed()).then(|| stream.clone())
    }

    /// The stream that a viewer of this key watches.
    pub(crate) fn stream_to_watch(&self, key: &StreamKey) -> Option<Arc<Stream>> {
        let publisher = self.publishers.get(key);
        let live = publisher.filter(|publisher| {
            let may_end = publisher
                .ending()
                .map(|reason| may_come_back(publisher, &reason));
            may_end.unwrap_or(true)
        });
        let stream = live.map(|publisher| &publisher.stream);
        stream.or_else(|| self.kept.get(key)).cloned()
    }

    /// All sessions, in the order in which they started.
    pub(crate) fn in_order(&self) -> Vec<Arc<SessionCore>> {
        self.by_number.values().cloned().collect()
    }

    /// Sessions with their numbers in this order, at most `most`, the first after this number.
    pub(crate) fn part_after(
        &self,
        after: Option<u64>,
        most: usize,
    ) -> Vec<(u64, Arc<SessionCore>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.by_number.range((from, Bound::Unbounded));
        let part = rest.map(|(number, core)| (*number, core.clone()));
        part.take(most).collect()
    }

    /// Removes a session that has ended for this reason. Returns its stream if that ends with it.
    pub(crate) fn remove(
        &mut self,
        core: &SessionCore,
        reason: &Reason,
        now: Duration,
    ) -> Option<Arc<Stream>> {
        let context = &core.context;
        self.sessions.remove(&context.session)?;
        self.by_number.remove(&core.number.load(Relaxed));
        let publishes = context.role == Role::Publish;
        if let Some(address) = Address::of_session(context) {
            OfOwner::subtract(&mut self.by_address, address, publishes);
        }
        if let Some(principal) = &context.principal {
            OfOwner::subtract(&mut self.by_principal, principal.clone(), publishes);
        }
        let need = core.grant.need_bps.load(Relaxed);
        self.egress_bps = self.egress_bps.saturating_sub(need);
        if let Some(app) = self.by_app.get_mut(&context.key.app) {
            app.egress_bps = app.egress_bps.saturating_sub(need);
        }
        self.remove_from_app(context);
        if !publishes {
            core.stream.subscribers.fetch_sub(1, Relaxed);
            return None;
        }
        let holds = self
            .publishers
            .get(&context.key)
            .is_some_and(|present| std::ptr::eq(&raw const **present, core));
        if holds {
            self.publishers.remove(&context.key);
        }
        self.end_standby(core);
        let (key, stream) = (&context.key, &core.stream);
        let others = stream.publishers.fetch_sub(1, Relaxed) > 1;
        let watched = stream.subscribers.load(Relaxed) > 0;
        let grace = stream.settings.wait_for_publisher;
        if holds && may_come_back(core, reason) && (others || watched) {
            self.kept.keep(key, stream, now.saturating_add(grace));
            return None;
        }
        let present = self.publishers.get(key);
        if present.is_some_and(|present| Arc::ptr_eq(&present.stream, stream)) {
            return None;
        }
        if !holds
            && self
                .kept
                .get(key)
                .is_some_and(|kept| Arc::ptr_eq(kept, stream))
        {
            self.kept.keep(key, stream, now.saturating_add(grace));
            return None;
        }
        self.kept.forget(key, stream);
        Some(stream.clone())
    }

    fn end_standby(&mut self, core: &SessionCore) {
        if core.standby.swap(false, Relaxed) {
            self.standby -= 1;
        }
    }

    fn add(&mut self, core: &Arc<SessionCore>) {
        let context = &core.context;
        let publishes = context.role == Role::Publish;
        core.number.store(self.started, Relaxed);
        self.started += 1;
        if let Some(address) = Address::of_session(context) {
            OfOwner::add(&mut self.by_address, address, publishes);
        }
        if let Some(principal) = &context.principal {
            OfOwner::add(&mut self.by_principal, principal.clone(), publishes);
        }
        self.add_to_app(core);
        self.by_number
            .insert(core.number.load(Relaxed), core.clone());
        self.sessions.insert(context.session, core.clone());
    }

    fn add_to_app(&mut self, core: &SessionCore) {
        let context = &core.context;
        let app = self.by_app.entry(context.key.app.clone());
        let app = app.or_insert_with(|| {
            let pattern = core.stream.settings.pattern.clone();
            if let Some(pattern) = &pattern {
                *self.instances.entry(pattern.clone()).or_default() += 1;
            }
            OfApp {
                pattern,
                ..OfApp::default()
            }
        });
        match context.role {
            Role::Publish => app.publishers += 1,
            Role::Play => app.viewers += 1,
        }
    }

    fn remove_from_app(&mut self, context: &SessionContext) {
        let Entry::Occupied(mut app) = self.by_app.entry(context.key.app.clone()) else {
            return;
        };
        match context.role {
            Role::Publish => app.get_mut().publishers -= 1,
            Role::Play => app.get_mut().viewers -= 1,
        }
        if app.get().publishers + app.get().viewers == 0
            && let Some(pattern) = app.remove().pattern
        {
            subtract(&mut self.instances, &pattern);
        }
    }

    /// Another application of a pattern, or another viewer of the application, must be allowed.
    fn check_app(&self, core: &SessionCore) -> Result<(), Reason> {
        let settings = &core.stream.settings;
        match self.by_app.get(&core.context.key.app) {
            Some(app) if core.context.role == Role::Play => {
                within(app.viewers, settings.max_viewers)
            }
            Some(_) => Ok(()),
            None => match &settings.pattern {
                Some(pattern) => {
                    let present = self.instances.get(pattern).copied().unwrap_or(0);
                    within(present, settings.max_instances)
                }
                None => Ok(()),
            },
        }
    }

    /// The replaced publisher does not count.
    fn check_publisher(
        &self,
        core: &SessionCore,
        replaced: Option<&SessionCore>,
        holds: Holds,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let context = &core.context;
        let of_app = self.by_app.get(&context.key.app);
        let of_app = of_app.map_or(0, |app| app.publishers);
        let max_of_app = match core.stream.settings.max_publishers {
            0 => limits.max_publishers_per_application,
            n => n,
        };
        within(
            of_app.saturating_sub(usize::from(replaced.is_some())),
            max_of_app,
        )?;
        // A publisher that takes a stream over needs no further slot; there are at most as many of
        // those as slots.
        let present = match (holds, replaced) {
            (Holds::Standby, _) => self.standby,
            (Holds::Key, Some(_)) => self.publishers.len().saturating_sub(1),
            (Holds::Key, None) => self.publishers.len(),
        };
        if present >= limits.max_publishers {
            return Err(Reason::LimitReached);
        }
        Ok(())
    }

    fn check_address(
        &self,
        core: &SessionCore,
        replaced: Option<&SessionCore>,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let Some(address) = Address::of_session(&core.context) else {
            return Ok(());
        };
        let of_address = self.by_address.get(&address).copied().unwrap_or_default();
        let same = replaced.is_some_and(|old| Address::of_session(&old.context) == Some(address));
        let others = of_address.sessions.saturating_sub(usize::from(same));
        within(others, limits.max_sessions_per_address)?;
        if core.context.role == Role::Publish {
            let others = of_address.publishers.saturating_sub(usize::from(same));
            within(others, limits.max_publishers_per_address)?;
        }
        Ok(())
    }

    fn check_principal(
        &self,
        core: &SessionCore,
        replaced: Option<&SessionCore>,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let Some(principal) = &core.context.principal else {
            return Ok(());
        };
        let owner = self
            .by_principal
            .get(principal)
            .copied()
            .unwrap_or_default();
        let same = replaced.is_some_and(|old| old.context.principal.as_ref() == Some(principal));
        let others = owner.sessions.saturating_sub(usize::from(same));
        if core
            .grant
            .limits
            .max_sessions
            .is_some_and(|most| others >= most)
        {
            return Err(Reason::LimitReached);
        }
        if core.context.role == Role::Publish {
            let others = owner.publishers.saturating_sub(usize::from(same));
            within(others, limits.max_publishers_per_principal)?;
        }
        Ok(())
    }
}

impl OfOwner {
    fn add<K: Eq + Hash>(counts: &mut HashMap<K, Self>, key: K, publishes: bool) {
        let owner = counts.entry(key).or_default();
        owner.sessions += 1;
        owner.publishers += usize::from(publishes);
    }

    fn subtract<K: Eq + Hash>(counts: &mut HashMap<K, Self>, key: K, publishes: bool) {
        if let Entry::Occupied(mut owner) = counts.entry(key) {
            owner.get_mut().sessions -= 1;
            owner.get_mut().publishers -= usize::from(publishes);
            if owner.get().sessions == 0 {
                owner.remove();
            }
        }
    }
}

/// Whether one more is allowed; 0 is no limit.
fn within(present: usize, limit: usize) -> Result<(), Reason> {
    if limit > 0 && present >= limit {
        return Err(Reason::LimitReached);
    }
    Ok(())
}

fn subtract<K: Eq + Hash + Clone>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

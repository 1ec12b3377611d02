//! Networks whose connections are closed at once.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use livetrail_engine::{ClientAddress, log};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{address::AddressGroup, clock};

/// Interval between two reports about the same group of addresses.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Interval between two checks for due reports.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of groups with their own reports at the same time; all further groups share
/// one report.
const MAX_GROUPS: usize = 64;

/// The denied networks. Cloning gives another handle to the same rules, which can be replaced while
/// they are in use.
///
/// A denied connection costs no more than its `accept`. The first one of a group of addresses is
/// reported at once. The next ones share one report with their number, every 10 seconds. At most 64
/// groups have their own reports in 10 seconds; all others share one more report.
#[derive(Clone, Default)]
pub struct DenyRules(Arc<Inner>);

/// Denied connections, for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeniedConnections {
    /// The gateway at which the last of them arrived, such as `rtmp`.
    pub gateway: &'static str,
    /// The client of the last of them; `None` for a report about many groups together.
    pub client: Option<ClientAddress>,
    /// The number of connections, at least one.
    pub count: u64,
    /// How long ago the first of them was.
    pub first_ago: Duration,
    /// How long ago the last of them was.
    pub last_ago: Duration,
}

type Hook = Box<dyn Fn(DeniedConnections) + Send + Sync>;

#[derive(Default)]
struct Inner {
    networks: ArcSwap<Vec<IpNet>>,
    denied: AtomicU64,
    hook: OnceLock<Hook>,
    table: Mutex<Table>,
    /// Signals the first entry of an empty table.
    begun: Notify,
}

/// At most [`MAX_GROUPS`] entries, and one for all others.
#[derive(Default)]
struct Table {
    groups: HashMap<AddressGroup, Entry>,
    others: Option<Entry>,
}

/// Connections since the last report.
struct Entry {
    gateway: &'static str,
    client: ClientAddress,
    count: u64,
    first: Instant,
    last: Instant,
    reported: Instant,
}

impl Entry {
    fn new(gateway: &'static str, client: ClientAddress, now: Instant) -> Self {
        Self {
            gateway,
            client,
            count: 0,
            first: now,
            last: now,
            reported: now,
        }
    }

    fn add(&mut self, gateway: &'static str, client: ClientAddress, now: Instant) {
        if self.count == 0 {
            self.first = now;
        }
        self.count = self.count.saturating_add(1);
        (self.gateway, self.client, self.last) = (gateway, client, now);
    }

    fn take(&mut self, now: Instant) -> Option<DeniedConnections> {
        self.reported = now;
        let count = std::mem::take(&mut self.count);
        (count > 0).then(|| DeniedConnections {
            gateway: self.gateway,
            client: Some(self.client),
            count,
            first_ago: now.saturating_duration_since(self.first),
            last_ago: now.saturating_duration_since(self.last),
        })
    }

    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.reported) >= REPORT_INTERVAL
    }
}

impl DenyRules {
    /// Denies these networks.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let rules = Self::default();
        rules.exchange(networks);
        rules
    }

    /// Replaces the networks, for connections that come from now on.
    pub fn exchange(&self, networks: impl IntoIterator<Item = IpNet>) {
        self.0
            .networks
            .store(Arc::new(networks.into_iter().collect()));
    }

    /// Sets the hook that gets each report. It can be set once: a second hook is ignored. It runs
    /// on the accepting task and must not wait.
    pub fn on_report(&self, hook: impl Fn(DeniedConnections) + Send + Sync + 'static) {
        let _ = self.0.hook.set(Box::new(hook));
    }

    /// The number of connections denied so far.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.0.denied.load(Relaxed)
    }

    /// Whether an address is denied. Counts nothing.
    #[must_use]
    pub fn is_denied(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.networks.load().iter().any(|net| net.contains(&ip))
    }

    /// Reports everything that has not been reported yet, whether it is due or not: for a program
    /// that stops.
    pub fn flush(&self) {
        self.report(clock::now(), true);
    }

    pub(crate) fn refuses(
        &self,
        gateway: &'static str,
        client: &ClientAddress,
        now: Instant,
    ) -> bool {
        let (client, ip) = (*client, client.peer.ip());
        if !self.is_denied(ip) {
            return false;
        }
        self.0.denied.fetch_add(1, Relaxed);
        let group = AddressGroup::from(ip);
        let report = {
            let mut table = self.table();
            let full = table.groups.len() >= MAX_GROUPS;
            match table.groups.get_mut(&group) {
                Some(entry) => {
                    entry.add(gateway, client, now);
                    None
                }
                None if full => {
                    let others = &mut table.others;
                    let entry = others.get_or_insert_with(|| Entry::new(gateway, client, now));
                    entry.add(gateway, client, now);
                    None
                }
                None => {
                    let mut entry = Entry::new(gateway, client, now);
                    entry.add(gateway, client, now);
                    let report = entry.take(now);
                    table.groups.insert(group, entry);
                    report
                }
            }
        };
        self.0.begun.notify_one();
        report.into_iter().for_each(|report| self.hand_out(report));
        true
    }

    /// Waits until there is something to report, and for a moment, then sends the due reports.
    pub(crate) async fn report_due(&self) {
        while self.table().is_empty() {
            self.0.begun.notified().await;
        }
        sleep(LOOK_INTERVAL).await;
        self.report(clock::now(), false);
    }

    fn report(&self, now: Instant, all: bool) {
        let mut due = Vec::new();
        {
            let mut table = self.table();
            table.groups.retain(|_, entry| {
                if !(all || entry.is_due(now)) {
                    return true;
                }
                let report = entry.take(now);
                let keep = report.is_some();
                due.extend(report);
                keep
            });
            if table.others.as_ref().is_some_and(|e| all || e.is_due(now)) {
                let others = table.others.take().and_then(|mut entry| entry.take(now));
                due.extend(others.map(|report| DeniedConnections {
                    client: None,
                    ..report
                }));
            }
        }
        due.into_iter().for_each(|report| self.hand_out(report));
    }

    fn hand_out(&self, report: DeniedConnections) {
        let address = report.client.map_or_else(
            || "others".to_owned(),
            |client| AddressGroup::from(client.peer.ip()).to_string(),
        );
        let DeniedConnections { gateway, count, .. } = report;
        tracing::info!(
            address = log::personal(address),
            gateway,
            count,
            "denied connections were closed"
        );
        if let Some(hook) = self.0.hook.get() {
            hook(report);
        }
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.others.is_none()
    }
}

impl fmt::Debug for DenyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenyRules")
            .field("networks", &self.0.networks.load())
            .field("denied", &self.denied())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn rules() -> (DenyRules, Arc<Mutex<Vec<DeniedConnections>>>) {
        let rules = DenyRules::new(["10.0.0.0/8".parse().unwrap()]);
        let reports = Arc::<Mutex<Vec<_>>>::default();
        let sink = reports.clone();
        rules.on_report(move |report| sink.lock().unwrap().push(report));
        (rules, reports)
    }

    fn peer(ip: &str) -> ClientAddress {
        ClientAddress::of_socket(SocketAddr::new(ip.parse().unwrap(), 5_000))
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_reported_at_once_and_the_others_by_number() {
        let (rules, reports) = rules();
        for _ in 0..1_000 {
            assert!(rules.refuses("rtmp", &peer("::ffff:10.1.1.1"), clock::now()));
        }
        assert!(!rules.refuses("rtmp", &peer("192.0.2.1"), clock::now()));
        assert_eq!(reports.lock().unwrap().len(), 1);
        for _ in 0..9 {
            rules.report_due().await;
        }
        assert_eq!(reports.lock().unwrap().len(), 1, "not due yet");
        rules.report_due().await;
        let counts: Vec<_> = reports.lock().unwrap().iter().map(|r| r.count).collect();
        assert_eq!(counts, [1, 999]);
        assert_eq!(reports.lock().unwrap()[1].last_ago, REPORT_INTERVAL);
        for _ in 0..10 {
            rules.report_due().await;
        }
        assert!(
            rules.table().is_empty(),
            "a group that has gone is forgotten"
        );
        assert_eq!((reports.lock().unwrap().len(), rules.denied()), (2, 1_000));
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_are_a_bounded_number_of_reports() {
        let (rules, reports) = rules();
        for n in 0..10_000_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            let ip = format!("10.{a}.{b}.{c}");
            assert!(rules.refuses("http", &peer(&ip), clock::now()));
        }
        rules.flush();
        let reports = reports.lock().unwrap();
        assert_eq!(reports.len(), MAX_GROUPS + 1);
        assert_eq!(reports.iter().map(|r| r.count).sum::<u64>(), 10_000);
        assert_eq!(reports.last().unwrap().client, None);
    }

    #[test]
    fn rules_are_exchanged_while_in_use() {
        let rules = DenyRules::new(["10.0.0.0/8".parse().unwrap()]);
        let other = rules.clone();
        other.exchange(["2001:db8::/32".parse().unwrap()]);
        assert!(!rules.is_denied("10.1.1.1".parse().unwrap()));
        assert!(rules.is_denied("2001:db8::7".parse().unwrap()));
    }
}

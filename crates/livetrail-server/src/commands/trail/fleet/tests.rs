//! Several trails in a directory: their order, their states, and chains across them.

use std::time::Duration;

use livetrail_ledger::{Class, Identity, Ledger, RealStore};
use livetrail_record::{Reason, Value, encode_canonical};
use tempfile::TempDir;

use super::*;
use crate::time;

const PATIENCE: Duration = Duration::from_secs(60);

/// 2026-11-22T14:00:00Z.
const START_MS: u64 = 1_795_356_000_000;

/// Sessions, by number.
const fn id(number: u128) -> livetrail_record::Uuid {
    livetrail_record::Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// A record at this second.
fn at(second: u64, action: AuditAction, session: u128) -> AuditRecord {
    AuditRecord::new(action, "live")
        .with_ts_ms(START_MS + second * 1_000)
        .with_session(id(session))
        .with_stream("cam")
}

fn ended(second: u64, action: AuditAction, session: u128) -> AuditRecord {
    at(second, action, session).with_reason(Reason::ClientClosed)
}

/// The publish of a relayed stream at an edge.
fn relayed(second: u64, session: u128, upstream: u128, epoch: i64) -> AuditRecord {
    let record = at(second, AuditAction::PublishStarted, session);
    let fields = [
        ("upstream_node", Value::Text("origin-a".to_owned())),
        ("upstream_session", Value::Text(id(upstream).to_string())),
        ("epoch", Value::Integer(epoch)),
    ];
    fields.into_iter().fold(record, |record, (name, value)| {
        record.with_extra(name, value).unwrap()
    })
}

/// A directory with trails.
struct Place {
    dir: TempDir,
    vkeys: Vec<String>,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            vkeys: Vec::new(),
        }
    }

    /// Adds the trail of a server with these records.
    fn with(mut self, name: &str, records: &[AuditRecord]) -> Self {
        let seed = u8::try_from(self.vkeys.len()).unwrap();
        let origin = format!("example.com/{name}");
        let (signer, cosigner) = ([seed + 1; 32].into(), [seed + 101; 32].into());
        let identity = Identity::from_seeds(origin, &signer, &cosigner).unwrap();
        let store: SharedStore = Arc::new(RealStore::new(self.dir.path().join(name)));
        Ledger::create(&store, &identity).unwrap();
        for key in [identity.signer_key(), identity.cosigner_key()] {
            self.vkeys.push(key.to_string());
        }
        let (ledger, _) = Ledger::builder(store, identity).open().unwrap();
        let entries = records.iter().enumerate().map(|(seq, record)| {
            let record = record.clone().with_seq(seq as u64).with_boot(id(999));
            encode_canonical(&record).unwrap().into()
        });
        let entries: Vec<bytes::Bytes> = entries.collect();
        ledger.append(Class::Strict, &entries).unwrap();
        ledger.wait_sealed(entries.len() as u64, PATIENCE).unwrap();
        ledger.close().unwrap();
        self
    }

    /// Opens it at this second.
    fn open(&self, second: u64) -> Fleet {
        let args = FleetArgs {
            fleet: true,
            postgres: None,
            postgres_ca: None,
            vkey: self.vkeys.clone(),
            silent_after: 3_600,
            heartbeat: 60,
            as_of: Some(time::rfc3339(START_MS + second * 1_000)),
            s3_endpoint: None,
            s3_region: String::new(),
        };
        Fleet::open(&args, Some(self.dir.path())).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn states(fleet: &Fleet) -> Vec<(&str, FleetState)> {
    let nodes = fleet.nodes.iter();
    nodes
        .map(|node| (node.origin.as_str(), node.state))
        .collect()
}

#[test]
fn records_of_all_trails_come_in_the_order_of_time_and_late_trails_are_known() {
    use AuditAction::{PlayEnded, PlayStarted, ServerStopped};
    let seconds = |seconds: &[u64]| -> Vec<AuditRecord> {
        let records = seconds.iter().zip(1..);
        records
            .map(|(second, number)| at(*second, PlayStarted, number))
            .collect()
    };
    let mut stopped = seconds(&[2]);
    stopped.push(AuditRecord::new(ServerStopped, "").with_ts_ms(START_MS + 3_000));
    let mut place = Place::new()
        .with("a", &seconds(&[1, 5, 9_000]))
        .with("b", &seconds(&[0, 6, 7, 8_700]))
        .with("c", &stopped)
        .with("d", &seconds(&[4]));
    // A key without a trail, and a trail without a key.
    let gone =
        Identity::from_seeds("example.com/gone", &[77; 32].into(), &[78; 32].into()).unwrap();
    place.vkeys.push(gone.signer_key().to_string());
    let place = place.with("stranger", &seconds(&[3]));
    let place = Place {
        vkeys: place.vkeys[..place.vkeys.len() - 2].to_vec(),
        ..place
    };
    let fleet = place.open(9_001);
    let [a, b, c, d, stranger, gone] =
        ["a", "b", "c", "d", "stranger", "gone"].map(|name| format!("example.com/{name}"));
    let wanted = [
        (a.as_str(), FleetState::Current),
        (&b, FleetState::Lags),
        (&c, FleetState::Stopped),
        (&d, FleetState::Silent),
        (&stranger, FleetState::Unknown),
        (&gone, FleetState::Absent),
    ];
    assert_eq!(states(&fleet), wanted);
    assert_eq!(fleet.nodes[1].behind_ms, Some(300_000));
    let why = fleet.nodes[4].problem.as_deref();
    assert_eq!(why, Some("no key was given for this origin"));

    let mut shown = Vec::new();
    let mut question = Question::default();
    question.filter.actions = vec![PlayStarted.label().to_owned(), PlayEnded.label().to_owned()];
    let each = &mut |found: Found| {
        shown.push((
            found.node,
            (found.record.ts_ms - START_MS) / 1_000,
            found.index,
        ));
        Ok(())
    };
    fleet
        .each(&question, each)
        .unwrap_or_else(|error| panic!("{error}"));
    let wanted = [
        (1, 0, 0),
        (0, 1, 0),
        (2, 2, 0),
        (3, 4, 0),
        (0, 5, 1),
        (1, 6, 1),
        (1, 7, 2),
        (1, 8_700, 3),
        (0, 9_000, 2),
    ];
    assert_eq!(shown, wanted);
    question.user_agent = Some("a player".to_owned());
    let refused = fleet
        .each(&question, &mut |_| Ok(()))
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("these trails have no names"),
        "{refused}"
    );
}

#[test]
fn a_chain_leads_from_a_viewer_at_an_edge_to_the_publisher_at_the_origin() {
    use AuditAction::{PlayEnded, PlayStarted, PublishEnded, PublishStarted};
    // Two publications at the origin, one after the other, which the edge has as two. Its viewer
    // saw the second one alone.
    let origin = [
        at(0, PublishStarted, 1),
        at(1, PlayStarted, 2),
        ended(100, PublishEnded, 1),
        at(200, PublishStarted, 3),
        ended(400, PublishEnded, 3),
        ended(400, PlayEnded, 2),
    ];
    let edge = [
        relayed(1, 11, 2, 0),
        ended(100, PublishEnded, 11),
        relayed(200, 12, 2, 1),
        at(250, PlayStarted, 13),
        ended(300, PlayEnded, 13),
        ended(400, PublishEnded, 12),
        relayed(500, 14, 88, 0),
        at(501, PlayStarted, 15),
    ];
    let place = Place::new().with("edge", &edge).with("origin", &origin);
    let fleet = place.open(600);
    let of = |session: u128| {
        let mut question = Question::default();
        question.filter.session = Some(id(session).to_string());
        let links = chain::chains(&fleet, &question).unwrap_or_else(|error| panic!("{error}"));
        serde_json::to_value(links).unwrap()
    };
    let name = |link: &serde_json::Value| {
        let word = |name: &str| link[name].as_str().unwrap_or("-").to_owned();
        let session = word("session");
        format!(
            "{} {} {} {}",
            word("kind"),
            word("origin"),
            &session[34..],
            word("by")
        )
    };
    let chain = of(13);
    let viewer = &chain[0];
    let mut names = vec![name(viewer)];
    let mut link = viewer;
    while let Some(next) = link["from"].get(0) {
        assert_eq!(link["from"].as_array().map(Vec::len), Some(1), "{chain:#}");
        names.push(name(next));
        link = next;
    }
    let wanted = [
        "play example.com/edge 0d -",
        "publish example.com/edge 0c stream",
        "play example.com/origin 02 upstream",
        "publish example.com/origin 03 stream",
    ];
    assert_eq!(names, wanted, "{chain:#}");
    assert_eq!(viewer["from"][0]["upstream"][0]["epoch"], 1);
    assert_eq!(
        viewer["from"][0]["upstream"][0]["upstream_node"],
        "origin-a"
    );
    assert_eq!(viewer["reason"], "client_closed");
    assert_eq!(viewer["entries"], serde_json::json!([3, 4]));

    // A server that is not in this place, and a viewer who is still there.
    let chain = of(15);
    let missing = &chain[0]["from"][0]["from"][0];
    assert_eq!(missing["origin"], serde_json::Value::Null, "{chain:#}");
    assert_eq!(missing["node"], "origin-a");
    assert_eq!(missing["session"], id(88).to_string());
    assert_eq!(chain[0]["ended_ms"], serde_json::Value::Null);
}

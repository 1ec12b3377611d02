//! What servers say to each other about a stream: the property `livetrail`.
//!
//! ```text
//! connect, from a node that asks for a stream        { hops: ["edge-2", "edge-1"] }
//! connect, from a node that sends a stream           { hops: ["origin", "edge-1"], session: UUID }
//! NetStream.Play.Start, to a node                    { hops: ["origin"], session: UUID, epoch: 0 }
//! NetStream.Play.PublishNotify, to a node            { hops: ["origin"], session: UUID, epoch: 1 }
//! ```
//!
//! The last of `hops` is the sender. Clients that do not send the property never get it.

use livetrail_engine::{Hops, MAX_HOPS, SessionId};
use livetrail_media::amf0::Value;

/// The property's name.
pub(super) const PROPERTY: &str = "livetrail";

/// The largest number that a double counts without gaps.
const MAX_EPOCH: f64 = 9_007_199_254_740_991.0;

/// The property of a command's object or a status, with its name.
pub(super) fn property(hops: &Hops) -> (String, Value) {
    let nodes = hops.nodes.iter().map(|node| Value::from(&**node)).collect();
    let mut all = vec![("hops".to_owned(), Value::StrictArray(nodes))];
    if let Some(session) = hops.session {
        all.push(("session".to_owned(), Value::from(session.to_string())));
    }
    if let Some(epoch) = hops.epoch {
        all.push(("epoch".to_owned(), Value::from(epoch as f64)));
    }
    (PROPERTY.to_owned(), Value::Object(all))
}

/// What the property of this object says. `None` without it, and if it has no node or a name that
/// is not one.
pub(super) fn of(object: Option<&Value>) -> Option<Hops> {
    let said = object?.get(PROPERTY)?;
    let Some(Value::StrictArray(nodes)) = said.get("hops") else {
        return None;
    };
    let nodes = nodes.iter().take(MAX_HOPS.saturating_add(1));
    let names: Option<Vec<_>> = nodes.map(Value::as_str).collect();
    let names = names.filter(|names| !names.is_empty())?;
    let mut hops = Hops::new(names).ok()?;
    let session = said.get("session").and_then(Value::as_str);
    if let Some(session) = session.and_then(|text| text.parse::<SessionId>().ok()) {
        hops = hops.session(session);
    }
    let epoch = said.get("epoch").and_then(Value::as_number);
    if let Some(epoch) = epoch.filter(|epoch| (0.0..=MAX_EPOCH).contains(epoch)) {
        hops = hops.epoch(epoch as u64);
    }
    Some(hops)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hops: &Hops) -> Value {
        Value::Object(vec![property(hops)])
    }

    #[test]
    fn what_is_said_is_heard_and_nonsense_is_not() {
        let hops = Hops::new(["origin", "edge"]).unwrap();
        assert_eq!(of(Some(&said(&hops))), Some(hops.clone()));
        let whole = hops.session(SessionId::at(7)).epoch(1 << 40);
        assert_eq!(of(Some(&said(&whole))), Some(whole));
        assert_eq!(of(None), None);
        assert_eq!(of(Some(&said(&Hops::default()))), None);
        let object = |inner| Value::object([(PROPERTY, inner)]);
        for inner in [
            Value::Null,
            Value::from("edge"),
            Value::object([("hops", Value::from("edge"))]),
            Value::object([("hops", Value::StrictArray(vec![Value::from(1.0)]))]),
            Value::object([("hops", Value::StrictArray(vec![Value::from("a/b")]))]),
        ] {
            assert_eq!(of(Some(&object(inner.clone()))), None, "{inner:?}");
        }
        let odd = Value::object([
            ("hops", Value::StrictArray(vec![Value::from("edge"); 100])),
            ("session", Value::from("no id")),
            ("epoch", Value::from(f64::NAN)),
        ]);
        let odd = of(Some(&object(odd))).unwrap();
        assert_eq!((odd.session, odd.epoch), (None, None));
        assert!(odd.forbid(None), "too many are still too many");
    }
}

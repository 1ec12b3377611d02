//! Records of several trees, in the order of time.

use std::{cmp::Reverse, collections::BinaryHeap};

use livetrail_index::{Hit, Hits, scan};
use livetrail_ledger::Reader;

use super::{Each, Found, Node, Question, warn_of_absent, warn_of_unreadable};
use crate::output::{Failure, complain, printable};

/// The records of one trail, with the next of them.
struct Lane<'a> {
    node: usize,
    hits: Hits<'a>,
    next: Option<Hit>,
}

/// Calls `each` with the records of all trails that match: always the oldest of those that are next
/// in a trail. So records of a trail keep its order, also if its clock was set back.
pub(super) fn each(
    nodes: &[Node],
    trails: &[(usize, Reader)],
    question: &Question,
    each: Each<'_>,
) -> Result<(), Failure> {
    if question.network.is_some() || question.user_agent.is_some() {
        return Err(Failure::unusable(anyhow::anyhow!(
            "these trails have no names: --peer and --user-agent need --postgres and a sink that keeps openings, or the server's own `livetrail trail query DATA`"
        )));
    }
    if question.filter.principal.is_some() {
        complain(
            "warning: only records of schema 1 are searched for this principal: these trails have no names",
        );
    }
    let mut lanes = Vec::new();
    let mut heap = BinaryHeap::new();
    for (node, reader) in trails {
        if question.only.is_some_and(|only| only != *node) {
            continue;
        }
        let hits = scan(reader, question.filter.clone());
        let mut lane = Lane {
            node: *node,
            hits: hits.map_err(Failure::unusable)?,
            next: None,
        };
        if let Some(ts_ms) = lane.advance(nodes)? {
            heap.push(Reverse((ts_ms, lanes.len())));
        }
        lanes.push(lane);
    }
    while let Some(Reverse((_, at))) = heap.pop() {
        let Some(lane) = lanes.get_mut(at) else { break };
        if let Some(hit) = lane.next.take() {
            each(Found {
                node: lane.node,
                index: hit.index,
                record: hit.record,
            })?;
        }
        if let Some(ts_ms) = lane.advance(nodes)? {
            heap.push(Reverse((ts_ms, at)));
        }
    }
    for lane in &lanes {
        let origin = nodes.get(lane.node).map_or("", |node| &node.origin);
        warn_of_absent(origin, lane.hits.absent());
        warn_of_unreadable(origin, lane.hits.unreadable());
    }
    Ok(())
}

impl Lane<'_> {
    /// Reads the next record. Returns its time.
    fn advance(&mut self, nodes: &[Node]) -> Result<Option<u64>, Failure> {
        let next = self.hits.next().transpose();
        self.next = next.map_err(|error| {
            let origin = nodes.get(self.node).map_or("", |node| &node.origin);
            Failure::unusable(anyhow::Error::new(error).context(printable(origin)))
        })?;
        Ok(self.next.as_ref().map(|hit| hit.record.ts_ms))
    }
}

//! Closes connections of denied networks at once, and records them.

use std::{sync::Arc, time::Duration};

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, Outcome, Reason};
use livetrail_engine::{Clock, SessionId};
use livetrail_gateway::{DeniedConnections, DenyRules};

use crate::{config::Config, operator::at};

/// The name of an application or a stream that the client has not yet named.
const UNNAMED: &str = "-";

/// The rules of `auth.deny_ips`. Their reports become records.
pub(super) fn rules(
    config: &Config,
    pipeline: Arc<AuditPipeline>,
    clock: Arc<dyn Clock>,
) -> DenyRules {
    let rules = DenyRules::new(config.auth.deny_ips.iter().copied());
    rules.on_report(move |denied| {
        let record = record_of(&denied, clock.unix_ms());
        let _ = pipeline.record(record);
    });
    rules
}

/// The record of such connections. A connection is closed before it says what it wants. Over RTMP
/// it counts as an attempt to publish, over HTTP as an attempt to play.
fn record_of(denied: &DeniedConnections, now_ms: u64) -> AuditRecord {
    let (action, protocol) = match denied.gateway {
        "rtmp" => (AuditAction::PublishDenied, "rtmp"),
        _ => (AuditAction::PlayDenied, "http"),
    };
    let mut record = AuditRecord::new(action, UNNAMED)
        .with_session(SessionId::at(now_ms).as_uuid())
        .with_stream(UNNAMED)
        .with_protocol(protocol)
        .with_outcome(Outcome::Denied)
        .with_reason(Reason::AddressDenied);
    if let Some(client) = denied.client {
        record = at(record, client);
    }
    if denied.count > 1 {
        let ago = |ago: Duration| {
            let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            now_ms.saturating_sub(ago_ms)
        };
        record = record
            .with_count(denied.count)
            .with_first_ts_ms(ago(denied.first_ago))
            .with_last_ts_ms(ago(denied.last_ago));
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_connections_are_a_refusal_with_a_number() {
        let rules = DenyRules::new(["127.0.0.0/8".parse().unwrap()]);
        let (reports, heard) = std::sync::mpsc::sync_channel(10);
        rules.on_report(move |denied| reports.send(denied).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = livetrail_gateway::Listener::bind("rtmp", "127.0.0.1:0").await;
            let listener = listener.unwrap().deny(rules.clone());
            let address = listener.local_addr().unwrap();
            for _ in 0..3 {
                tokio::net::TcpStream::connect(address).await.unwrap();
            }
            let wait = tokio::time::timeout(Duration::from_secs(10), listener.accept());
            tokio::pin!(wait);
            while rules.denied() < 3 {
                tokio::select! {
                    _ = &mut wait => panic!("nobody is let in, and soon enough"),
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
        });
        rules.flush();
        let mut reports: Vec<_> = heard.try_iter().collect();
        if let Some(others) = reports.last_mut() {
            others.first_ago = Duration::from_millis(900);
            others.last_ago = Duration::from_secs(9);
        }
        let records: Vec<_> = reports.iter().map(|d| record_of(d, 1_000)).collect();
        assert_eq!(records.len(), 2, "the first, and the others by number");
        assert_eq!(records[1].count, Some(2));
        let times = |record: &AuditRecord| (record.first_ts_ms, record.last_ts_ms);
        assert_eq!(times(&records[0]), (None, None));
        assert_eq!(times(&records[1]), (Some(100), Some(0)));
        for record in &records {
            assert_eq!(record.action, AuditAction::PublishDenied);
            assert!(record.session.is_some() && record.peer.is_some());
            assert_eq!(record.reason, Some(Reason::AddressDenied));
        }
    }
}

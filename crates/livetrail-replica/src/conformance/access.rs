//! Cases for sinks whose rights can be withdrawn.

use super::{Access, Following, TestLog, assert_equal, wait_until};
use crate::status::ReplicaState;

const ORIGIN: &str = "example.com/a";

/// Rights are withdrawn while the sink follows: this is reported at once, as a problem for a
/// person. After the rights are granted again, the sink continues by itself.
pub async fn revoked_rights_are_reported_at_once_and_checked_again<P: Access>() {
    let place = P::fresh().await;
    let log = TestLog::with(ORIGIN, 300);
    let following = Following::start(&log, place.sink().await);
    wait_until("the first entries are there", || {
        following.watch.status().cursor == Some(300)
    })
    .await;
    place.revoke().await;
    log.add(300);
    wait_until("the refusal is reported", || {
        following.watch.status().state == ReplicaState::Blocked
    })
    .await;
    let status = following.watch.status();
    assert!(status.last_error.is_some(), "{status:?}");
    assert_eq!(status.lag_records, 300, "{status:?}");
    place.grant().await;
    following.finish(&log).await;
    assert_equal(&place, &log).await;
}

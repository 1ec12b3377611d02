//! PostgreSQL only: the connection.

use livetrail_replica::ReplicaSink as _;
use livetrail_replica::conformance::Place as _;

use super::Table;

const ORIGIN: &str = "example.com/a";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// At a start a sink is asked in a runtime of its own, which is gone when it begins to follow.
#[test]
fn a_connection_that_has_ended_is_opened_again_without_an_error() {
    let following = runtime();
    let table = following.block_on(Table::fresh());
    let sink = table.direct();
    {
        let asking = runtime();
        let next = asking.block_on(sink.cursor(ORIGIN)).unwrap().next();
        assert_eq!(next, 0);
    }
    following.block_on(sink.cursor(ORIGIN)).unwrap();
}

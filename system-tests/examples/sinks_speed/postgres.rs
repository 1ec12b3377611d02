//! PostgreSQL, with its defaults for durability.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use livetrail_replica::ReplicaSink as _;
use livetrail_replica::conformance::TestLog;
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget, set_up};
use system_tests::Postgres;
use tokio::runtime::Runtime;

use crate::{Round, follow, in_turns, rate};

pub(crate) const BARE: &str =
    "binary `COPY` of the same rows into an equal table with equal indexes, all in one transaction";

const OUT: &str = "COPY (SELECT * FROM livetrail.records ORDER BY index) TO STDOUT (FORMAT binary)";

/// The parent has no rows of its own, so that this is what one month's partition is.
const TABLE: &str = "CREATE TABLE bare (LIKE livetrail.records INCLUDING ALL)";

const IN: &str = "COPY bare FROM STDIN (FORMAT binary)";

pub(crate) fn round(log: &TestLog, sink_first: bool) -> Round {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let rows = runtime.block_on(rows_of(log));
    let server = Postgres::start();
    let target = PostgresTarget::parse(&server.url()).expect("an address");
    runtime.block_on(set_up(&target)).expect("a schema");
    let sink = || {
        let sink = PostgresSink::new("postgres", target.clone()).expect("a sink");
        let rate = follow(log, Arc::new(sink));
        let held = server.sql("SELECT count(*) FROM livetrail.records");
        assert_eq!(held, log.size().to_string(), "all are there");
        rate
    };
    let bare = || {
        server.sql(TABLE);
        let rate = rate(log, || copy(&runtime, &server, &rows));
        let held = server.sql("SELECT count(*) FROM bare");
        assert_eq!(held, log.size().to_string(), "all are there");
        rate
    };
    in_turns(sink_first, sink, bare)
}

fn copy(runtime: &Runtime, server: &Postgres, rows: &[Bytes]) {
    runtime.block_on(async {
        let client = connect(server).await;
        let copying = client.copy_in(IN).await.expect("COPY");
        let mut copying = std::pin::pin!(copying);
        for part in rows {
            copying.send(part.clone()).await.expect("rows are taken");
        }
        copying.finish().await.expect("all are taken");
    });
}

/// The rows as the sink makes them, in pieces of the size that it sends: on a server of their own.
async fn rows_of(log: &TestLog) -> Vec<Bytes> {
    let server = Postgres::start();
    let target = PostgresTarget::parse(&server.url()).expect("an address");
    set_up(&target).await.expect("a schema");
    let sink = PostgresSink::new("postgres", target).expect("a sink");
    let mut next = 0;
    while next < log.size() {
        let range = log.range(next, 20_000);
        sink.append(&range).await.expect("rows");
        next = range.next();
    }
    let client = connect(&server).await;
    let copying = client.copy_out(OUT).await.expect("COPY");
    let mut copying = std::pin::pin!(copying);
    let mut rows = Vec::new();
    let mut piece = Vec::new();
    while let Some(row) = copying.next().await {
        piece.extend_from_slice(&row.expect("a row"));
        if piece.len() >= 256 << 10 {
            rows.push(std::mem::take(&mut piece).into());
        }
    }
    rows.push(piece.into());
    rows
}

async fn connect(server: &Postgres) -> tokio_postgres::Client {
    let connected = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await;
    let (client, connection) = connected.expect("a connection");
    tokio::spawn(connection);
    client
}

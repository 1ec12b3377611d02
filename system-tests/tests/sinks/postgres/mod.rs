//! The append-only table of PostgreSQL.

mod conformance;
mod outage;
mod own;
mod schema;
mod tls;
mod verify;

use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{
    Access, Erasing, Manipulation, Place, Proxy, Server, TestLog,
};
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget, set_up};
use system_tests::Postgres;

/// A server with the schema, and a writer with only the rights that it needs.
pub(crate) struct Table {
    pub(crate) server: Postgres,
    proxy: Proxy,
}

pub(crate) fn sink(url: &str) -> PostgresSink {
    PostgresSink::new("postgres", PostgresTarget::parse(url).unwrap()).unwrap()
}

impl Table {
    /// The writer's address, through the proxy.
    pub(crate) fn url(&self) -> String {
        format!("postgres://trail@{}/postgres", self.proxy.address())
    }

    /// The writer's sink, past the proxy.
    pub(crate) fn direct(&self) -> PostgresSink {
        sink(&self.server.url_of("trail"))
    }
}

#[async_trait]
impl Place for Table {
    async fn fresh() -> Self {
        let server = Postgres::start();
        let administrator = PostgresTarget::parse(&server.url()).unwrap();
        set_up(&administrator).await.unwrap();
        server.sql("CREATE ROLE trail LOGIN IN ROLE livetrail_writer");
        server.sql("CREATE ROLE names LOGIN IN ROLE livetrail_writer, livetrail_eraser");
        let proxy = Proxy::start(server.address()).await.unwrap();
        Self { server, proxy }
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(sink(&self.url()))
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        let connected = tokio_postgres::connect(&self.server.url(), tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        let statement = "SELECT index, entry FROM livetrail.records JOIN livetrail.logs USING (log_id) \
            WHERE origin = $1 ORDER BY index, ts";
        let rows = client.query(statement, &[&origin]).await.unwrap();
        rows.iter()
            .map(|row| (u64::try_from(row.get::<_, i64>(0)).unwrap(), row.get(1)))
            .collect()
    }

    async fn verify(&self, log: &TestLog) {
        verify::assert_sound(&self.server, log);
    }

    /// Connects as an administrator, whom no trigger stops.
    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        let size = log.size();
        let statements = match what {
            Manipulation::Emptied => {
                "DELETE FROM livetrail.records; DELETE FROM livetrail.checkpoints; \
                DELETE FROM livetrail.commits; DELETE FROM livetrail.logs;"
                    .to_owned()
            }
            Manipulation::Foreign => format!(
                "INSERT INTO livetrail.checkpoints (log_id, size, note) \
                 SELECT log_id, {size} + n, 'somebody else' FROM livetrail.logs, generate_series(1, 40) n;"
            ),
            Manipulation::Claimed => format!(
                "INSERT INTO livetrail.commits (log_id, first_index, next_index, checkpoint_size) \
                 SELECT log_id, {size}, {size} + 100, {size} + 100 FROM livetrail.logs;"
            ),
        };
        self.server.sql(&format!(
            "SET session_replication_role = replica; ALTER TABLE livetrail.records DISABLE TRIGGER ALL; \
             ALTER TABLE livetrail.checkpoints DISABLE TRIGGER ALL; ALTER TABLE livetrail.commits DISABLE TRIGGER ALL; \
             ALTER TABLE livetrail.logs DISABLE TRIGGER ALL; {statements}"
        ));
        true
    }
}

#[async_trait]
impl Erasing for Table {
    async fn opening_sink(&self) -> Arc<dyn ReplicaSink> {
        let url = format!("postgres://names@{}/postgres", self.proxy.address());
        Arc::new(sink(&url).keeping_openings())
    }

    async fn openings(&self, origin: &str) -> Vec<([u8; 16], Vec<u8>)> {
        let connected = tokio_postgres::connect(&self.server.url(), tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        let statement = "SELECT decode(replace(session::text, '-', ''), 'hex'), opening \
            FROM livetrail.openings JOIN livetrail.logs USING (log_id) WHERE origin = $1";
        let rows = client.query(statement, &[&origin]).await.unwrap();
        let id = |bytes: &[u8]| bytes.try_into().unwrap();
        rows.iter()
            .map(|row| (id(row.get(0)), row.get(1)))
            .collect()
    }
}

#[async_trait]
impl Server for Table {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    async fn kill(&self) {
        self.server.kill();
    }

    async fn restart(&self) {
        self.server.restart();
    }
}

#[async_trait]
impl Access for Table {
    async fn revoke(&self) {
        self.server.sql("REVOKE livetrail_writer FROM trail");
    }

    async fn grant(&self) {
        self.server.sql("GRANT livetrail_writer TO trail");
    }
}

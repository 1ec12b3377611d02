//! An hour's outage of PostgreSQL, which is killed and restarted; the verifier reads only the
//! table.

use futures_util::TryStreamExt as _;
use livetrail_sinks::postgres::{PostgresTarget, set_up};
use system_tests::Postgres;
use tokio::runtime::Runtime;

use crate::outage::{self, Log, ORIGIN, assert_sound};

struct Database {
    server: Postgres,
    runtime: Runtime,
}

impl Database {
    fn new() -> Self {
        let server = Postgres::start();
        let runtime = Runtime::new().unwrap();
        let administrator = PostgresTarget::parse(&server.url()).unwrap();
        runtime.block_on(set_up(&administrator)).unwrap();
        server.sql("CREATE ROLE trail LOGIN IN ROLE livetrail_writer");
        Self { server, runtime }
    }
}

impl outage::Place for Database {
    const NAME: &'static str = "postgres";

    fn words(&self, _log: &Log) -> Vec<String> {
        vec!["postgres".to_owned(), self.server.url_of("trail")]
    }

    fn goes_away(&self) {
        self.server.kill();
    }

    fn comes_back(&self) {
        self.server.restart();
    }

    fn read(&self, each: &mut dyn FnMut(u64, &[u8])) {
        self.runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.server.url(), tokio_postgres::NoTls)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let statement = "SELECT index, entry FROM livetrail.records JOIN livetrail.logs USING (log_id) \
                WHERE origin = $1 ORDER BY index, ts";
            // A row at a time, however many there are.
            let rows = client.query_raw(statement, [ORIGIN]).await.unwrap();
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = rows.try_next().await.unwrap() {
                let index = u64::try_from(row.get::<_, i64>(0)).unwrap();
                each(index, row.get(1));
            }
        });
    }

    fn verify(&self, log: &Log, entries: u64) {
        let url = self.server.url();
        let output = log.verifier(|verify| _ = verify.arg("--postgres").arg(url));
        assert_sound(output, entries);
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    outage::out_and_back(&Database::new());
}

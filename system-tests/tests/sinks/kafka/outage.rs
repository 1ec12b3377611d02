//! An hour's outage of the broker, which is killed and restarted; the verifier reads only the
//! topic.

use livetrail_sinks::kafka::{read_back, set_up};
use system_tests::KafkaBroker;

use super::{PARTITIONS, TOPIC, each, reader, target};
use crate::outage::{self, Log, ORIGIN, assert_sound};

struct Broker(KafkaBroker);

impl Broker {
    fn new() -> Self {
        let address = KafkaBroker::free_address();
        let broker = Self(KafkaBroker::start(address, address));
        set_up(&target(&broker.url()), PARTITIONS, 1).unwrap();
        broker
    }

    fn url(&self) -> String {
        let address = self.0.clients_address();
        format!("kafka://{address}/{TOPIC}?accept=one-replica")
    }
}

impl outage::Place for Broker {
    const NAME: &'static str = "kafka";
    /// This broker shows readers aborted records: when it is killed in the middle of a batch, that
    /// batch may appear twice. `faults` tests brokers that hide them.
    const DIES_BETWEEN_BATCHES: bool = true;

    fn words(&self, _log: &Log) -> Vec<String> {
        vec!["kafka".to_owned(), self.url()]
    }

    fn goes_away(&self) {
        self.0.kill();
    }

    fn comes_back(&self) {
        self.0.restart();
    }

    fn read(&self, found: &mut dyn FnMut(u64, &[u8])) {
        let client = reader(&self.0.clients_address().to_string());
        each(&client, PARTITIONS, ORIGIN, found);
    }

    fn verify(&self, log: &Log, entries: u64) {
        let copy = log.beside("copy");
        let read = read_back(&target(&self.url()), ORIGIN, &copy).unwrap();
        assert_eq!((read.size, read.entries), (entries, entries));
        let output = log.verifier(|verify| _ = verify.arg(&copy));
        assert_sound(output, entries);
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    outage::out_and_back(&Broker::new());
}

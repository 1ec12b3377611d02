//! An hour's outage of a collector, which is killed and restarted; the verifier reads only its
//! output.

use system_tests::OtlpCollector;

use super::entry;
use crate::outage::{self, Lines, Log, ORIGIN};

fn each(receiver: &OtlpCollector, mut each: impl FnMut(u64, &[u8])) {
    receiver.each_received(|record| {
        if record["resource"]["livetrail.origin"] == ORIGIN {
            let (index, entry) = entry(&record);
            each(index, &entry);
        }
    });
}

impl outage::Place for OtlpCollector {
    const NAME: &'static str = "otlp";
    const AT_LEAST_ONCE: bool = true;

    fn words(&self, log: &Log) -> Vec<String> {
        vec![
            "otlp".to_owned(),
            format!("http://{}", self.address()),
            log.cursors().to_str().unwrap().to_owned(),
        ]
    }

    fn goes_away(&self) {
        self.kill();
    }

    fn comes_back(&self) {
        self.restart();
    }

    fn read(&self, found: &mut dyn FnMut(u64, &[u8])) {
        each(self, found);
    }

    fn verify(&self, log: &Log, entries: u64) {
        let path = log.beside("lines.json");
        let mut lines = Lines::create(&path);
        each(self, |index, entry| lines.add(index, entry));
        lines.finish();
        log.verify_lines(&path, Self::NAME, entries);
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    outage::out_and_back(&OtlpCollector::start());
}

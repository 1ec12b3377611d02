//! An hour's outage of rsyslog, which is killed and restarted; the verifier reads only its output.

use crate::outage::{self, Lines, Log, ORIGIN};
use system_tests::syslog::{Kind, Receiver};

impl outage::Place for Receiver {
    const NAME: &'static str = "syslog";
    const AT_LEAST_ONCE: bool = true;

    fn words(&self, log: &Log) -> Vec<String> {
        let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        vec![
            "syslog".to_owned(),
            self.address().to_string(),
            path(self.file("")),
            path(log.cursors()),
        ]
    }

    fn goes_away(&self) {
        self.kill();
    }

    fn comes_back(&self) {
        self.restart();
    }

    fn read(&self, each: &mut dyn FnMut(u64, &[u8])) {
        self.each(ORIGIN, each);
    }

    fn verify(&self, log: &Log, entries: u64) {
        let path = log.beside("lines.json");
        let mut lines = Lines::create(&path);
        self.each(ORIGIN, &mut |index, entry| lines.add(index, entry));
        lines.finish();
        log.verify_lines(&path, Self::NAME, entries);
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    outage::out_and_back(&Receiver::start(Kind::RsyslogWithCertificates));
}

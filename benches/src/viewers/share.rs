//! The cost of the audit trail: two gateways of the same program at the same time, one with a trail
//! and one without observers.
//!
//! From one minute to the next the machine varies by more than the trail costs. So both run at
//! once, each with the same number of viewers and a publisher, and their processor times over the
//! same seconds are compared, pair by pair. The order of their starts changes from pair to pair,
//! and each pair consists of new processes.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{
    client::{Client, Plan},
    clip,
    server::{Kind, Server},
};
use crate::{confidence, median, spread};

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Of each of the two
    #[arg(long, default_value_t = 400)]
    viewers: usize,
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// Seconds that are measured, of each pair
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 10)]
    send_interval: u64,
    /// Both without a trail: the difference that the method shows where none exists
    #[arg(long)]
    control: bool,
    /// The FLV file to publish; made with ffmpeg unless given
    #[arg(long)]
    clip: Option<PathBuf>,
}

/// Seconds in which one of the two may begin to measure before the other.
const SLACK: f64 = 2.0;

/// Prints the difference.
pub fn run(options: &Options) -> Result<()> {
    let clip = options.clip.clone().map_or_else(clip::at_hand, Ok)?;
    println!(
        "{} viewers with a trail and {} without at once, {} s, {} pairs",
        options.viewers, options.viewers, options.seconds, options.pairs
    );
    let mut pairs = Vec::new();
    for pair in 0..options.pairs {
        let [with, without] = measure(options, &clip, pair % 2 == 0)?;
        eprintln!(
            "  with {:.4}, of which the trail's threads {:.4}, without {:.4} ms a viewer and second",
            with.all, with.trail, without.all
        );
        pairs.push((with, without));
    }
    let of = |value: &dyn Fn(&(Cost, Cost)) -> f64| pairs.iter().map(value).collect::<Vec<_>>();
    let shares = of(&|(with, without)| (with.all / without.all - 1.0) * 100.0);
    let own = of(&|(with, _)| with.trail * 100.0 / with.all);
    let (least, most) = confidence(&shares);
    println!(
        "with the trail {:.4} ms a viewer and second, without {:.4} (medians); the difference of each pair: {:+.2} % \
         (median), between {least:+.2} % and {most:+.2} % with 95 % confidence",
        median(&of(&|pair| pair.0.all)),
        median(&of(&|pair| pair.1.all)),
        median(&shares),
    );
    println!(
        "the trail's own threads: {} % of the processor time (median and range)",
        spread(&own, 2)
    );
    Ok(())
}

/// Milliseconds of processor time a viewer and second.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    all: f64,
    /// Of the pipeline's worker and the ledger's threads.
    trail: f64,
}

/// With the trail and without.
fn measure(options: &Options, clip: &Path, with_first: bool) -> Result<[Cost; 2]> {
    let plan = Plan {
        viewers: options.viewers,
        seconds: options.seconds + SLACK,
        streams: 1,
        storm: 0,
        storm_seconds: 1.0,
        passing: 0.0,
        clip,
    };
    let start = |first: bool| {
        let with = first == with_first;
        let kind = Kind::Gateway {
            interval_ms: options.send_interval,
            threads: 0,
            audited: with && !options.control,
        };
        let server = Server::start(&kind, Path::new(""), clip)?;
        let client = Client::start(&server, &plan)?;
        // The client ends before the server does.
        anyhow::Ok((with, client, server))
    };
    let mut both = [start(true)?, start(false)?];
    for (_, client, _) in &mut both {
        client.join()?;
    }
    for (_, client, _) in &mut both {
        client.await_joined()?;
    }
    let before = [both[0].2.usage()?, both[1].2.usage()?];
    std::thread::sleep(std::time::Duration::from_secs_f64(options.seconds));
    let after = [both[0].2.usage()?, both[1].2.usage()?];
    let mut cost = [Cost::default(); 2];
    for (at, (with, client, _)) in both.iter_mut().enumerate() {
        let used = after[at].since(&before[at]);
        let of_trail = |name: &str| name.starts_with("audit-") || name.starts_with("ledger-");
        let a_viewer = |seconds: f64| seconds * 1e3 / used.seconds / options.viewers as f64;
        cost[usize::from(!*with)] = Cost {
            all: a_viewer(used.cpu_seconds),
            trail: a_viewer(after[at].of_threads(&before[at], of_trail)),
        };
        let seen = client.report()?;
        ensure!(
            (seen.lost, seen.unplaced, seen.gaps) == (0, 0, 0),
            "not all viewers got all frames: {}",
            seen.line()
        );
    }
    Ok(cost)
}

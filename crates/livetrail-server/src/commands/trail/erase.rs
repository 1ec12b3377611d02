//! `livetrail trail erase`: personal data, on record.

use std::{net::IpAddr, process::ExitCode};

use livetrail_record::Uuid;
use livetrail_trail::{
    Personal,
    looked::notes,
    personal::{Answered, Asked, ErasureRequest, Whose},
};

use super::{
    change::{change, say_erased},
    keep::{Keeper, configuration, time_before},
};
use crate::{
    config::Config,
    output::{Failure, Outcome, say},
    serve::trail_settings,
};

/// Erase personal data, on record: the openings of a person, a network, sessions, or old ones. The
/// server may be running.
///
/// The log keeps its entries: they name nobody, and every proof stays valid. What is erased can
/// never be shown again. The record has the number of the request and the legal basis, and no name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  livetrail trail erase ./livetrail-data --principal alice --dry-run
  livetrail trail erase ./livetrail-data --principal alice --request 2026-17 --basis art17
  livetrail trail erase ./livetrail-data --network 192.0.2.0/24 --request 2026-18 --basis art17
  livetrail trail erase ./livetrail-data --older-than 180d --app live --request 2026-19 --basis policy

Exit codes: 0 done; 1 a legal hold keeps some of it, and the request waits; 2 nothing was erased, with the reason.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) keeper: Keeper,
    #[command(flatten)]
    pub(crate) whose: WhoseArgs,
    /// The operator's number of the request: 1 to 64 letters, digits, `-`, `_` and `.`. It is on
    /// record for ever, so it must not be a name.
    #[arg(long, value_name = "NUMBER", required_unless_present = "dry_run")]
    pub(crate) request: Option<String>,
    /// The legal basis, such as `art17`.
    #[arg(long, value_name = "WORD", required_unless_present = "dry_run")]
    pub(crate) basis: Option<String>,
    /// Only print how much would be erased. Changes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whose openings.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhoseSelector {
    /// Those of this principal: exactly the name by which the server knew the person. `-` reads it
    /// from standard input, so that it is in no list of processes.
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
    /// Those of peers in this network, such as `192.0.2.0/24`, or of one address.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) network: Option<(IpAddr, u8)>,
    /// Those of this session. May be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Vec<Uuid>,
    /// Those that began longer ago than this, such as `180d`.
    #[arg(long, value_name = "SPAN")]
    pub(crate) older_than: Option<String>,
}

/// Whose openings, and of which application.
#[derive(Debug, clap::Args)]
pub(crate) struct WhoseArgs {
    #[command(flatten)]
    pub(crate) selector: WhoseSelector,
    /// With --older-than: only those of this application.
    #[arg(long, value_name = "APP", requires = "older_than")]
    pub(crate) app: Option<String>,
}

/// A network: an address, or an address and the length of its prefix.
pub(super) fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let expected = || format!("expected ADDRESS or ADDRESS/BITS, such as 192.0.2.0/24: {text}");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| expected()))?;
    if bits > most {
        return Err(format!(
            "a prefix of this address has at most {most} bits: {text}"
        ));
    }
    Ok((address, bits))
}

/// The name, or the first line of standard input in its place.
pub(super) fn name_or_input(name: &str) -> Result<String, Failure> {
    if name != "-" {
        return Ok(name.to_owned());
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(Failure::unusable)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

impl WhoseArgs {
    fn whose(&self, config: &Config) -> Result<Whose, Failure> {
        let selector = &self.selector;
        if let Some(name) = &selector.principal {
            return Ok(Whose::Principal(name_or_input(name)?));
        }
        if let Some((address, bits)) = selector.network {
            return Ok(Whose::Network { address, bits });
        }
        if let Some(span) = &selector.older_than {
            return Ok(Whose::Older {
                before_ms: time_before(config, span)?,
                app: self.app.clone(),
            });
        }
        let sessions = selector.session.iter().map(|id| id.into_bytes());
        Ok(Whose::Sessions(sessions.collect()))
    }
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Outcome {
    let config = configuration(&args.keeper)?;
    let whose = args.whose.whose(&config)?;
    let settings = trail_settings(&config).map_err(Failure::unusable)?;
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "dry-run".to_owned());
    let (id, basis) = (word(&args.request), word(&args.basis));
    let request = ErasureRequest::new(id, basis, notes::local_user(), whose);
    let request = request.map_err(Failure::unusable)?;
    if args.dry_run {
        let personal = Personal::read_only(&settings).map_err(Failure::unusable)?;
        let selection = request.selection();
        let found = personal.with(|vault| vault.dry_run(&selection));
        let found = found.map_err(Failure::unusable)?;
        let held: Vec<&str> = found.holds.iter().map(String::as_str).collect();
        if args.json {
            let (erased, kept) = (found.erased, found.held);
            say(
                &serde_json::json!({"dry_run": true, "erased": erased, "held": kept, "holds": held})
                    .to_string(),
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        say(&format!("would erase {} openings", found.erased))?;
        if found.held > 0 {
            say(&format!(
                "would leave {} openings, because of the hold {}",
                found.held,
                held.join(", ")
            ))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let asked = Asked::Erase(request);
    let answered = change(&settings, "personal data are erased", &asked)?;
    let Answered::Erased(report) = answered else {
        return Err(Failure::unusable(anyhow::anyhow!(
            "the server gave an answer to another question"
        )));
    };
    if args.json {
        say(&serde_json::to_string(&report).map_err(anyhow::Error::from)?)?;
    } else {
        say_erased(&report)?;
    }
    Ok(ExitCode::from(u8::from(report.held > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_with_or_without_a_prefix() {
        let of = |text| network(text).map(|(address, bits)| format!("{address}/{bits}"));
        assert_eq!(of("192.0.2.7").as_deref(), Ok("192.0.2.7/32"));
        assert_eq!(of("192.0.2.0/24").as_deref(), Ok("192.0.2.0/24"));
        assert_eq!(of("2001:db8::/48").as_deref(), Ok("2001:db8::/48"));
        for wrong in [
            "",
            "alice",
            "192.0.2.0/33",
            "192.0.2.0/",
            "2001:db8::/129",
            "1.2.3/8",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}

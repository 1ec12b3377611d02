//! The commands of the command line, apart from the server itself.

pub(crate) mod config;
pub(crate) mod play;
pub(crate) mod publish;
pub(crate) mod serve;
pub(crate) mod token;
pub(crate) mod trail;

use std::{path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use livetrail_tls::ClientTls;

use crate::{
    client::Summary,
    output::{Failure, complain, say},
};

/// What a client shows to be admitted.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientToken {
    /// Stream key or signed token; a variable keeps it out of the process list.
    #[arg(
        long,
        value_name = "SECRET",
        env = "LIVETRAIL_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

/// Whom a client trusts.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientTrust {
    /// For rtmps:// and https://: trust the authorities in this file (PEM), next to those of the
    /// system.
    #[arg(long, value_name = "FILE.pem", env = "LIVETRAIL_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// For servers that ask for it: show this certificate, with those of its issuers (PEM).
    #[arg(
        long,
        value_name = "FILE.pem",
        env = "LIVETRAIL_CERT",
        requires = "cert_key"
    )]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of that certificate (PEM).
    #[arg(
        long,
        value_name = "FILE.pem",
        env = "LIVETRAIL_CERT_KEY",
        requires = "cert"
    )]
    pub(crate) cert_key: Option<PathBuf>,
}

impl ClientTrust {
    /// The TLS of a client, if its address needs it.
    pub(crate) fn tls(&self, is_needed: bool) -> Result<Option<ClientTls>, Failure> {
        if !is_needed {
            return Ok(None);
        }
        let ca = self.ca.as_deref();
        let tls = match (&self.cert, &self.cert_key) {
            (Some(chain), Some(key)) => ClientTls::with_certificate(ca, (chain, key), &[]),
            _ => ClientTls::new(ca, &[]),
        };
        tls.map(Some).map_err(Failure::unusable)
    }
}

/// A progress bar on standard error if that is a terminal. Otherwise nothing is shown.
pub(crate) fn progress(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Prints the final figures on standard output. If the stream itself goes there, they go to
/// standard error.
fn show(summary: &Summary, did: &str, json: bool, stdout_is_taken: bool) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string(summary)?
    } else {
        summary.text(did)
    };
    if stdout_is_taken {
        complain(&text);
        return Ok(());
    }
    say(&text)
}

/// One client needs only one thread.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

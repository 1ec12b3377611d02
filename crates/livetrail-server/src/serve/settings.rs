//! Turns the configuration into the settings of the trail.

use super::sinks::configured;
use crate::config::Config;

/// The settings of the configured trail, with its sinks. No connection is made.
///
/// # Errors
/// The configuration of a witness or a sink cannot be used.
pub(crate) fn trail_settings(config: &Config) -> anyhow::Result<livetrail_trail::Settings> {
    let followers = configured(&config.sink, &config.data)?;
    let settings = config.trail.settings(&config.data)?;
    Ok(settings.node(&*config.node.0).followers(followers))
}

//! Turns the configuration into the settings of the trail.

use super::sinks::configured;
use crate::config::{Config, Names};

/// The settings of the configured trail, with its sinks. No connection is made.
///
/// # Errors
/// The configuration of a witness or a sink cannot be used.
pub(crate) fn trail_settings(config: &Config) -> anyhow::Result<livetrail_trail::Settings> {
    let followers = configured(&config.sink, &config.data)?;
    let mut settings = config.trail.settings(&config.data)?;
    for app in &config.application {
        let name = app.name.to_string();
        if app.names == Names::Personal {
            settings.personal_names.insert(name.clone());
        }
        if let Some(openings) = app.openings {
            settings.openings.apps.insert(name, Some(openings.0));
        }
    }
    Ok(settings.node(&*config.node.0).followers(followers))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Application;

    #[test]
    fn what_applications_say_about_personal_data_reaches_the_trail() {
        let mut config = Config::default();
        config.trail.retention.entries = Some("400d".parse().unwrap());
        let rooms = Application {
            name: "rooms".parse().unwrap(),
            names: Names::Personal,
            openings: Some("30d".parse().unwrap()),
            ..Application::default()
        };
        config.application.push(rooms);
        let settings = trail_settings(&config).unwrap();
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!(
            settings.personal_names.into_iter().collect::<Vec<_>>(),
            ["rooms"]
        );
        assert_eq!(settings.openings.apps["rooms"], days(30));
        // Openings do not outlive their entries.
        assert_eq!(
            (settings.openings.default, settings.retention.age),
            (days(400), days(400))
        );
    }
}

//! The two text formats of metrics. A client gets OpenMetrics if it asks for it, and otherwise the
//! older format, which every program reads.

/// OpenMetrics.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text format of Prometheus.
pub(super) const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a request's `Accept` asks for OpenMetrics. Its version is not compared.
pub(super) fn wants_open_metrics(accept: &str) -> bool {
    accept.split(',').any(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        let named = parts.next() == Some("application/openmetrics-text");
        let refused = parts.any(|part| part.replace(' ', "") == "q=0");
        named && !refused
    })
}

/// Translates OpenMetrics into the older text format. There the head of a counter has the name of
/// its samples, and units and the end are not written.
pub(super) fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The line of the kind follows. It decides the name in the head.
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let ending = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take().filter(|(named, _)| *named == name) {
                text += &format!("# HELP {name}{ending} {words}\n");
            }
            text += &format!("# TYPE {name}{ending} {kind}\n");
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_is_answered_unless_the_other_is_asked_for() {
        for (accept, wants) in [
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("application/openmetrics-text", true),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
                true,
            ),
            ("text/plain, application/openmetrics-text; q=0", false),
        ] {
            assert_eq!(wants_open_metrics(accept), wants, "{accept}");
        }
    }

    #[test]
    fn a_counters_head_has_the_name_of_its_samples() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1.5\n\
                    # HELP b Now.\n# TYPE b gauge\nb{x=\"y\"} 2\n# EOF\n";
        let old = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total 1.5\n\
                   # HELP b Now.\n# TYPE b gauge\nb{x=\"y\"} 2\n";
        assert_eq!(plain(open), old);
    }
}

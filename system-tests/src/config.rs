//! The configuration that a test gives its server, and the only other part of the harness that
//! knows names of the server: the shape of the API's answers.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

/// With these settings a test soon sees what was recorded, and a trail takes little space.
const TRAIL: &str =
    "checkpoint_interval = \"100ms\"\nwal_segment_size = \"9MiB\"\nreserve_size = \"1MiB\"\n";

/// A test has one address, so it must not be delayed for the attempts of many clients.
const BUDGETS: &str = "[limits.attempts]\nrate = 1000000\nburst = 1000000\n[limits.short_sessions]\nrate = 1000000\nburst = 1000000\n";

/// The settings that differ from test to test, named as in the configuration file. Others have the
/// server's default: one application, `live`, that everyone may publish to and play; publishing is
/// audited strictly.
#[derive(Debug, Clone, Default)]
pub struct Config {
    node: String,
    application: String,
    ingress: String,
    limits: String,
    audit: String,
    rtmp: String,
    http: String,
    trail: String,
    auth: String,
    keys: String,
    api_tokens: String,
    log_filter: Option<String>,
    log_personal: bool,
    default_trail: bool,
    default_budgets: bool,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The server's name.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.node = format!("node = {name:?}\n");
        self
    }

    /// Pulls streams of `live` from these nodes, each with its name and address, with this key. A
    /// pull stays open without a viewer for half a second.
    #[must_use]
    pub fn pull(self, origins: &[(&str, SocketAddr)], key: &str) -> Self {
        let mut this = self.application("wait_for_publisher = \"30s\"");
        add(
            &mut this.keys,
            "[[relay.pull]]\napplication = \"live\"\ngrace = \"500ms\"",
        );
        for node in origins {
            add_node(&mut this.keys, "[[relay.pull.origin]]", node, key);
        }
        this
    }

    /// Pushes streams of `live` to these nodes, each with its name and address, with this key.
    #[must_use]
    pub fn push(mut self, targets: &[(&str, SocketAddr)], key: &str) -> Self {
        add(&mut self.keys, "[[relay.push]]\napplication = \"live\"");
        for node in targets {
            add_node(&mut self.keys, "[[relay.push.target]]", node, key);
        }
        self
    }

    /// A line of `[[application]]`.
    #[must_use]
    pub fn application(mut self, line: &str) -> Self {
        add(&mut self.application, line);
        self
    }

    /// A line of `[application.ingress]`.
    #[must_use]
    pub fn ingress(mut self, line: &str) -> Self {
        add(&mut self.ingress, line);
        self
    }

    /// A line of `[limits]`.
    #[must_use]
    pub fn limits(mut self, line: &str) -> Self {
        add(&mut self.limits, line);
        self
    }

    /// A line of `[audit]`.
    #[must_use]
    pub fn audit(mut self, line: &str) -> Self {
        add(&mut self.audit, line);
        self
    }

    /// A line of `[rtmp]`.
    #[must_use]
    pub fn rtmp(mut self, line: &str) -> Self {
        add(&mut self.rtmp, line);
        self
    }

    /// A line of `[http]`.
    #[must_use]
    pub fn http(mut self, line: &str) -> Self {
        add(&mut self.http, line);
        self
    }

    /// What is logged, such as `trace`.
    #[must_use]
    pub fn log_filter(mut self, filter: &str) -> Self {
        self.log_filter = Some(filter.to_owned());
        self
    }

    /// The log has addresses and names of clients.
    #[must_use]
    pub fn log_personal(mut self) -> Self {
        self.log_personal = true;
        self
    }

    /// A line of `[trail]`.
    #[must_use]
    pub fn trail(mut self, line: &str) -> Self {
        add(&mut self.trail, line);
        self
    }

    /// The server's own defaults for the trail, instead of those that let a test see records soon.
    #[must_use]
    pub fn default_trail(mut self) -> Self {
        self.default_trail = true;
        self
    }

    /// The server's own budgets of attempts, instead of none.
    #[must_use]
    pub fn default_budgets(mut self) -> Self {
        self.default_budgets = true;
        self
    }

    /// A witness of the trail.
    #[must_use]
    pub fn witness(mut self, url: &str, key: &str) -> Self {
        add(&mut self.keys, "[[trail.witness]]");
        add(&mut self.keys, &format!("url = {url:?}\nkey = {key:?}"));
        self
    }

    /// A sink that follows the trail, with the lines of its table `[sink.KIND]`.
    #[must_use]
    pub fn sink(self, name: &str, kind: &str, lines: &str) -> Self {
        self.sink_with(name, "", kind, lines)
    }

    /// The same for a sink that may lack pruned entries.
    #[must_use]
    pub fn optional_sink(self, name: &str, kind: &str, lines: &str) -> Self {
        self.sink_with(name, "required = false\n", kind, lines)
    }

    /// The same for a sink that gets openings, and erases them again.
    #[must_use]
    pub fn sink_with_openings(self, name: &str, kind: &str, lines: &str) -> Self {
        self.sink_with(name, "personal = \"opening\"\n", kind, lines)
    }

    fn sink_with(mut self, name: &str, further: &str, kind: &str, lines: &str) -> Self {
        add(&mut self.keys, "[[sink]]");
        add(
            &mut self.keys,
            &format!("name = {name:?}\n{further}[sink.{kind}]\n{lines}"),
        );
        self
    }

    /// A line of `[auth]`.
    #[must_use]
    pub fn auth(mut self, line: &str) -> Self {
        add(&mut self.auth, line);
        self
    }

    /// A stream key that grants `publish`, `play` or `both`.
    #[must_use]
    pub fn key(mut self, name: &str, secret: &str, grant: &str) -> Self {
        add(&mut self.keys, "[[auth.key]]");
        add(
            &mut self.keys,
            &format!("name = {name:?}\nsecret = {secret:?}\ngrant = {grant:?}"),
        );
        self
    }

    /// A key that signs tokens of publishers and viewers.
    #[must_use]
    pub fn token_key(self, name: &str, secret: &str) -> Self {
        self.token_key_with(name, secret, "")
    }

    /// The same with further lines of its table.
    #[must_use]
    pub fn token_key_with(mut self, name: &str, secret: &str, lines: &str) -> Self {
        add(&mut self.keys, "[[auth.token_key]]");
        add(
            &mut self.keys,
            &format!("name = {name:?}\nsecret = {secret:?}\n{lines}"),
        );
        self
    }

    /// An issuer of tokens whose keys are at this address, with further lines of its table.
    #[must_use]
    pub fn auth_issuer(mut self, name: &str, url: &str, lines: &str) -> Self {
        add(&mut self.keys, "[[auth.jwks]]");
        let issuer = format!("name = {name:?}\nurl = {url:?}\nissuer = {name:?}\n{lines}");
        add(&mut self.keys, &issuer);
        self
    }

    /// A service that decides who may publish and play, with further lines of its table.
    #[must_use]
    pub fn auth_callback(mut self, url: &str, lines: &str) -> Self {
        add(&mut self.keys, "[[auth.callback]]");
        add(&mut self.keys, &format!("url = {url:?}\n{lines}"));
        self
    }

    /// Whole tables, such as `[tls]` with its settings.
    #[must_use]
    pub fn lines(mut self, lines: &str) -> Self {
        add(&mut self.keys, lines);
        self
    }

    /// A token of an operator.
    #[must_use]
    pub fn operator(self, name: &str, secret: &str) -> Self {
        self.api_token(name, secret, "operator")
    }

    /// A token with one role.
    #[must_use]
    pub fn api_token(mut self, name: &str, secret: &str, role: &str) -> Self {
        add(&mut self.api_tokens, "[[api.token]]");
        add(
            &mut self.api_tokens,
            &format!("name = {name:?}\nsecret = {secret:?}\nrole = {role:?}"),
        );
        self
    }

    /// The file.
    pub(crate) fn to_toml(&self, rtmp: SocketAddr, http: SocketAddr, data: &Path) -> String {
        let filter = self.log_filter.as_deref();
        let filter = filter.unwrap_or("info,livetrail_rtmp=debug");
        let mut text = format!(
            "{}data = {data:?}\n\n[log]\nfilter = {filter:?}\n",
            self.node
        );
        if self.log_personal {
            add(&mut text, "personal = true");
        }
        let rtmp = format!("listen = \"{rtmp}\"\n{}", self.rtmp);
        let http = format!("listen = \"{http}\"\n{}", self.http);
        let trail = if self.default_trail { "" } else { TRAIL };
        let trail = format!("{trail}{}", self.trail);
        for (section, lines) in [
            ("[rtmp]", &rtmp),
            ("[http]", &http),
            ("[[application]]", &self.application),
            ("[application.ingress]", &self.ingress),
            ("[limits]", &self.limits),
            ("[audit]", &self.audit),
            ("[auth]", &self.auth),
            ("[trail]", &trail),
        ] {
            let _ = write!(text, "\n{section}\n{lines}");
        }
        if !self.default_budgets {
            text += BUDGETS;
        }
        text + "\n" + &self.keys + "\n" + &self.api_tokens
    }
}

fn add_node(text: &mut String, table: &str, (name, at): &(&str, SocketAddr), key: &str) {
    let lines = format!("{table}\nname = {name:?}\nurl = \"rtmp://{at}\"\nsecret = {key:?}");
    add(text, &lines);
}

fn add(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Frames that `stream` (`app/stream`) has received, by the answer of `/api/v1/streams`; 0 when it
/// does not exist.
pub(crate) fn frames_of(streams: &Value, stream: &str) -> u64 {
    let named = |one: &&Value| {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("app"), text("stream")) == stream
    };
    let all = list_of(streams, "streams");
    let frames = all
        .iter()
        .find(named)
        .and_then(|stream| stream["frames"].as_u64());
    frames.unwrap_or(0)
}

/// The list in an answer of the API: its property `name`.
pub(crate) fn list_of(answer: &Value, name: &str) -> Vec<Value> {
    answer[name].as_array().cloned().unwrap_or_default()
}

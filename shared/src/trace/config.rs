//! What `[trace]` of a configuration means, in both tiers: which collector is told of which share of all traces.
//!
//! The environment variables that OpenTelemetry's own libraries read say the same as the keys, and win over the file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::config::secret::Secret;
use crate::config::units::Percent;
use crate::config::{Environment, Problems, Read, Shown, Value};

/// Where a collector takes traces, below the address that all of OTLP has.
const PATH: &str = "/v1/traces";

/// Secrets by the names of headers: a setting as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub BTreeMap<String, Secret>);

impl Read for Headers {
    fn key_paths(at: &str, out: &mut BTreeSet<String>) {
        out.insert(at.to_owned());
    }

    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        BTreeMap::read(value, at, problems).map(Self)
    }

    fn show(&self, at: &str, out: &mut Shown) {
        self.0.show(at, out);
    }
}

crate::raw! {
    /// What `[trace]` says of recording.
    pub struct Raw {
        /// `http://…` or `https://…`; "" records nothing.
        pub endpoint: String,
        /// Sent with each batch.
        pub headers: Headers,
        /// 0% to 100%.
        pub sample: Percent,
        /// 100ms to 1m.
        pub timeout: Duration,
        /// 1 to 100000.
        pub max_queue: usize,
    }
}

/// What is recorded, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Who is told; `None` records nothing.
    pub collector: Option<Collector>,
    /// Of so many traces.
    pub sample: Percent,
    /// Spans that may wait to be sent.
    pub max_queue: usize,
}

/// Whoever is told of spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Where exactly.
    pub url: String,
    /// Sent with each batch.
    pub headers: Vec<(String, Secret)>,
    /// How long one batch may take.
    pub timeout: Duration,
    /// Whose spans they are, where the environment says so.
    pub service: Option<String>,
    /// What else is known about whose they are.
    pub attributes: Vec<(String, String)>,
}

impl Collector {
    /// One that asks for nothing.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            service: None,
            attributes: Vec::new(),
        }
    }
}

/// Reads what a file and the environment say, noting everything that is wrong with it.
pub fn parse(raw: Raw, environment: Environment<'_>, problems: &mut Problems) -> Settings {
    let either = |name: &str| {
        let own = environment(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
        own.or_else(|| environment(&format!("OTEL_EXPORTER_OTLP_{name}")))
    };
    let timeout = match either("TIMEOUT").map(|text| text.parse().map(Duration::from_millis)) {
        Some(Ok(timeout)) => timeout,
        Some(Err(_)) => {
            problems.push("trace.timeout", "OTEL_EXPORTER_OTLP_TIMEOUT must be a number of milliseconds");
            Duration::from_secs(1)
        }
        None => problems.require("trace.timeout", raw.timeout),
    };
    if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&timeout) {
        problems.push("trace.timeout", "must be between 100ms and 1m");
    }
    let max_queue = problems.require("trace.max_queue", raw.max_queue);
    if !(1..=100_000).contains(&max_queue) {
        problems.push("trace.max_queue", "must be between 1 and 100000");
    }
    let sample = sampler(environment, problems).unwrap_or(problems.require("trace.sample", raw.sample));
    let url = endpoint(&raw.endpoint.unwrap_or_default(), environment, problems);
    let is_off = environment("OTEL_SDK_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true"));
    let collector = url.filter(|_| !is_off).map(|url| Collector {
        url,
        headers: match either("HEADERS") {
            Some(text) => pairs(&text).into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            None => headers(raw.headers.unwrap_or_default(), environment, problems),
        },
        timeout,
        service: environment("OTEL_SERVICE_NAME"),
        attributes: environment("OTEL_RESOURCE_ATTRIBUTES").map(|text| pairs(&text)).unwrap_or_default(),
    });
    Settings { collector, sample, max_queue: max_queue.clamp(1, 100_000) }
}

/// Where traces are taken, if anywhere.
fn endpoint(file: &str, environment: Environment<'_>, problems: &mut Problems) -> Option<String> {
    let exact = environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = environment("OTEL_EXPORTER_OTLP_ENDPOINT").or((!file.is_empty()).then(|| file.to_owned()));
    let url = exact.or_else(|| base.map(|base| format!("{}{PATH}", base.trim_end_matches('/'))))?;
    let protocol = environment("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
    let protocol = protocol.or_else(|| environment("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if protocol.is_some_and(|protocol| protocol != "http/protobuf") {
        problems.push(
            "trace.endpoint",
            "traces are sent as http/protobuf alone: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL to that, and name the \
             collector's port for HTTP (4318)",
        );
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        problems.push("trace.endpoint", format!("must begin with http:// or https://, got {url:?}"));
    }
    Some(url)
}

/// The share that the environment asks for.
fn sampler(environment: Environment<'_>, problems: &mut Problems) -> Option<Percent> {
    let name = environment("OTEL_TRACES_SAMPLER")?;
    let share = match name.trim_start_matches("parentbased_") {
        "always_on" => Some(1.0),
        "always_off" => Some(0.0),
        "traceidratio" => match environment("OTEL_TRACES_SAMPLER_ARG") {
            None => Some(1.0),
            Some(text) => text.parse().ok().filter(|share| (0.0..=1.0).contains(share)),
        },
        _ => None,
    };
    if share.is_none() {
        problems.push(
            "trace.sample",
            format!(
                "OTEL_TRACES_SAMPLER must be always_on, always_off or traceidratio with a number from 0 to 1 in \
                 OTEL_TRACES_SAMPLER_ARG, got {name:?}"
            ),
        );
    }
    share.map(|share: f64| Percent::of(share * 100.0))
}

fn headers(raw: Headers, environment: Environment<'_>, problems: &mut Problems) -> Vec<(String, Secret)> {
    let mut headers = Vec::new();
    for (name, secret) in raw.0 {
        let at = format!("trace.headers.{name}");
        if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            problems.push(&at, "is no name that a header can have");
        }
        match secret.resolve(environment) {
            Ok(secret) => headers.push((name, secret)),
            Err(why) => problems.push(&at, why),
        }
    }
    headers
}

/// `a=b,c=d`, as the environment writes lists; values may be percent-encoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
    pairs.map(|(name, value)| (name.trim().to_owned(), decoded(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Invalid, read_text};

    const REFERENCE: &str = "endpoint = ''\nheaders = {}\nsample = '1%'\ntimeout = '10s'\nmax_queue = 2048\n";

    fn settings(file: &str, environment: &[(&str, &str)]) -> Result<Settings, Invalid> {
        let known = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let reference = read_text("reference", REFERENCE, |raw: Raw, _| raw).unwrap();
        read_text("test", file, |raw: Raw, problems| parse(raw.or(reference), &known, problems))
    }

    #[test]
    fn nothing_is_recorded_unless_a_collector_is_named() {
        assert_eq!(settings("", &[]).unwrap().collector, None);
        let named = settings("endpoint = 'http://localhost:4318/'", &[]).unwrap();
        assert_eq!(named.collector, Some(Collector::at("http://localhost:4318/v1/traces")));
        let off = settings("endpoint = 'http://localhost:4318'", &[("OTEL_SDK_DISABLED", "true")]).unwrap();
        assert_eq!(off.collector, None);
    }

    #[test]
    fn the_environment_of_opentelemetry_wins_over_the_file() {
        let found = settings(
            "endpoint = 'http://file:4318'\nheaders = { a = 'b' }",
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://variable:4318"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, x = y"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
                ("OTEL_SERVICE_NAME", "blog"),
                ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=production"),
            ],
        )
        .unwrap();
        assert_eq!(found.sample, Percent::of(25.0));
        let collector = found.collector.unwrap();
        assert_eq!(collector.url, "https://variable:4318/v1/traces");
        let headers: Vec<(&str, &str)> =
            collector.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("authorization", "Basic abc"), ("x", "y")]);
        assert_eq!(
            (collector.timeout, collector.service.as_deref()),
            (Duration::from_millis(2500), Some("blog"))
        );
        assert_eq!(
            collector.attributes,
            [("deployment.environment.name".to_owned(), "production".to_owned())]
        );
        let exact = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"),
        ];
        assert_eq!(settings("", &exact).unwrap().collector.unwrap().url, "http://t/x");
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        for (file, environment, message) in [
            ("endpoint = 'localhost:4318'", &[][..], "must begin with http://"),
            ("timeout = '1ms'", &[], "between 100ms and 1m"),
            ("max_queue = 0", &[], "between 1 and 100000"),
            ("endpoint = 'http://a'\nheaders = { a = 'env:NOT_SET' }", &[], "\"NOT_SET\", which is not set"),
            ("endpoint = 'http://a'\nheaders = { 'a b' = 'c' }", &[], "no name that a header can have"),
            ("", &[("OTEL_TRACES_SAMPLER", "sometimes")], "OTEL_TRACES_SAMPLER must be"),
            ("", &[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")], "number of milliseconds"),
            (
                "",
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
                "http/protobuf alone",
            ),
        ] {
            let refused = settings(file, environment).unwrap_err().to_string();
            assert!(refused.contains(message), "{file}: {refused}");
        }
    }
}

//! Turns what a file says into a configuration that cannot be invalid, noting every problem on the way.

mod admin;
mod alerts;
mod availability;
mod headers;
mod limits;
mod listener;
mod reach;
mod route;
mod routing;
mod upstream;
mod value;

use std::collections::BTreeSet;
use std::path::PathBuf;

use cirque_shared::config::{Problems, Shown, environment, read_text};

use super::policy::{HTTP1, LOG_FORMAT};
use super::{AccessLog, Config, REFERENCE, raw};
use value::{in_range, networks, one_of};

/// The reference file as read; its settings are every file's defaults.
fn reference() -> raw::File {
    read_text("conf/proxy.toml", REFERENCE, |file: raw::File, _| file)
        .expect("the reference is checked by a test")
}

/// Turns a file into a configuration.
pub(super) fn parse(file: raw::File, problems: &mut Problems) -> Config {
    let file = file.complete(reference());
    let settings = Shown::of(&file);
    let server = file.server.unwrap_or_default();
    let (admin, admin_tokens) =
        admin::admin(server.admin, &server.admin_tokens.unwrap_or_default(), problems);
    let (log, trace) = (file.log.unwrap_or_default(), file.trace.unwrap_or_default());
    let access = file.access_log.unwrap_or_default();
    let upstreams = upstream::upstreams(file.upstreams.unwrap_or_default(), problems);
    let names: BTreeSet<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    let rate_limits = limits::rate_limits(file.rate_limits.unwrap_or_default(), problems);
    let trusted_proxies = networks("trust.proxies", file.trust.and_then(|trust| trust.proxies), problems);
    let listeners = listener::listeners(file.listeners.unwrap_or_default(), problems);
    listener::balancers(&listeners, &trusted_proxies, problems);
    let limit_names: BTreeSet<&str> = rate_limits.iter().map(|limit| limit.name.as_str()).collect();
    Config {
        threads: match server.threads {
            Some(0) | None => std::thread::available_parallelism().map_or(1, usize::from),
            Some(threads) => in_range("server.threads", threads, 1, 1024, problems),
        },
        admin,
        admin_tokens,
        state_dir: state_dir(server.state_dir.unwrap_or_default(), problems),
        drain_delay: server.drain_delay.unwrap_or_default(),
        handover_period: server.handover_period.unwrap_or_default(),
        grace_period: server.grace_period.unwrap_or_default(),
        http1: one_of("server.http1", &server.http1.unwrap_or_default(), &HTTP1, problems)
            .unwrap_or_default(),
        log_level: log.level.unwrap_or_default(),
        log_format: log.format.unwrap_or_default(),
        access_log: access_log(access.output.unwrap_or_default(), problems),
        access_log_format: one_of(
            "access_log.format",
            &access.format.unwrap_or_default(),
            &LOG_FORMAT,
            problems,
        )
        .unwrap_or_default(),
        trace_context: trace.context.unwrap_or_default(),
        tracing: cirque_shared::trace::config::parse(trace.recording, &environment, problems),
        trusted_proxies,
        alerts: alerts::alerts(file.alerts.unwrap_or_default(), problems),
        client: listener::client(&file.client.unwrap_or_default(), problems),
        listeners,
        routes: route::routes(file.routes.unwrap_or_default(), &names, &limit_names, problems),
        error_pages: routing::error_pages(
            "defaults.route.error_pages",
            file.defaults.unwrap_or_default().route.unwrap_or_default().error_pages,
            problems,
        ),
        rate_limits,
        upstreams,
        settings,
    }
}

fn state_dir(folder: String, problems: &mut Problems) -> PathBuf {
    if folder.is_empty() {
        problems.push("server.state_dir", "must be a folder, like \"/var/lib/cirque\"");
    }
    folder.into()
}

fn access_log(output: String, problems: &mut Problems) -> AccessLog {
    match output.as_str() {
        "off" => AccessLog::Off,
        "stdout" => AccessLog::Stdout,
        "stderr" => AccessLog::Stderr,
        "" => {
            problems.push("access_log.output", "must be \"stdout\", \"stderr\", \"off\" or a path");
            AccessLog::Off
        }
        _ => AccessLog::File(output.into()),
    }
}

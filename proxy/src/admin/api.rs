//! What the admin interface answers: a table of paths, each a question or a change.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use cirque_shared::exposition;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::answer::{self, Answer};
use super::{Desk, access, alerts, explain, log, view};
use crate::config::policy::Scope;
use crate::control::{Applied, Author, Edit, Instruction, Refused, Source};
use crate::operator::Duty;
use crate::site::Site;

/// The largest body that is read.
const MOST_BODY: usize = 64 * 1024;

const PATHS: &str = "there are /livez, /readyz, /metrics, /v1/alerts, /v1/config, /v1/config/diff, /v1/explain, /v1/history, \
                     /v1/log, /v1/reload, /v1/rollback, /v1/routes, /v1/upgrade and /v1/upstreams\n";

/// Answers a request.
pub(super) async fn answer(desk: &Desk, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let is_reading = matches!(head.method, Method::GET | Method::HEAD);
    if let ("/livez" | "/readyz", true) = (head.uri.path(), is_reading) {
        return alive(desk, head.uri.path());
    }
    let needed = if is_reading { Scope::Read } else { Scope::Change };
    let author = {
        let site = desk.edge.site();
        match access::judge(&site.config.admin_tokens, needed, &head.headers) {
            Ok(name) => author(&head.headers, name),
            Err(denied) => return answer::denied(denied),
        }
    };
    let Ok(body) = Limited::new(body, MOST_BODY).collect().await else { return answer::too_large() };
    let path = head.uri.path().trim_end_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let query = head.uri.query().unwrap_or_default();
    if is_reading {
        let accept = head.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        return look(desk, &parts, query, accept).await;
    }
    change(desk, &head.method, &parts, &body.to_bytes(), &author).await
}

fn alive(desk: &Desk, path: &str) -> Answer {
    match path {
        "/livez" => answer::text(StatusCode::OK, "ok\n"),
        _ if desk.edge.is_draining() => answer::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        _ if !desk.edge.is_ready() => answer::text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        _ => answer::text(StatusCode::OK, "ready\n"),
    }
}

/// Who asks: a token's name counts more than what the request says of itself.
fn author(headers: &HeaderMap, token: Option<&str>) -> Author {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let by = match (token, said("cirque-by")) {
        (Some(token), "") => token.to_owned(),
        (Some(token), by) => format!("{by} ({token})"),
        (None, "") => "admin interface".to_owned(),
        (None, by) => by.to_owned(),
    };
    let seen = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let seen = seen.map(str::trim).filter(|tag| *tag != "*").map(str::to_owned);
    Author { source: Source::Api, by, why: said("cirque-why").to_owned(), seen }
}

/// Questions.
async fn look(desk: &Desk, parts: &[&str], query: &str, accept: Option<&str>) -> Answer {
    match parts {
        ["metrics"] => {
            let (media_type, text) = exposition::shown(desk.edge.metrics_text(), accept);
            answer::typed(StatusCode::OK, media_type, text)
        }
        ["v1", "alerts", rest @ ..] => alerts::look(desk, rest).await,
        ["v1", "log"] => log::look(),
        ["v1", "config"] => {
            let (tag, text) = desk.control.current().await;
            answer::tagged(answer::typed(StatusCode::OK, "application/toml", text), &tag)
        }
        ["v1", "config", "diff"] => match desk.control.diff().await {
            Ok(changes) => {
                let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                answer::json(&json!({ "changes": changes }))
            }
            Err(refused) => answer::refused(&refused),
        },
        ["v1", "history"] => match desk.control.versions().await {
            Ok((at_work, versions)) => answer::json(&json!({ "at_work": at_work, "versions": versions })),
            Err(refused) => answer::refused(&refused),
        },
        ["v1", "explain"] => match question(query) {
            Ok(question) => answer::json(&explain::explain(&desk.edge.site(), &question)),
            Err(why) => answer::bad_request(&why),
        },
        ["v1", "reload" | "rollback" | "upgrade"] => answer::wrong_method("POST"),
        ["v1", "routes" | "upstreams", ..] => {
            let (tag, _) = desk.control.current().await;
            let site = desk.edge.site();
            let found = state(&site, &parts[1..]);
            found.map_or_else(
                || answer::not_found("there is no such object\n"),
                |found| answer::tagged(found, &tag),
            )
        }
        _ => answer::not_found(PATHS),
    }
}

/// The state of what a path names.
fn state(site: &Site, parts: &[&str]) -> Option<Answer> {
    match parts {
        ["routes"] => {
            let routes: Vec<_> = site.routes.iter().map(|route| view::route(route)).collect();
            Some(answer::json(&json!({ "routes": routes })))
        }
        ["routes", name] => Some(answer::json(&view::route(site.route(name)?))),
        ["upstreams"] => {
            let upstreams: Vec<_> =
                site.upstreams.iter().map(|upstream| view::upstream(site, upstream)).collect();
            Some(answer::json(&json!({ "upstreams": upstreams })))
        }
        ["upstreams", name] => Some(answer::json(&view::upstream(site, site.upstream(name)?))),
        ["upstreams", name, "backends", id] => {
            let upstream = site.upstream(name)?;
            let mut members = upstream.backends.iter().enumerate();
            let (index, member) = members.find(|(_, member)| member.config.id == *id)?;
            Some(answer::json(&view::backend(site, upstream, index, member)))
        }
        _ => None,
    }
}

/// Changes.
async fn change(desk: &Desk, method: &Method, parts: &[&str], body: &Bytes, author: &Author) -> Answer {
    let control = &desk.control;
    if let ["v1", "alerts", rest @ ..] = parts {
        return alerts::change(desk, method.as_str(), rest, body, author).await;
    }
    if let ["v1", "log"] = parts {
        return log::change(method.as_str(), body, author);
    }
    let outcome = match (method.as_str(), parts) {
        ("POST", ["v1", "reload"]) => control.reload(author).await,
        ("POST", ["v1", "rollback"]) => match read::<Rollback>(body) {
            Ok(asked) => control.roll_back(asked.version, author).await,
            Err(why) => return answer::bad_request(&why),
        },
        ("POST", ["v1", "upstreams", upstream, "backends"]) => match read::<NewBackend>(body) {
            Ok(new) => {
                let id = new.id.unwrap_or_else(|| new.address.replace([':', '[', ']', '/'], "-"));
                let upstream = (*upstream).to_owned();
                let edit = Edit::Add { upstream, id, address: new.address, weight: new.weight };
                control.edit(&edit, author).await
            }
            Err(why) => return answer::bad_request(&why),
        },
        ("DELETE", ["v1", "upstreams", upstream, "backends", id]) => {
            let edit = Edit::Remove { upstream: (*upstream).to_owned(), id: (*id).to_owned() };
            control.edit(&edit, author).await
        }
        ("PUT", ["v1", "upstreams", upstream, "backends", id]) => match read::<Order>(body) {
            Ok(order) => order_of(control, upstream, id, order, author).await,
            Err(why) => return answer::bad_request(&why),
        },
        ("POST", ["v1", "upgrade"]) => {
            return match desk.handover.run(&author.by).await {
                Ok(pid) => answer::json(&json!({ "pid": pid, "changes": [] })),
                Err(failed) => answer::failed(&failed),
            };
        }
        (_, ["v1", "reload" | "rollback" | "upgrade"]) => return answer::wrong_method("POST"),
        (_, ["v1", "upstreams", _, "backends"]) => return answer::wrong_method("POST"),
        (_, ["v1", "upstreams", _, "backends", _]) => return answer::wrong_method("GET, PUT, DELETE"),
        (_, ["v1", "routes" | "upstreams" | "config" | "history" | "explain", ..] | ["metrics"]) => {
            return answer::wrong_method("GET");
        }
        _ => return answer::not_found(PATHS),
    };
    match outcome {
        Ok(Applied { tag, changes }) => answer::tagged(answer::json(&json!({ "changes": changes })), &tag),
        Err(refused) => answer::refused(&refused),
    }
}

async fn order_of(
    control: &crate::control::Control,
    upstream: &str,
    id: &str,
    order: Order,
    author: &Author,
) -> Result<Applied, Refused> {
    let instruction = Instruction { duty: order.state, weight: order.weight, comment: order.comment };
    control.order(upstream, id, instruction, author).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBackend {
    address: String,
    id: Option<String>,
    weight: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    state: Option<Duty>,
    /// Left out: as it is; `null`: the configuration's.
    #[serde(default, deserialize_with = "weight")]
    weight: Option<Option<u32>>,
    #[serde(default)]
    comment: String,
}

fn weight<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<u32>>, D::Error> {
    let weight = Option::<u32>::deserialize(value)?;
    if weight.is_some_and(|weight| weight > 1000) {
        return Err(serde::de::Error::custom("a weight is from 0 to 1000"));
    }
    Ok(Some(weight))
}

pub(super) fn read<'b, T: Deserialize<'b>>(body: &'b Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body must be JSON: {error}"))
}

/// `host`, `method`, `path`, `client` and any number of `header` of a query.
fn question(query: &str) -> Result<explain::Question, String> {
    let mut question = explain::Question {
        host: String::new(),
        method: "GET".to_owned(),
        path: String::new(),
        headers: Vec::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or_else(|| format!("{key} is not well encoded"))?;
        match key {
            "host" => question.host = value,
            "method" => question.method = value.to_ascii_uppercase(),
            "path" => question.path = value,
            "client" => {
                question.client = value.parse().map_err(|_| format!("client is no address: {value:?}"))?;
            }
            "header" => {
                let (name, value) = value.split_once(':').ok_or("header must be like Name: value")?;
                question.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
            _ => {
                return Err(format!(
                    "there is no parameter {key:?}: ask with host, method, path, client and header"
                ));
            }
        }
    }
    if question.path.starts_with('/') {
        Ok(question)
    } else {
        Err("a path that begins with / is needed: /v1/explain?path=/".to_owned())
    }
}

/// A value of a query without its percent signs.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

//! What is changed, what is refused, and what everything is like afterwards.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use tempfile::TempDir;

use super::*;
use crate::config::REFERENCE;

fn text(folder: &TempDir) -> String {
    format!(
        "server.state_dir = '{}'\naccess_log.output = 'off'\n\
         [[listeners]]\nname = 'l'\naddress = '{}'\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\n\
         [[upstreams.u.backends]]\nid = 'a'\naddress = '127.0.0.1:1'\n\
         [[upstreams.u.backends]]\nid = 'b'\naddress = '127.0.0.1:2'\n",
        folder.path().join("state").display(),
        ADDRESS.with(|address| *address)
    )
}

thread_local! {
    /// Nobody else's.
    static ADDRESS: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
}

/// A control over an edge that nobody asks anything.
fn control(folder: &TempDir) -> Control {
    let path = folder.path().join("proxy.toml");
    if !path.exists() {
        fs::write(&path, text(folder)).unwrap();
    }
    let (text, config) = Config::read(&path).unwrap();
    let book = Book::new(&config.state_dir);
    let edge = Arc::new(Edge::new(config, book.read().unwrap()).unwrap().0);
    let entrances = Entrances::open(&[], Arc::default(), &edge.metrics).unwrap();
    Control::new(edge, Arc::new(entrances), path, text, book)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn add(id: &str) -> Edit {
    let (upstream, address) = ("u".to_owned(), "127.0.0.1:3".to_owned());
    Edit::Add { upstream, id: id.to_owned(), address, weight: None }
}

fn ids(control: &Control) -> Vec<String> {
    control.edge.site().upstreams[0].backends.iter().map(|member| member.config.id.clone()).collect()
}

fn drain() -> Instruction {
    Instruction { duty: Some(Duty::Draining), ..Instruction::default() }
}

#[tokio::test]
async fn a_backend_is_added_to_the_file_and_at_work_and_gone_back_to_before_it() {
    let folder = folder();
    let control = control(&folder);
    let applied = control.edit(&add("c"), &Author::default()).await.unwrap();
    assert_eq!(applied.changes.len(), 1, "{applied:?}");
    assert!(applied.changes[0].starts_with("+ upstreams.u.backends.c: "), "{applied:?}");
    assert_eq!(ids(&control), ["a", "b", "c"]);
    assert!(fs::read_to_string(&control.path).unwrap().contains("id = \"c\""));
    control.roll_back(1, &Author::default()).await.unwrap();
    assert_eq!(ids(&control), ["a", "b"]);
    assert_eq!(fs::read_to_string(&control.path).unwrap(), text(&folder));
    assert_eq!(control.versions().await.unwrap().0, 3);
}

#[tokio::test]
async fn an_order_holds_over_a_reload_and_a_restart_and_ends_with_its_backend() {
    let folder = folder();
    let first = control(&folder);
    first.order("u", "a", drain(), &Author::default()).await.unwrap();
    first.reload(&Author::default()).await.unwrap();
    assert!(first.edge.site().upstreams[0].backends[0].is_out());
    // The restart: nobody listens there any more.
    drop(first);
    let second = control(&folder);
    assert!(second.edge.site().upstreams[0].backends[0].is_out());
    let gone = Edit::Remove { upstream: "u".to_owned(), id: "a".to_owned() };
    second.edit(&gone, &Author::default()).await.unwrap();
    second.roll_back(1, &Author::default()).await.unwrap();
    assert!(!second.edge.site().upstreams[0].backends[0].is_out(), "a new backend starts afresh");
}

#[tokio::test]
async fn a_change_that_was_meant_for_another_state_is_refused() {
    let folder = folder();
    let control = control(&folder);
    let (seen, _) = control.current().await;
    let author = Author { seen: Some(seen), ..Author::default() };
    control.order("u", "a", drain(), &author).await.unwrap();
    let refused = control.edit(&add("c"), &author).await.unwrap_err();
    assert_eq!(refused.reason(), "stale");
    assert_eq!(ids(&control), ["a", "b"]);
}

#[tokio::test]
async fn edits_that_are_not_at_work_are_never_lost_under_a_command() {
    let folder = folder();
    let control = control(&folder);
    let draft = text(&folder) + "# mine\n";
    fs::write(&control.path, &draft).unwrap();
    for outcome in
        [control.edit(&add("c"), &Author::default()).await, control.roll_back(1, &Author::default()).await]
    {
        assert_eq!(outcome.unwrap_err().reason(), "draft");
    }
    assert_eq!(fs::read_to_string(&control.path).unwrap(), draft);
    control.reload(&Author::default()).await.unwrap();
    control.edit(&add("c"), &Author::default()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_put_to_work_changes_neither_the_file_nor_the_edge() {
    let folder = folder();
    let control = control(&folder);
    let last = Edit::Add {
        upstream: "u".to_owned(),
        id: "c".to_owned(),
        address: "no address".to_owned(),
        weight: None,
    };
    assert_eq!(control.edit(&last, &Author::default()).await.unwrap_err().reason(), "invalid");
    assert_eq!(fs::read_to_string(&control.path).unwrap(), text(&folder));
    assert_eq!(ids(&control), ["a", "b"]);
    let nobody = control.order("u", "z", drain(), &Author::default()).await.unwrap_err();
    assert_eq!(nobody.to_string(), "there is no backend `z` in upstream `u`");
}

#[test]
fn what_is_only_read_at_the_start_is_named_and_nothing_else() {
    let config = |text: &str| Config::from_text("test", text).unwrap();
    let base = config(REFERENCE);
    for (from, to, expected) in [
        ("threads = 0", "threads = 7", &["server.threads"][..]),
        ("127.0.0.1:9901", "127.0.0.1:9902", &["server.admin"][..]),
        ("address = \"127.0.0.1:8080\"", "address = \"127.0.0.1:8088\"", &[][..]),
        ("output = \"stdout\"", "output = \"off\"", &["access_log.output"][..]),
        ("weight = 1", "weight = 5", &[][..]),
        ("keepalive_requests = 1000", "keepalive_requests = 10", &[][..]),
        ("grace_period = \"30s\"", "grace_period = \"1s\"", &[][..]),
    ] {
        let changed = config(&REFERENCE.replace(from, to));
        assert_eq!(only_at_start(&base, &changed), expected, "{from} -> {to}");
    }
}

#[test]
fn every_way_that_a_change_may_come_has_a_series_from_the_start() {
    assert_eq!([Source::Signal, Source::Api].map(Source::name), crate::metrics::SOURCES);
}

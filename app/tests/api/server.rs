//! What only a database server can do: be far away, be encrypted, be slow, be stopped.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cirque_app::config::Config;
use cirque_app::db::{Db, Error, Open};
use cirque_app::metrics::DatabaseMetrics;
use cirque_shared::metrics::Registry;
use cirque_shared::report::chain;
use cirque_tests::postgres::{Server, psql};
use sea_query::{Expr, Query};

use crate::site::{Data, Site};

fn config(url: &str) -> Config {
    Config::load(None).unwrap().with_database(url).unwrap()
}

async fn open(url: &str) -> Result<Db, Error> {
    let metrics = DatabaseMetrics::new(&Registry::new()).into();
    Db::open(&config(url).database, Open::Existing, metrics).await
}

fn sleeping(seconds: f64) -> sea_query::SelectStatement {
    Query::select().expr(Expr::cust(format!("CAST(pg_sleep({seconds}) AS TEXT)"))).take()
}

// key: database.statement_timeout
#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up_by_the_server() {
    let mut data = Data::seeded(1).await;
    data.config.database.statement_timeout = Duration::from_millis(50);
    let site = data.open().await;
    let error = site.state.db.read().first(&sleeping(20.0)).await.unwrap_err();
    assert!(matches!(error, Error::TooSlow(_)), "{error:?}");
    site.data.change("ALTER TABLE posts RENAME TO real_posts").await;
    site.data
        .change(
            "CREATE VIEW posts AS SELECT real_posts.* FROM real_posts, \
             LATERAL (SELECT pg_sleep(20) OFFSET 0) AS slow",
        )
        .await;
    let answer = site.get("/api/v1/posts").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.body, r#"{"message":"The request took too long. Try again in a moment."}"#);
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let site = Site::seeded(1).await;
    let nextval = Query::select().expr(Expr::cust("nextval('posts_id_seq')")).take();
    let error = site.state.db.read().first(&nextval).await.unwrap_err();
    assert!(chain(&error).contains("read-only"), "{}", chain(&error));
}

#[tokio::test]
async fn ids_go_on_behind_the_seed() {
    let site = Site::seeded(3).await;
    site.data.change("INSERT INTO tags (name, slug, created_at) VALUES ('new', 'new', 0)").await;
    let highest = site.data.ids("SELECT max(id) - count(*) FROM tags").await;
    assert_eq!(highest, [0]);
}

/// Gives the server a certificate for `localhost`, signed by itself.
fn certify(folder: &Path) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("data/server.key"))
        .arg("-out")
        .arg(folder.join("data/server.crt"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::copy(folder.join("data/server.crt"), folder.join("root.crt")).unwrap();
}

// key: database.url
#[tokio::test]
async fn the_connection_is_as_safe_as_sslmode_asks() {
    let server = Server::prepared(&["ssl=on"], certify);
    psql(server.address(), "postgres", "CREATE TABLE asked (ssl BOOLEAN)");
    let port = server.address().port();
    let root = server.folder().join("root.crt");
    let is_encrypted =
        Query::select().expr(Expr::cust("(SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())")).take();
    let at = |host: &str, options: &str| format!("postgres://cirque@{host}:{port}/postgres?{options}");
    let verified = format!("sslmode=verify-full&sslrootcert={}", root.display());
    for (url, expected) in [
        (at("localhost", "sslmode=disable"), Some(false)),
        (at("127.0.0.1", "sslmode=require"), Some(true)),
        (at("localhost", &verified), Some(true)),
        // The certificate is not for this name.
        (at("127.0.0.1", &verified), None),
        // Nobody on this machine trusts it.
        (at("localhost", "sslmode=verify-full"), None),
    ] {
        match (open(&url).await, expected) {
            (Ok(db), Some(expected)) => {
                let row = db.read().first(&is_encrypted).await.unwrap().unwrap();
                assert_eq!(row.cells().take::<bool>().unwrap(), expected, "{url}");
                db.close().await;
            }
            (Err(Error::Open { .. }), None) => {}
            (other, _) => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let url = "postgres://cirque:s3cret@127.0.0.1:1/nowhere";
    let error = open(url).await.unwrap_err();
    let shown = format!("{} {error:?} {:?}", chain(&error), config(url));
    assert!(shown.contains("postgres://cirque@127.0.0.1:1/nowhere") && !shown.contains("s3cret"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_is_a_503_and_comes_back_by_itself() {
    let mut server = Server::start(&[]);
    let mut config = config(&server.url());
    config.database.acquire_timeout = Duration::from_secs(2);
    config.cache.max_size = 0;
    cirque_app::migrate::run(&config).await.unwrap();
    let state = cirque_app::state::AppState::open(&config, cirque_app::router::TEMPLATES).await.unwrap();
    let get = || async {
        let request = http::Request::get("/api/v1/posts").body(axum::body::Body::empty()).unwrap();
        let router = cirque_app::router::router(&state);
        tower::ServiceExt::oneshot(router, request).await.unwrap().status().as_u16()
    };
    assert_eq!(get().await, 200);
    server.process.interrupt();
    server.process.expect_exit(Duration::from_secs(20));
    assert_eq!(get().await, 503);
    server.restart(&[]);
    // A connection of before is noticed at its first use, at the latest.
    let mut last = 0;
    for _ in 0..=config.database.max_readers {
        last = get().await;
    }
    assert_eq!(last, 200);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_the_system_said() {
    let mut config = config("postgres://cirque@127.0.0.1:1/nowhere");
    config.database.acquire_timeout = Duration::from_millis(200);
    let findings = cirque_app::check::run(&config).await;
    let said = findings.last().unwrap().to_string();
    assert!(said.starts_with("database       FAILED") && said.contains("Connection refused"), "{said}");
}

fn activity(url: &str) -> i64 {
    cirque_tests::sql::number(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT CAST(pg_sleep(61%'",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_a_client_that_left_ends_at_the_server() {
    let server = Server::start(&[]);
    let db = open(&server.url()).await.unwrap();
    let long = sleeping(61.0);
    let mut writer = db.write().await.unwrap();
    for is_write in [false, true] {
        let work = async { if is_write { writer.first(&long).await } else { db.read().first(&long).await } };
        tokio::time::timeout(Duration::from_millis(300), work).await.unwrap_err();
        if is_write {
            break;
        }
        let url = server.url();
        let ended = move || activity(&url);
        tokio::task::spawn_blocking(|| {
            cirque_tests::eventually("the server gave it up", Duration::from_secs(10), ended, |left| {
                *left == 0
            });
        })
        .await
        .unwrap();
    }
    drop(writer);
    let url = server.url();
    let ended = move || activity(&url);
    tokio::task::spawn_blocking(|| {
        cirque_tests::eventually("the server gave it up", Duration::from_secs(10), ended, |left| *left == 0);
    })
    .await
    .unwrap();
    db.close().await;
}

// key: database.max_fallback
#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_only_so_many_reads_come_to_the_primary_at_once() {
    let primary = Server::start(&[]);
    let mut replica = primary.replica();
    let mut config = config(&primary.url());
    let url = replica.url();
    config.database.replicas = vec![cirque_app::config::PostgresUrl::parse(&url).unwrap()];
    config.database.max_fallback = 1;
    config.database.acquire_timeout = Duration::from_millis(500);
    cirque_app::migrate::run(&config).await.unwrap();
    let registry = Registry::new();
    let metrics = std::sync::Arc::new(DatabaseMetrics::new(&registry));
    let db = Db::open(&config.database, Open::Existing, metrics).await.unwrap();
    replica.kill();
    let long = sleeping(3.0);
    let (one, other) = tokio::join!(db.read().first(&long), db.read().first(&long));
    let refused = [&one, &other].iter().filter(|read| matches!(read, Err(Error::Saturated))).count();
    assert_eq!((one.is_ok() || other.is_ok(), refused), (true, 1), "{one:?} {other:?}");
    let text = registry.text();
    assert!(text.contains("database_fallback_refused_total 1"), "{text}");
    db.read_fresh().first(&sleeping(0.0)).await.unwrap();
    db.close().await;
}

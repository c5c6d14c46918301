//! A seeded site in a folder of its own, and answers that are easy to ask about.

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use cirque_app::config::{Config, Location};
use cirque_app::router::{TEMPLATES, router};
use cirque_app::state::AppState;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use tower::ServiceExt as _;

/// What is public, for asking the database directly.
pub(crate) const PUBLIC: &str =
    "status = 'published' AND deleted_at IS NULL AND published_at <= unixepoch() * 1000";

/// A database in a folder of its own.
pub(crate) struct Data {
    _folder: tempfile::TempDir,
    pub(crate) config: Config,
}

impl Data {
    /// A place for a database; nothing is there yet.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("site/cirque.db").display());
        let config = Config::load(None).unwrap().with_database(&url).unwrap();
        Self { _folder: folder, config }
    }

    /// A migrated database with this many posts.
    pub(crate) async fn seeded(posts: u64) -> Self {
        let data = Self::empty();
        cirque_app::migrate::run(&data.config).await.unwrap();
        cirque_app::seed::run(&data.config, posts).await.unwrap();
        data
    }

    pub(crate) fn path(&self) -> PathBuf {
        let Location::Sqlite(path) = &self.config.database.location;
        path.clone()
    }

    pub(crate) async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite:{}", self.path().display())).await.unwrap()
    }

    /// The ids that a query finds.
    pub(crate) async fn ids(&self, sql: &str) -> Vec<i64> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql).fetch_all(&mut self.connect().await).await.unwrap()
    }

    pub(crate) async fn change(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::query(sql).execute(&mut self.connect().await).await.unwrap();
    }

    /// Adds a post whose text takes long to search for [`Data::slow_search`], and long to take over a wire.
    pub(crate) async fn add_a_heavy_post(&self) {
        self.add_a_post_of(8_000_000).await;
    }

    /// Adds the post `heavy`, whose text has this many letters.
    pub(crate) async fn add_a_post_of(&self, letters: usize) {
        self.change(&format!(
            "UPDATE posts SET content = replace(hex(zeroblob({})), '0', 'a'), title = 'Heavy', slug = 'heavy' \
             WHERE id = (SELECT max(id) FROM posts WHERE status = 'published' AND deleted_at IS NULL)",
            letters / 2
        ))
        .await;
    }

    /// A search that is compared with the heavy post letter by letter, and not found.
    pub(crate) fn slow_search() -> String {
        format!("/api/v1/posts?search={}b", "a".repeat(99))
    }

    pub(crate) async fn open(self) -> Site {
        let state = AppState::open(&self.config, TEMPLATES).await.unwrap();
        Site { router: router(&state), state, data: self }
    }
}

/// A node without a listener.
pub(crate) struct Site {
    pub(crate) data: Data,
    pub(crate) state: AppState,
    router: Router,
}

impl Site {
    pub(crate) async fn seeded(posts: u64) -> Self {
        Data::seeded(posts).await.open().await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// The JSON of a 200.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.json()
    }

    /// Statements for reading that were sent so far.
    pub(crate) fn reads(&self) -> u64 {
        let text = self.state.metrics.text();
        let line =
            text.lines().find_map(|line| line.strip_prefix("database_statements_total{intent=\"read\"} "));
        line.unwrap().parse().unwrap()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The ids of the posts in an answer.
pub(crate) fn ids(json: &Value) -> Vec<i64> {
    json["data"].as_array().unwrap().iter().map(|post| post["id"].as_i64().unwrap()).collect()
}

/// The names of the fields of a JSON object, in their order.
pub(crate) fn names(json: &Value) -> Vec<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

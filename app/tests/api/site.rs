//! A seeded site on a database of its own, and answers that are easy to ask about.

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use cirque_app::config::{Config, Location};
use cirque_app::identity::admin::Accounts;
use cirque_app::identity::{Abilities, Ability};
use cirque_app::router::{TEMPLATES, router};
use cirque_app::seed::{Login, Outcome};
use cirque_app::state::AppState;
use cirque_tests::postgres;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use sea_query::{Expr, Query, SelectStatement};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tower::ServiceExt as _;

/// What is public, for asking the database directly. No test publishes anything between now and the moment named here.
pub(crate) const PUBLIC: &str =
    "status = 'published' AND deleted_at IS NULL AND published_at <= 4000000000000";

/// Which database is under test: the binary `api_postgres` runs the same tests over PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    pub(crate) fn under_test() -> Self {
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("api_postgres") { Self::Postgres } else { Self::Sqlite }
    }
}

/// A database of its own.
#[derive(Clone)]
pub(crate) struct Data {
    _place: std::sync::Arc<Place>,
    pub(crate) config: Config,
    /// Who may sign in to a seeded site.
    pub(crate) admin: Option<Login>,
}

/// What a database lives in; dropping it removes it.
enum Place {
    Folder(#[expect(dead_code, reason = "held until the test ends")] tempfile::TempDir),
    Server(#[expect(dead_code, reason = "held until the test ends")] postgres::Database),
}

/// A connection of the test's own, beside the node.
pub(crate) enum Witness {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Witness {
    pub(crate) async fn run(&mut self, sql: &str) {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(connection) => query.execute(connection).await.map(drop).unwrap(),
            Self::Postgres(connection) => query.execute(connection).await.map(drop).unwrap(),
        }
    }
}

impl Data {
    /// A place for a database; nothing is there yet.
    pub(crate) fn empty() -> Self {
        let (place, url) = match Store::under_test() {
            Store::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("site/cirque.db").display());
                (Place::Folder(folder), url)
            }
            Store::Postgres => {
                let database = postgres::Database::create();
                let url = database.url();
                (Place::Server(database), url)
            }
        };
        let mut config = Config::load(None).unwrap().with_database(&url).unwrap();
        // Tests change rows behind the node's back; those of the cache switch it on.
        config.cache.max_size = 0;
        Self { _place: std::sync::Arc::new(place), config, admin: None }
    }

    /// A migrated database with this many posts.
    pub(crate) async fn seeded(posts: u64) -> Self {
        let mut data = Self::empty();
        cirque_app::migrate::run(&data.config).await.unwrap();
        if let Outcome::Sown { admin, .. } = cirque_app::seed::run(&data.config, posts).await.unwrap() {
            data.admin = Some(admin);
        }
        data
    }

    /// A token of one of the seed's authors (ada is an admin, bruno an editor, chiyo and the others authors).
    pub(crate) async fn token(&self, username: &str, abilities: &[Ability]) -> String {
        let accounts = Accounts::open(&self.config).await.unwrap();
        let hour = std::time::Duration::from_secs(3600);
        let token = accounts.create_token(username, "test", &Abilities::of(abilities), hour).await.unwrap();
        accounts.close().await;
        token
    }

    /// A token with all abilities.
    pub(crate) async fn full_token(&self, username: &str) -> String {
        self.token(username, &[Ability::ReadPosts, Ability::WritePosts]).await
    }

    /// Where the file of an embedded database is.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.config.database.location {
            Location::Sqlite(path) => path.clone(),
            Location::Postgres(url) => panic!("{url:?} is not a file"),
        }
    }

    pub(crate) async fn connect(&self) -> Witness {
        match &self.config.database.location {
            Location::Sqlite(path) => {
                let url = format!("sqlite:{}", path.display());
                Witness::Sqlite(SqliteConnection::connect(&url).await.unwrap())
            }
            Location::Postgres(url) => {
                // As shown: no password is needed here.
                Witness::Postgres(PgConnection::connect(&format!("{url:?}")).await.unwrap())
            }
        }
    }

    /// The numbers that a query finds.
    pub(crate) async fn ids(&self, sql: &str) -> Vec<i64> {
        self.column(sql).await
    }

    /// The first column of what a query finds.
    pub(crate) async fn column<T>(&self, sql: &str) -> Vec<T>
    where
        T: Send + Unpin + sqlx::Type<sqlx::Sqlite> + sqlx::Type<sqlx::Postgres>,
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
    {
        let sql = AssertSqlSafe(sql.to_owned());
        match &mut self.connect().await {
            Witness::Sqlite(connection) => sqlx::query_scalar(sql).fetch_all(connection).await.unwrap(),
            Witness::Postgres(connection) => sqlx::query_scalar(sql).fetch_all(connection).await.unwrap(),
        }
    }

    pub(crate) async fn change(&self, sql: &str) {
        self.connect().await.run(sql).await;
    }

    /// A transaction in which another writer holds what a seed writes to; it ends when it is dropped.
    pub(crate) async fn locked_by_another(&self) -> Witness {
        let mut other = self.connect().await;
        other
            .run(match Store::under_test() {
                Store::Sqlite => "BEGIN IMMEDIATE",
                Store::Postgres => "BEGIN; LOCK TABLE authors, posts",
            })
            .await;
        other
    }

    /// Adds a post that takes long to take over a wire, and a tag that takes long to search: [`Data::slow_search`].
    pub(crate) async fn add_a_heavy_post(&self) {
        const LETTERS: usize = 8_000_000;
        self.add_a_post_of(LETTERS).await;
        let text = Self::letters(LETTERS);
        // Its name is longer than what PostgreSQL takes into an index.
        self.change("DROP INDEX tags_by_name").await;
        self.change(&format!(
            "INSERT INTO tags (id, name, slug, created_at) VALUES (4711, {text}, 'heavy', 0)"
        ))
        .await;
    }

    fn letters(count: usize) -> String {
        match Store::under_test() {
            Store::Sqlite => format!("replace(hex(zeroblob({})), '0', 'a')", count / 2),
            Store::Postgres => format!("repeat('a', {count})"),
        }
    }

    /// Adds the post `heavy`, whose text has this many letters.
    pub(crate) async fn add_a_post_of(&self, letters: usize) {
        let text = Self::letters(letters);
        self.change(&format!(
            "UPDATE posts SET content = {text}, title = 'Heavy', slug = 'heavy' \
             WHERE id = (SELECT max(id) FROM posts WHERE status = 'published' AND deleted_at IS NULL)"
        ))
        .await;
    }

    /// A statement that never ends by itself.
    pub(crate) fn endless() -> SelectStatement {
        let count = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT CAST(count(*) AS TEXT) FROM c)";
        Query::select().expr(Expr::cust(count)).take()
    }

    /// A search that is compared with the heavy tag letter by letter, and not found.
    pub(crate) fn slow_search() -> String {
        format!("/api/v1/tags?search={}b", "a".repeat(99))
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

    /// Another node on the same database.
    pub(crate) async fn beside(&self) -> Self {
        self.data.clone().open().await
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

    /// Sends JSON with a token, if there is one.
    pub(crate) async fn call(&self, method: &str, path: &str, token: Option<&str>, json: &Value) -> Answer {
        self.send(json_request(method, path, token, json)).await
    }

    /// Reads with a token.
    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
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

/// A request with a JSON body.
pub(crate) fn json_request(method: &str, path: &str, token: Option<&str>, json: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::from(json.to_string())).unwrap()
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

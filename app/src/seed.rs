//! Fills an empty database with a site to look at: the same one for the same number of posts.

mod article;
mod random;
mod subjects;

use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cirque_shared::metrics::Registry;
use sea_query::{Expr, Func, InsertStatement, Query};

use self::article::Article;
use self::random::Random;
use self::subjects::{AUTHORS, SECTIONS, SUBJECTS, TAGS};
use crate::config::Config;
use crate::db::{Db, Dialect, Error, Open, Writer};
use crate::identity::accounts::New;
use crate::identity::{self, Role};
use crate::metrics::DatabaseMetrics;
use crate::moment::Moment;
use crate::passwords;
use crate::posts::html;

/// The most posts that are written in one go.
pub const MAX_POSTS: u64 = 10_000_000;

/// 2025-06-01 06:00 UTC: the newest post, whenever the seed is sown.
const NEWEST: i64 = 1_748_757_600_000;
/// 2099-01-01 UTC: scheduled posts stay scheduled.
const FAR: i64 = 4_070_908_800_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// Time between the oldest and the newest post.
const SPAN: i64 = 6 * 365 * DAY;

/// Rows per statement: 24 values each stay well below the 32766 parameters of SQLite.
const BATCH: usize = 200;

/// What was done.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Posts were written.
    Sown {
        /// How many.
        posts: u64,
        /// Who may sign in now; told this once.
        admin: Login,
    },
    /// There were posts or authors already; nothing was changed.
    AlreadyThere {
        /// How many posts there were.
        posts: u64,
    },
}

/// What to sign in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The e-mail address.
    pub email: String,
    /// The password, which was made for this database and is kept nowhere.
    pub password: String,
}

/// The password is for the operator's eyes, not for a log.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sown { posts, .. } => write!(f, "Sown({posts})"),
            Self::AlreadyThere { posts } => write!(f, "AlreadyThere({posts})"),
        }
    }
}

impl Outcome {
    /// Who may sign in, if that is new; for the operator's eyes.
    pub fn login(&self) -> Option<String> {
        match self {
            Self::Sown { admin, .. } => {
                Some(format!("sign in as {} with the password {} (shown once)", admin.email, admin.password))
            }
            Self::AlreadyThere { .. } => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sown { posts, .. } => write!(f, "wrote {posts} posts"),
            Self::AlreadyThere { posts } => write!(f, "left {posts} posts as they were"),
        }
    }
}

/// Writes `count` posts (0 to [`MAX_POSTS`]) with their authors, categories and tags, all or none. Does nothing
/// when there are posts or authors.
///
/// # Errors
///
/// When there are too many, or the database is missing, not migrated or cannot be written.
pub async fn run(config: &Config, count: u64) -> anyhow::Result<Outcome> {
    ensure!(count <= MAX_POSTS, "{count} posts are too many: at most {MAX_POSTS}");
    let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
    let db = Db::open(&config.database, Open::Existing, metrics).await?;
    let sown = sow(&db, count).await;
    db.close().await;
    sown.with_context(|| format!("could not seed {}", config.database.location))
}

async fn sow(db: &Db, count: u64) -> Result<Outcome, Error> {
    let mut writer = db.write_much().await?;
    let posts = count_of("posts", &mut writer).await?;
    if posts > 0 || count_of("authors", &mut writer).await? > 0 {
        return Ok(Outcome::AlreadyThere { posts });
    }
    for statement in surroundings() {
        writer.execute(&statement).await?;
    }
    let mut random = Random::new(count);
    let mut clock = Clock::new(count);
    let ids: Vec<i64> = (1..).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
    let dialect = writer.dialect();
    for batch in ids.chunks(BATCH) {
        let (mut posts, mut tags) = (posts_insert(dialect), tags_insert());
        let mut has_tags = false;
        for id in batch {
            posts.values_panic(post(*id, &mut clock, &mut random, dialect));
            let count = random.index(5);
            for tag in random.several(count, TAGS.len()) {
                tags.values_panic([Expr::val(*id), number(tag).into()]);
                has_tags = true;
            }
        }
        writer.execute(&posts).await?;
        if has_tags {
            writer.execute(&tags).await?;
        }
    }
    for table in ["authors", "categories", "tags", "posts"] {
        writer.settle_ids(table).await?;
    }
    let admin = accounts(&mut writer).await?;
    writer.commit().await?;
    Ok(Outcome::Sown { posts: count, admin })
}

/// Gives every author an account: the first is an admin with a password made here and now, the second an editor. The
/// others get in with what `cirque app user password` or `cirque app token create` gives them.
async fn accounts(writer: &mut Writer<'_>) -> Result<Login, Error> {
    let password = passwords::make();
    let made = password.clone();
    let hash = tokio::task::spawn_blocking(move || passwords::hash(&made)).await;
    let hash = hash.map_err(|_| Error::Statement(sqlx::Error::WorkerCrashed))?;
    for (index, (name, username, _)) in AUTHORS.into_iter().enumerate() {
        let (role, password_hash) = match index {
            0 => (Role::Admin, Some(hash.as_str())),
            1 => (Role::Editor, None),
            _ => (Role::Author, None),
        };
        let email = &email(username);
        let account = New { name, username, email, role, password_hash };
        identity::accounts::create(writer, &account, Moment(NEWEST)).await?;
    }
    Ok(Login { email: email(AUTHORS[0].1), password })
}

fn email(username: &str) -> String {
    format!("{username}@example.com")
}

async fn count_of(table: &'static str, writer: &mut Writer<'_>) -> Result<u64, Error> {
    let count = Query::select().expr(Func::count(Expr::col("id"))).from(table).take();
    match writer.first(&count).await? {
        Some(row) => Ok(row.cells().take::<i64>()?.unsigned_abs()),
        None => Ok(0),
    }
}

/// Authors, categories and tags. Ids are positions, from 1; sections come before the categories in them.
fn surroundings() -> [InsertStatement; 3] {
    let born = NEWEST - SPAN - 30 * DAY;
    let mut authors =
        insert("authors", &["id", "name", "username", "email", "avatar", "bio", "created_at", "updated_at"]);
    for (index, (name, username, bio)) in AUTHORS.into_iter().enumerate() {
        let avatar = (index % 2 == 0).then(|| format!("https://img.example.com/people/{username}.jpg"));
        let email = email(username);
        authors.values_panic([
            number(index).into(),
            name.into(),
            username.into(),
            email.into(),
            avatar.into(),
            bio.into(),
            born.into(),
            born.into(),
        ]);
    }
    let mut categories = insert(
        "categories",
        &["id", "parent_id", "name", "slug", "description", "sort_order", "created_at", "updated_at"],
    );
    let sections = SECTIONS.into_iter().map(|category| (None, category));
    let below = SUBJECTS.iter().map(|subject| (Some(number(subject.section)), subject.category));
    for (index, (parent, (name, slug, description))) in sections.chain(below).enumerate() {
        let id = number(index);
        categories.values_panic([
            id.into(),
            parent.into(),
            name.into(),
            slug.into(),
            description.into(),
            id.into(),
            born.into(),
            born.into(),
        ]);
    }
    let mut tags = insert("tags", &["id", "name", "slug", "created_at"]);
    for (index, (name, slug)) in TAGS.into_iter().enumerate() {
        tags.values_panic([number(index).into(), name.into(), slug.into(), born.into()]);
    }
    [authors, categories, tags]
}

/// The id of what stands at `index`.
fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX - 1) + 1
}

fn insert(table: &'static str, columns: &[&'static str]) -> InsertStatement {
    Query::insert().into_table(table).columns(columns.iter().copied()).take()
}

fn posts_insert(dialect: Dialect) -> InsertStatement {
    let words: &[&str] = if dialect == Dialect::Sqlite { &["words"] } else { &[] };
    insert(
        "posts",
        &[
            &[
                "id",
                "title",
                "slug",
                "excerpt",
                "content",
                "featured_image",
                "status",
                "type",
                "is_featured",
                "is_sticky",
                "view_count",
                "views_even",
                "views_odd",
                "reading_time",
                "published_at",
                "scheduled_at",
                "seo_title",
                "seo_description",
                "category_id",
                "author_id",
                "created_at",
                "updated_at",
                "deleted_at",
            ],
            words,
        ]
        .concat(),
    )
}

fn tags_insert() -> InsertStatement {
    insert("post_tags", &["post_id", "tag_id"])
}

/// Where a post is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Published,
    Deleted,
    Archived,
    Draft,
    Scheduled,
}

impl Stage {
    fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..=84 => Self::Published,
            85 => Self::Deleted,
            86..=89 => Self::Archived,
            90..=95 => Self::Draft,
            _ => Self::Scheduled,
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Published | Self::Deleted => "published",
            Self::Archived => "archived",
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
        }
    }
}

/// Hands out the moments of publication, oldest first but for some disorder, and now and then the same one twice.
#[derive(Debug)]
struct Clock {
    step: i64,
    base: i64,
    last: i64,
}

impl Clock {
    fn new(count: u64) -> Self {
        let step = SPAN / i64::try_from(count.max(1)).unwrap_or(SPAN);
        Self { step, base: NEWEST - SPAN, last: NEWEST - SPAN }
    }

    fn next(&mut self, random: &mut Random) -> i64 {
        self.base = (self.base + self.step).min(NEWEST);
        if !random.once_in(6) {
            let earlier = random.amount(10 * 24 * 60) * MINUTE;
            self.last = (self.base - earlier) / MINUTE * MINUTE;
        }
        self.last
    }
}

fn post(id: i64, clock: &mut Clock, random: &mut Random, dialect: Dialect) -> Vec<Expr> {
    let subject_index = random.index(SUBJECTS.len());
    let subject = &SUBJECTS[subject_index];
    let article = Article::write(id, subject, random);
    let stage = Stage::draw(random);
    let moment = clock.next(random);
    let created_at = moment - random.amount(20 * 24 * 60) * MINUTE;
    let updated_at = moment + random.amount(24 * 60) * MINUTE;
    let is_out = matches!(stage, Stage::Published | Stage::Deleted | Stage::Archived);
    let is_featured = random.once_in(15);
    // A few articles are about the whole section.
    let category =
        if random.once_in(12) { number(subject.section) } else { number(SECTIONS.len() + subject_index) };
    let root = random.amount(100);
    let image = (!random.once_in(3))
        .then(|| format!("https://img.example.com/{}/{}.jpg", subject.category.1, 1 + id % 12));
    let seo_title = random.once_in(4).then(|| article.title.chars().take(60).collect::<String>());
    let seo_description = seo_title.is_some().then(|| article.excerpt.chars().take(160).collect::<String>());
    let kind = random.pick(&["article", "article", "article", "article", "news", "page"]);
    let words = (dialect == Dialect::Sqlite).then(|| html::text(&article.content).into());
    let values = [
        id.into(),
        article.title.into(),
        article.slug.into(),
        article.excerpt.into(),
        article.content.into(),
        image.into(),
        stage.status().into(),
        kind.into(),
        is_featured.into(),
        random.once_in(50).into(),
        // Many are read a little, few a lot: and many equally often.
        (root * root).into(),
        (root * root).into(),
        (root * root).into(),
        article.reading_time.into(),
        is_out.then_some(moment).into(),
        (stage == Stage::Scheduled).then_some(FAR + id * MINUTE).into(),
        seo_title.into(),
        seo_description.into(),
        category.into(),
        number(random.index(AUTHORS.len())).into(),
        created_at.into(),
        updated_at.into(),
        (stage == Stage::Deleted).then_some(updated_at).into(),
    ];
    values.into_iter().chain(words).collect()
}

-- What is written: posts with their authors, categories and tags; and what the nodes of one database share.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE authors (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    username   TEXT NOT NULL UNIQUE,
    email      TEXT NOT NULL UNIQUE,
    avatar     TEXT,
    bio        TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE categories (
    id          INTEGER PRIMARY KEY,
    parent_id   BIGINT REFERENCES categories (id) ON DELETE RESTRICT,
    name        TEXT NOT NULL,
    slug        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL DEFAULT '',
    sort_order  BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX categories_parent ON categories (parent_id, sort_order);

CREATE TABLE tags (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    slug       TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE posts (
    id              INTEGER PRIMARY KEY,
    title           TEXT NOT NULL,
    slug            TEXT NOT NULL,
    excerpt         TEXT NOT NULL,
    content         TEXT NOT NULL,
    featured_image  TEXT,
    status          TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'scheduled', 'archived')),
    type            TEXT NOT NULL DEFAULT 'article' CHECK (type IN ('article', 'page', 'news')),
    is_featured     BOOLEAN NOT NULL DEFAULT FALSE,
    is_sticky       BOOLEAN NOT NULL DEFAULT FALSE,
    view_count      BIGINT NOT NULL DEFAULT 0,
    reading_time    BIGINT NOT NULL DEFAULT 1,
    published_at    BIGINT,
    scheduled_at    BIGINT,
    seo_title       TEXT,
    seo_description TEXT,
    seo_keywords    TEXT,
    seo_image       TEXT,
    category_id     BIGINT NOT NULL REFERENCES categories (id) ON DELETE RESTRICT,
    author_id       BIGINT NOT NULL REFERENCES authors (id) ON DELETE RESTRICT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    deleted_at      BIGINT,
    -- The id again, for indexes: SQLite does not seek to a row value whose last part is the INTEGER PRIMARY KEY,
    -- so among a hundred thousand equals a page would begin at the first of them. It takes no room in the row.
    tie             BIGINT GENERATED ALWAYS AS (id) VIRTUAL,
    -- A page of published posts never meets a NULL in its order.
    CHECK (status <> 'published' OR published_at IS NOT NULL),
    CHECK (status <> 'scheduled' OR scheduled_at IS NOT NULL)
);

-- A deleted post gives its slug back.
CREATE UNIQUE INDEX posts_slug ON posts (slug) WHERE deleted_at IS NULL;

-- One index per order of a public list: what is fixed first, then what is sorted by, then what decides between
-- equals. `published_at` rides along where it is not the order, so that counting and skipping stay in the index.
CREATE INDEX posts_by_date ON posts (status, deleted_at, published_at, tie);
CREATE INDEX posts_by_views ON posts (status, deleted_at, view_count, tie, published_at);
CREATE INDEX posts_by_creation ON posts (status, deleted_at, created_at, tie, published_at);
CREATE INDEX posts_by_category ON posts (category_id, status, deleted_at, published_at, tie);
CREATE INDEX posts_by_author ON posts (author_id, status, deleted_at, published_at, tie);
-- Those that wait for their moment.
CREATE INDEX posts_by_schedule ON posts (status, scheduled_at);

CREATE TABLE post_tags (
    post_id BIGINT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    tag_id  BIGINT NOT NULL REFERENCES tags (id) ON DELETE CASCADE,
    PRIMARY KEY (post_id, tag_id)
) WITHOUT ROWID;
CREATE INDEX post_tags_by_tag ON post_tags (tag_id, post_id);

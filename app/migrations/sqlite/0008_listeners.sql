-- What listeners keep: the parts of the sitemap, subscribers, webhooks, views.

-- A part that has a row is as it was when its job ran last.
CREATE TABLE sitemap_parts (
    part       BIGINT PRIMARY KEY NOT NULL,
    posts      BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- Who wants mail about new posts.
CREATE TABLE subscribers (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    email        TEXT NOT NULL UNIQUE,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'unsubscribed')),
    requested_at BIGINT NOT NULL,
    changed_at   BIGINT,
    created_at   BIGINT NOT NULL
);
CREATE INDEX subscribers_by_status ON subscribers (status, id);
CREATE INDEX subscribers_by_request ON subscribers (status, requested_at);

-- Posts that subscribers were told of: once, however often they are published.
CREATE TABLE notified_posts (
    post_id     BIGINT PRIMARY KEY NOT NULL,
    notified_at BIGINT NOT NULL
);

-- When the next mail to a domain may leave.
CREATE TABLE mail_domains (
    domain  TEXT PRIMARY KEY NOT NULL,
    next_at BIGINT NOT NULL
) WITHOUT ROWID;

-- Whose servers are told of events.
CREATE TABLE webhooks (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    url             TEXT NOT NULL,
    -- Signs what is sent; whoever receives it has the same.
    secret          BLOB NOT NULL,
    -- Names of events with spaces between.
    events          TEXT NOT NULL,
    -- Tries that failed since the last one that succeeded.
    failures        BIGINT NOT NULL DEFAULT 0,
    last_error      TEXT,
    disabled_at     BIGINT,
    created_at      BIGINT NOT NULL
);

-- How often posts were viewed, by hour and by day (UTC), and by how many on each day.
CREATE TABLE post_hours (
    post_id BIGINT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    hour    BIGINT NOT NULL,
    views   BIGINT NOT NULL,
    PRIMARY KEY (post_id, hour)
) WITHOUT ROWID;
CREATE INDEX post_hours_by_age ON post_hours (hour);
CREATE TABLE post_days (
    post_id  BIGINT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    day      BIGINT NOT NULL,
    views    BIGINT NOT NULL,
    visitors BIGINT NOT NULL,
    PRIMARY KEY (post_id, day)
) WITHOUT ROWID;
-- Who viewed a post on a day, as a number that says nothing of them; forgotten when the day is over.
CREATE TABLE post_visitors (
    day     BIGINT NOT NULL,
    post_id BIGINT NOT NULL,
    visitor BIGINT NOT NULL,
    PRIMARY KEY (day, post_id, visitor)
) WITHOUT ROWID;

-- How much a post is viewed lately: the logarithm of all its views, of which each counts half as much as one a day
-- later, in millionths. It only changes when a post is viewed, and compares at any time.
ALTER TABLE posts ADD COLUMN trend BIGINT NOT NULL DEFAULT 0;
-- The same when the order of lists was made, in two columns that take turns.
ALTER TABLE posts ADD COLUMN trend_even BIGINT NOT NULL DEFAULT 0;
ALTER TABLE posts ADD COLUMN trend_odd BIGINT NOT NULL DEFAULT 0;
CREATE INDEX posts_by_trend_even ON posts (status, deleted_at, trend_even, tie, published_at);
CREATE INDEX posts_by_trend_odd ON posts (status, deleted_at, trend_odd, tie, published_at);

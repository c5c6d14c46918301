-- Lists by views are walked in an order that stands still: how often posts were viewed when it was made. Two columns take
-- turns, so that clients that began with one edition of the order can go on in it while the next is current. `view_count`
-- itself, which changes with every view, is in no index any more.

ALTER TABLE posts ADD COLUMN views_even BIGINT NOT NULL DEFAULT 0;
ALTER TABLE posts ADD COLUMN views_odd BIGINT NOT NULL DEFAULT 0;
UPDATE posts SET views_even = view_count, views_odd = view_count WHERE view_count <> 0;

DROP INDEX posts_by_views;
CREATE INDEX posts_by_views_even ON posts (status, deleted_at, views_even, tie, published_at);
CREATE INDEX posts_by_views_odd ON posts (status, deleted_at, views_odd, tie, published_at);

-- One row: which edition lists begin in, which is the oldest that can still be walked, when the current one was made, and
-- up to which id the next one is made, while it is.
CREATE TABLE view_editions (
    id      BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    current BIGINT NOT NULL,
    oldest  BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    made_to BIGINT
);
INSERT INTO view_editions (id, current, oldest, made_at) VALUES (1, 1, 1, 0);

-- What was changed since when: a number per tag, which every write raises in its own transaction. Whoever keeps an
-- answer keeps the numbers it was made with, and the answer is stale when one of them has grown.

CREATE TABLE cache_tags (
    tag     TEXT PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL
) WITHOUT ROWID;

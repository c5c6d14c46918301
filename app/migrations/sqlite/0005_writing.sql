-- Where posts were before they were renamed. A slug that is taken again by another post leads there, and leaves this table.

CREATE TABLE old_slugs (
    slug       TEXT PRIMARY KEY NOT NULL,
    post_id    BIGINT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX old_slugs_by_post ON old_slugs (post_id);

-- What was answered to requests that carried an Idempotency-Key, so that the same request is carried out once.
CREATE TABLE idempotency_keys (
    -- Whose key it is, and at which address.
    scope       TEXT NOT NULL,
    name        TEXT NOT NULL,
    -- SHA-256 of the body.
    fingerprint BLOB NOT NULL,
    -- NULL while the request is carried out.
    status      BIGINT,
    headers     TEXT NOT NULL DEFAULT '',
    body        BLOB,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

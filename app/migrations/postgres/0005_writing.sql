-- Where posts were before they were renamed. A slug that is taken again by another post leads there, and leaves this table.

CREATE TABLE old_slugs (
    slug       TEXT COLLATE "C" PRIMARY KEY,
    post_id    BIGINT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL
);
CREATE INDEX old_slugs_by_post ON old_slugs (post_id);

-- What was answered to requests that carried an Idempotency-Key, so that the same request is carried out once.
CREATE TABLE idempotency_keys (
    -- Whose key it is, and at which address.
    scope       TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of the body.
    fingerprint BYTEA NOT NULL,
    -- NULL while the request is carried out.
    status      BIGINT,
    headers     TEXT NOT NULL DEFAULT '',
    body        BYTEA,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (scope, name)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Who may sign in, and with what. An account belongs to an author, whose public face is in `authors`.

CREATE TABLE accounts (
    author_id     BIGINT PRIMARY KEY NOT NULL REFERENCES authors (id) ON DELETE CASCADE,
    role          TEXT NOT NULL CHECK (role IN ('admin', 'editor', 'author')),
    -- In the PHC string format; without one, only tokens made by an operator let in.
    password_hash TEXT,
    is_active     BOOLEAN NOT NULL DEFAULT TRUE,
    last_login_at BIGINT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    author_id  BIGINT NOT NULL REFERENCES accounts (author_id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    -- SHA-256 of the secret, which is kept nowhere.
    hash       BLOB NOT NULL UNIQUE,
    -- Words with spaces between.
    abilities  TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX tokens_by_author ON tokens (author_id, created_at);

-- Tries to sign in, by account and by address, in the window that began at `since`.
CREATE TABLE login_tries (
    subject TEXT PRIMARY KEY NOT NULL,
    tries   BIGINT NOT NULL,
    since   BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX login_tries_by_age ON login_tries (since);

-- What happened, and what is to be done about it: both are written in the transaction of the change itself.

CREATE TABLE events (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    version     BIGINT NOT NULL,
    payload     TEXT NOT NULL,
    -- The request that it came from.
    request_id  TEXT,
    occurred_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX events_by_age ON events (occurred_at, id);

CREATE TABLE jobs (
    -- Never given out twice: a number in a log means one job for ever.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    queue       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    event_id    TEXT,
    -- Two jobs of one kind and key never wait at the same time.
    key         TEXT,
    payload     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'buried', 'discarded')),
    -- Why it is where it is, where that is not obvious.
    reason      TEXT,
    run_at      BIGINT NOT NULL,
    -- How often it was taken; with its owner, what a result must carry to be believed.
    attempt     BIGINT NOT NULL DEFAULT 0,
    owner       TEXT,
    lease_until BIGINT,
    failures    BIGINT NOT NULL DEFAULT 0,
    -- How often the process that had it was gone.
    losses      BIGINT NOT NULL DEFAULT 0,
    -- The latest errors, as a JSON list.
    errors      TEXT NOT NULL DEFAULT '[]',
    created_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    CHECK (state <> 'running' OR (owner IS NOT NULL AND lease_until IS NOT NULL))
);
-- Each index holds only the jobs it is for, so that finished ones cost nothing.
CREATE INDEX jobs_due ON jobs (queue, run_at, id) WHERE state = 'waiting';
CREATE INDEX jobs_running ON jobs (lease_until, id) WHERE state = 'running';
CREATE INDEX jobs_buried ON jobs (queue, id) WHERE state = 'buried';
CREATE INDEX jobs_ended ON jobs (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_of_event ON jobs (event_id, kind) WHERE event_id IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_key ON jobs (kind, key) WHERE state = 'waiting' AND key IS NOT NULL;

CREATE TABLE queues (
    name      TEXT PRIMARY KEY NOT NULL,
    paused_at BIGINT,
    -- When the next job may be taken, by the rate of the queue.
    next_at   BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO queues (name) VALUES ('default'), ('mail'), ('webhooks');

-- What is done again and again, and when next.
CREATE TABLE schedules (
    name    TEXT PRIMARY KEY NOT NULL,
    next_at BIGINT NOT NULL
) WITHOUT ROWID;

-- What only one process does at a time, and which one that is.
CREATE TABLE leases (
    name  TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO leases (name, owner, until) VALUES ('queue', '', 0);

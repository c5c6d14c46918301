-- What the nodes know of each other's alerts: who tells, what each saw, what was told, and what is not to be.

CREATE TABLE alert_lease (
    id       BIGINT PRIMARY KEY NOT NULL,
    holder   TEXT NOT NULL,
    until_at BIGINT NOT NULL
);
INSERT INTO alert_lease (id, holder, until_at) VALUES (1, '', 0);

CREATE TABLE alert_nodes (
    node    TEXT PRIMARY KEY NOT NULL,
    address TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    samples TEXT NOT NULL
);

CREATE TABLE alert_told (
    channel TEXT NOT NULL,
    rule    TEXT NOT NULL,
    told_at BIGINT NOT NULL,
    alerts  TEXT NOT NULL,
    PRIMARY KEY (channel, rule)
);

CREATE TABLE alert_silences (
    id       TEXT PRIMARY KEY NOT NULL,
    until_at BIGINT NOT NULL,
    silence  TEXT NOT NULL
);

CREATE TABLE alert_history (
    id       INTEGER PRIMARY KEY,
    at       BIGINT NOT NULL,
    happened TEXT NOT NULL
);
CREATE INDEX alert_history_by_time ON alert_history (at);

-- The histories that this database has had: another one begins with each promotion of a PostgreSQL replica. A replica
-- that has this row follows the primary that wrote it. With SQLite nothing is ever written here.
CREATE TABLE database_timelines (
    timeline BIGINT PRIMARY KEY
);

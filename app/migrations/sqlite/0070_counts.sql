-- How many posts are published and not deleted: in all, by author, by category. Kept by the table of posts itself, so that
-- the number of a list costs the same whatever the number of posts.

CREATE TABLE post_counts (
    scope  TEXT NOT NULL CHECK (scope IN ('all', 'author', 'category')),
    id     INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (scope, id)
) WITHOUT ROWID;

INSERT INTO post_counts (scope, id, number)
SELECT 'all', 0, count(*) FROM posts WHERE status = 'published' AND deleted_at IS NULL
UNION ALL
SELECT 'author', author_id, count(*) FROM posts WHERE status = 'published' AND deleted_at IS NULL GROUP BY author_id
UNION ALL
SELECT 'category', category_id, count(*) FROM posts WHERE status = 'published' AND deleted_at IS NULL GROUP BY category_id;

CREATE TRIGGER posts_counted_insert AFTER INSERT ON posts
WHEN new.status = 'published' AND new.deleted_at IS NULL BEGIN
    INSERT INTO post_counts (scope, id, number)
    VALUES ('all', 0, 1), ('author', new.author_id, 1), ('category', new.category_id, 1)
    ON CONFLICT (scope, id) DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER posts_counted_delete AFTER DELETE ON posts
WHEN old.status = 'published' AND old.deleted_at IS NULL BEGIN
    UPDATE post_counts SET number = number - 1
    WHERE (scope, id) IN (VALUES ('all', 0), ('author', old.author_id), ('category', old.category_id));
END;
CREATE TRIGGER posts_counted_before AFTER UPDATE OF status, deleted_at, author_id, category_id ON posts
WHEN old.status = 'published' AND old.deleted_at IS NULL BEGIN
    UPDATE post_counts SET number = number - 1
    WHERE (scope, id) IN (VALUES ('all', 0), ('author', old.author_id), ('category', old.category_id));
END;
CREATE TRIGGER posts_counted_after AFTER UPDATE OF status, deleted_at, author_id, category_id ON posts
WHEN new.status = 'published' AND new.deleted_at IS NULL BEGIN
    INSERT INTO post_counts (scope, id, number)
    VALUES ('all', 0, 1), ('author', new.author_id, 1), ('category', new.category_id, 1)
    ON CONFLICT (scope, id) DO UPDATE SET number = number + 1;
END;

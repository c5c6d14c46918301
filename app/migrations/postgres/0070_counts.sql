-- How many posts are published and not deleted: in all, by author, by category. Kept by the table of posts itself, so that
-- the number of a list costs the same whatever the number of posts.

CREATE TABLE post_counts (
    scope  TEXT COLLATE "C" NOT NULL CHECK (scope IN ('all', 'author', 'category')),
    id     BIGINT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (scope, id)
);

INSERT INTO post_counts (scope, id, number)
SELECT 'all', 0, count(*) FROM posts WHERE status = 'published' AND deleted_at IS NULL
UNION ALL
SELECT 'author', author_id, count(*) FROM posts WHERE status = 'published' AND deleted_at IS NULL GROUP BY author_id
UNION ALL
SELECT 'category', category_id, count(*) FROM posts WHERE status = 'published' AND deleted_at IS NULL GROUP BY category_id;

-- Rows are always taken in the order of their key, so that two who write never wait for each other.
CREATE FUNCTION count_posts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO post_counts AS kept (scope, id, number)
    SELECT part.scope, part.id, count(*) * CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
    FROM these_posts
    CROSS JOIN LATERAL (VALUES ('all', 0), ('author', author_id), ('category', category_id)) AS part (scope, id)
    WHERE status = 'published' AND deleted_at IS NULL
    GROUP BY part.scope, part.id
    ORDER BY part.scope COLLATE "C", part.id
    ON CONFLICT (scope, id) DO UPDATE SET number = kept.number + excluded.number;
    RETURN NULL;
END $$;
CREATE TRIGGER posts_counted_insert AFTER INSERT ON posts
REFERENCING NEW TABLE AS these_posts FOR EACH STATEMENT EXECUTE FUNCTION count_posts();
CREATE TRIGGER posts_counted_delete AFTER DELETE ON posts
REFERENCING OLD TABLE AS these_posts FOR EACH STATEMENT EXECUTE FUNCTION count_posts();

CREATE FUNCTION count_changed_post() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO post_counts AS kept (scope, id, number)
    SELECT part.scope, part.id, sum(part.number)
    FROM (
        SELECT scope, id, -1 AS number
        FROM (VALUES ('all', 0), ('author', OLD.author_id), ('category', OLD.category_id)) AS before (scope, id)
        WHERE OLD.status = 'published' AND OLD.deleted_at IS NULL
        UNION ALL
        SELECT scope, id, 1
        FROM (VALUES ('all', 0), ('author', NEW.author_id), ('category', NEW.category_id)) AS after (scope, id)
        WHERE NEW.status = 'published' AND NEW.deleted_at IS NULL
    ) AS part
    GROUP BY part.scope, part.id
    HAVING sum(part.number) <> 0
    ORDER BY part.scope COLLATE "C", part.id
    ON CONFLICT (scope, id) DO UPDATE SET number = kept.number + excluded.number;
    RETURN NULL;
END $$;
CREATE TRIGGER posts_counted_update AFTER UPDATE OF status, deleted_at, author_id, category_id ON posts
FOR EACH ROW WHEN (
    (OLD.status, OLD.deleted_at IS NULL, OLD.author_id, OLD.category_id)
    IS DISTINCT FROM (NEW.status, NEW.deleted_at IS NULL, NEW.author_id, NEW.category_id)
) EXECUTE FUNCTION count_changed_post();

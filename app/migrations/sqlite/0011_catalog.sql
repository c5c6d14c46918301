-- How categories and tags are shown, and an index for every order of their lists and those of authors.

ALTER TABLE categories ADD COLUMN image TEXT;
ALTER TABLE categories ADD COLUMN icon TEXT;
ALTER TABLE categories ADD COLUMN color TEXT;
ALTER TABLE categories ADD COLUMN is_featured BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE categories ADD COLUMN is_active BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE tags ADD COLUMN type TEXT NOT NULL DEFAULT 'post';
ALTER TABLE tags ADD COLUMN color TEXT;

-- By place, then by name: v1; by place alone, the id deciding between equals: v2.
CREATE INDEX categories_by_place_and_name ON categories (sort_order, name, id);
CREATE INDEX categories_by_place ON categories (sort_order, id);
CREATE INDEX categories_by_name ON categories (name, id);
CREATE INDEX categories_by_creation ON categories (created_at, id);
CREATE INDEX tags_by_name ON tags (name, id);
CREATE INDEX tags_by_creation ON tags (created_at, id);
CREATE INDEX authors_by_name ON authors (name, id);
CREATE INDEX authors_by_creation ON authors (created_at, id);

-- Searching leaves HTML tags out: `words` is the text of a post without them, and is what its index is made from. The text
-- of older posts is taken apart at each `<` and put together behind each `>`.
ALTER TABLE posts ADD COLUMN words TEXT NOT NULL DEFAULT '';
DROP TRIGGER posts_search_insert;
DROP TRIGGER posts_search_delete;
DROP TRIGGER posts_search_update;
DROP TABLE posts_search;
WITH RECURSIVE pieces (id, words, rest) AS (
    SELECT id, '', content || '<' FROM posts
    UNION ALL
    SELECT id, words || substr(rest, 1, instr(rest, '<') - 1) || ' ',
        CASE instr(substr(rest, instr(rest, '<')), '>')
            WHEN 0 THEN ''
            ELSE substr(rest, instr(rest, '<') + instr(substr(rest, instr(rest, '<')), '>'))
        END
    FROM pieces WHERE rest <> ''
)
UPDATE posts SET words = pieces.words FROM pieces WHERE pieces.id = posts.id AND pieces.rest = '';
CREATE VIRTUAL TABLE posts_search USING fts5 (
    title, excerpt, words,
    content = 'posts', content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
INSERT INTO posts_search (posts_search) VALUES ('rebuild');

CREATE TRIGGER posts_search_insert AFTER INSERT ON posts BEGIN
    INSERT INTO posts_search (rowid, title, excerpt, words) VALUES (new.id, new.title, new.excerpt, new.words);
END;
CREATE TRIGGER posts_search_delete AFTER DELETE ON posts BEGIN
    INSERT INTO posts_search (posts_search, rowid, title, excerpt, words)
    VALUES ('delete', old.id, old.title, old.excerpt, old.words);
END;
CREATE TRIGGER posts_search_update AFTER UPDATE OF title, excerpt, words ON posts BEGIN
    INSERT INTO posts_search (posts_search, rowid, title, excerpt, words)
    VALUES ('delete', old.id, old.title, old.excerpt, old.words);
    INSERT INTO posts_search (rowid, title, excerpt, words) VALUES (new.id, new.title, new.excerpt, new.words);
END;

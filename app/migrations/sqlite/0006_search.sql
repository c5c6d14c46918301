-- Words of posts, for searching: an index beside the table, kept up to date by the table itself.

CREATE VIRTUAL TABLE posts_search USING fts5 (
    title, excerpt, content,
    content = 'posts', content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
INSERT INTO posts_search (posts_search) VALUES ('rebuild');

CREATE TRIGGER posts_search_insert AFTER INSERT ON posts BEGIN
    INSERT INTO posts_search (rowid, title, excerpt, content) VALUES (new.id, new.title, new.excerpt, new.content);
END;
CREATE TRIGGER posts_search_delete AFTER DELETE ON posts BEGIN
    INSERT INTO posts_search (posts_search, rowid, title, excerpt, content)
    VALUES ('delete', old.id, old.title, old.excerpt, old.content);
END;
CREATE TRIGGER posts_search_update AFTER UPDATE OF title, excerpt, content ON posts BEGIN
    INSERT INTO posts_search (posts_search, rowid, title, excerpt, content)
    VALUES ('delete', old.id, old.title, old.excerpt, old.content);
    INSERT INTO posts_search (rowid, title, excerpt, content) VALUES (new.id, new.title, new.excerpt, new.content);
END;

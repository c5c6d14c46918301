-- Words of posts, for searching. The parser leaves HTML tags out; of very long texts the beginning is indexed, because
-- a vector of words has a limit of its own.

ALTER TABLE posts ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('simple', left(title, 1000)), 'A')
    || setweight(to_tsvector('simple', left(excerpt, 10000)), 'B')
    || setweight(to_tsvector('simple', left(content, 100000)), 'C')
) STORED;
CREATE INDEX posts_by_words ON posts USING gin (search);

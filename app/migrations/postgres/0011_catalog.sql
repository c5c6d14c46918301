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

-- One number for all changes: each write takes the next one and gives it to the tags it touches, so that whoever
-- keeps answers finds what was raised since it last asked.

INSERT INTO cache_tags (tag, version) SELECT '*', coalesce(max(version), 0) FROM cache_tags;
CREATE INDEX cache_tags_by_version ON cache_tags (version);

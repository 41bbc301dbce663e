-- When the image of a release was given up: from then on it may be gone from the registry, and
-- nothing may run the release again. Null while the image is kept.
ALTER TABLE releases ADD COLUMN image_expired_at BIGINT;
-- Bytes of the app's git repository, as its builder told after the last push; null before the first.
ALTER TABLE apps ADD COLUMN repository_bytes BIGINT;

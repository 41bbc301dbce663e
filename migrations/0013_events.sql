-- Events by cause: why something happened to a pod or a machine, how often, and in which order
-- people were told.

-- By name: web.1
ALTER TABLE events ADD COLUMN pod TEXT;
-- Why, as JSON, and its type once more to look for.
ALTER TABLE events ADD COLUMN cause TEXT;
ALTER TABLE events ADD COLUMN cause_type TEXT;
-- What repeats of the same event share; null for what is never counted.
ALTER TABLE events ADD COLUMN fold TEXT;
ALTER TABLE events ADD COLUMN times BIGINT NOT NULL DEFAULT 1;
-- When it was seen last; null: when it was made.
ALTER TABLE events ADD COLUMN updated_at BIGINT;
-- Grows with each event and each repeat. Null in rows of a version that does not know it; those are
-- numbered when a controller starts.
ALTER TABLE events ADD COLUMN position BIGINT;

CREATE INDEX events_position ON events (position);
CREATE INDEX events_app_position ON events (app_id, position);
CREATE INDEX events_fold ON events (fold, updated_at) WHERE fold IS NOT NULL;

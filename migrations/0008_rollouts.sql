-- How a deployment goes, and what people want of it meanwhile.

-- Strategy as JSON; null: the default.
ALTER TABLE apps ADD COLUMN deploy_strategy TEXT;

-- Made anew, since a state more cannot be added to a check.
CREATE TABLE deployments_new (
    id          TEXT   NOT NULL PRIMARY KEY,
    app_id      TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    release_id  TEXT   NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    -- The build whose output tells of this deployment, if a push caused it.
    build_id    TEXT,
    -- Strategy as JSON, as it was when the deployment was asked for.
    strategy    TEXT   NOT NULL,
    -- Wish as JSON: what somebody asked of it last.
    wish        TEXT,
    -- The word of the state, for queries; `detail` has its data.
    state       TEXT   NOT NULL CHECK (state IN
                ('queued', 'release-phase', 'starting', 'rolling', 'rolling-back',
                 'canary-starting', 'canary', 'paused', 'switching', 'baking', 'succeeded',
                 'failed', 'reverted', 'superseded')),
    detail      TEXT   NOT NULL,
    -- When the present state must have ended; null for ended ones.
    deadline_at BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
INSERT INTO deployments_new
SELECT id, app_id, release_id, build_id, '{"kind":"all-at-once"}', NULL, state, detail,
       deadline_at, created_at, updated_at
FROM deployments;
DROP TABLE deployments;
ALTER TABLE deployments_new RENAME TO deployments;

CREATE INDEX deployments_open ON deployments (state)
    WHERE state NOT IN ('succeeded', 'failed', 'reverted', 'superseded');
CREATE INDEX deployments_app ON deployments (app_id, created_at);

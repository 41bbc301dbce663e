-- Deployments, pods and machines: what the platform does about it.

CREATE TABLE deployments (
    id          TEXT   NOT NULL PRIMARY KEY,
    app_id      TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    release_id  TEXT   NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    -- The build whose output tells of this deployment, if a push caused it.
    build_id    TEXT,
    -- The word of the state, for queries; `detail` has its data.
    state       TEXT   NOT NULL CHECK (state IN
                ('queued', 'release-phase', 'starting', 'switching', 'succeeded', 'failed',
                 'superseded')),
    detail      TEXT   NOT NULL,
    -- When the present state must have ended; null for ended ones.
    deadline_at BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX deployments_open ON deployments (state)
    WHERE state IN ('queued', 'release-phase', 'starting', 'switching');
CREATE INDEX deployments_app ON deployments (app_id, created_at);

CREATE TABLE pods (
    id           TEXT    NOT NULL PRIMARY KEY,
    app_id       TEXT    NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    release_id   TEXT    NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    kind         TEXT    NOT NULL CHECK (kind IN ('service', 'release-phase', 'run')),
    process_type TEXT    NOT NULL,
    -- web.1, run.4821, release.7
    name         TEXT    NOT NULL,
    ordinal      BIGINT  NOT NULL,
    size         TEXT    NOT NULL,
    -- The binding: which machine runs it; null while nothing fits.
    node         TEXT,
    -- Why nothing fits, for people.
    unplaced     TEXT,
    -- Wanted by nobody any more: it leaves the route table, drains and is stopped. Microseconds
    -- since when; null for wanted ones.
    retired_at   BIGINT,
    -- The route table generation that no longer names it.
    unrouted_in  BIGINT,
    -- The agent was told to stop it.
    stopping     BOOLEAN NOT NULL DEFAULT FALSE,
    -- What only one-off pods have (command, extra environment, terminal, time to live), as JSON
    -- under the master key; null for the rest.
    one_off      TEXT,
    -- PodStatus as JSON, as last reported; written when it changes.
    status       TEXT,
    created_at   BIGINT  NOT NULL,
    updated_at   BIGINT  NOT NULL
);
CREATE INDEX pods_app ON pods (app_id);

CREATE TABLE nodes (
    name       TEXT   NOT NULL PRIMARY KEY,
    -- What an operator asked for; whether it is lost is observed, not stored.
    intent     TEXT   NOT NULL CHECK (intent IN ('ready', 'cordoned', 'draining')),
    -- Capacity as JSON, as last reported; written when it changes.
    capacity   TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Last used number of each kind of whole order: `routes`, `node/NAME`.
CREATE TABLE generations (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

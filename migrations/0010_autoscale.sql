-- Autoscaling, and what apps have switched on.

CREATE TABLE autoscale (
    app_id       TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process_type TEXT   NOT NULL,
    -- Autoscale as JSON.
    policy       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (app_id, process_type)
);

CREATE TABLE app_features (
    id         TEXT    NOT NULL PRIMARY KEY,
    app_id     TEXT    NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    enabled    BOOLEAN NOT NULL,
    -- What the feature needs and nobody may know, under the master key.
    secret     TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    UNIQUE (app_id, name)
);

-- Volumes: disks of apps that outlive pods and releases, and config vars that are files.

CREATE TABLE volumes (
    id         TEXT    NOT NULL PRIMARY KEY,
    app_id     TEXT    NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    -- VolumeSource as JSON.
    source     TEXT    NOT NULL,
    -- Any number of pods may have it at a time.
    shared     BOOLEAN NOT NULL,
    -- NULL: no limit.
    size_bytes BIGINT,
    -- Where one on a machine's disk is; NULL until a pod that mounts it was bound.
    node       TEXT,
    -- What is being done to it, as JSON; NULL: nothing.
    work       TEXT,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    UNIQUE (app_id, name)
);

-- What the app's next release mounts.
CREATE TABLE volume_mounts (
    volume_id    TEXT    NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    process_type TEXT    NOT NULL,
    path         TEXT    NOT NULL,
    read_only    BOOLEAN NOT NULL,
    created_at   BIGINT  NOT NULL,
    PRIMARY KEY (volume_id, process_type)
);

-- Volumes that were destroyed, or moved away, and whose machine has not removed them yet. No
-- reference: they outlive their app.
CREATE TABLE removed_volumes (
    volume_id  TEXT   NOT NULL,
    node       TEXT   NOT NULL,
    removed_at BIGINT NOT NULL,
    PRIMARY KEY (volume_id, node)
);

-- Config vars that pods get as files, and not in their environment.
CREATE TABLE config_files (
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, name)
);

-- What its pods mount, and which config vars are files, as JSON; NULL: none.
ALTER TABLE releases ADD COLUMN mounts TEXT;
ALTER TABLE releases ADD COLUMN config_files TEXT;

CREATE TABLE volume_snapshots (
    id          TEXT   NOT NULL PRIMARY KEY,
    -- No reference: a snapshot outlives its volume, not its app.
    app_id      TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    volume_id   TEXT   NOT NULL,
    -- The volume's name when it was taken.
    volume_name TEXT   NOT NULL,
    state       TEXT   NOT NULL CHECK (state IN ('pending', 'complete', 'failed')),
    -- Why it failed.
    failure     TEXT,
    -- Of the archive; NULL until it is complete.
    bytes       BIGINT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX volume_snapshots_app ON volume_snapshots (app_id);

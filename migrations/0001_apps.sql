-- Accounts, apps, builds and releases: what people made.

CREATE TABLE accounts (
    id            TEXT   NOT NULL PRIMARY KEY,
    email         TEXT   NOT NULL UNIQUE,
    -- Argon2id in PHC form.
    password_hash TEXT   NOT NULL,
    role          TEXT   NOT NULL CHECK (role IN ('member', 'admin')),
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);

CREATE TABLE tokens (
    id          TEXT   NOT NULL PRIMARY KEY,
    account_id  TEXT   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    description TEXT,
    -- SHA-256 of the token in hex; the token itself is 256 random bits and kept nowhere.
    hash        TEXT   NOT NULL UNIQUE,
    expires_at  BIGINT,
    created_at  BIGINT NOT NULL
);
CREATE INDEX tokens_account ON tokens (account_id);

CREATE TABLE keys (
    id          TEXT   NOT NULL PRIMARY KEY,
    account_id  TEXT   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    fingerprint TEXT   NOT NULL UNIQUE,
    public_key  TEXT   NOT NULL,
    comment     TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX keys_account ON keys (account_id);

CREATE TABLE apps (
    id             TEXT    NOT NULL PRIMARY KEY,
    name           TEXT    NOT NULL UNIQUE,
    owner_id       TEXT    NOT NULL REFERENCES accounts (id),
    maintenance    BOOLEAN NOT NULL DEFAULT FALSE,
    deploy_branch  TEXT,
    -- The newest row of config_versions.
    config_version BIGINT  NOT NULL,
    -- The release that is live; moves when a deployment succeeds.
    current_release_id TEXT,
    -- Numbers releases without gaps or reuse.
    last_release_version BIGINT NOT NULL DEFAULT 0,
    created_at     BIGINT  NOT NULL,
    updated_at     BIGINT  NOT NULL,
    released_at    BIGINT
);
CREATE INDEX apps_owner ON apps (owner_id);

-- Config vars as a whole, one row per version; a release names the version it runs with.
CREATE TABLE config_versions (
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version    BIGINT NOT NULL,
    -- JSON object under XChaCha20-Poly1305, base64: key id, nonce and ciphertext. The app's id and
    -- the version are its associated data, so that a row cannot be moved to another app.
    ciphertext TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, version)
);

CREATE TABLE domains (
    id         TEXT   NOT NULL PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    hostname   TEXT   NOT NULL UNIQUE,
    kind       TEXT   NOT NULL CHECK (kind IN ('built-in', 'custom')),
    created_at BIGINT NOT NULL
);
CREATE INDEX domains_app ON domains (app_id);

CREATE TABLE formation (
    id           TEXT   NOT NULL PRIMARY KEY,
    app_id       TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process_type TEXT   NOT NULL,
    quantity     BIGINT NOT NULL CHECK (quantity >= 0),
    size         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    UNIQUE (app_id, process_type)
);

CREATE TABLE builds (
    id          TEXT   NOT NULL PRIMARY KEY,
    app_id      TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user_id     TEXT   NOT NULL REFERENCES accounts (id),
    -- The builder that holds the source.
    builder     TEXT   NOT NULL,
    -- PushedCommit as JSON.
    source      TEXT   NOT NULL,
    phase       TEXT   NOT NULL
                CHECK (phase IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    failure     TEXT,
    -- While running: when the builder counts as gone.
    lease_until BIGINT,
    -- BuiltImage as JSON, once succeeded.
    result      TEXT,
    release_id  TEXT,
    -- How the whole push ended (PushVerdict as JSON): set once, when its output is complete.
    verdict     TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX builds_app ON builds (app_id, created_at);
CREATE INDEX builds_open ON builds (phase) WHERE phase IN ('queued', 'running');

CREATE TABLE releases (
    id             TEXT   NOT NULL PRIMARY KEY,
    app_id         TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version        BIGINT NOT NULL,
    description    TEXT   NOT NULL,
    status         TEXT   NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    failure        TEXT,
    user_id        TEXT   NOT NULL REFERENCES accounts (id),
    -- The build whose image it runs; null for releases before the first push.
    build_id       TEXT,
    -- BuiltImage as JSON; null before the first push.
    image          TEXT,
    commit_id      TEXT,
    config_version BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    UNIQUE (app_id, version)
);

CREATE TABLE events (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- No reference: the record outlives the app.
    app_id     TEXT,
    app_name   TEXT,
    actor      TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX events_app ON events (app_id, created_at);

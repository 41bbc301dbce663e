-- Jobs: what is remembered of commands on a schedule, and every execution of a command beside the
-- process types.

CREATE TABLE jobs (
    app_id        TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name          TEXT   NOT NULL,
    -- Since when it starts no runs; null while it does. Outlives releases.
    suspended_at  BIGINT,
    suspended_by  TEXT,
    -- The schedule, and up to when it is dealt with; null while the job is not on one.
    schedule      TEXT,
    decided_until BIGINT,
    PRIMARY KEY (app_id, name)
);

CREATE TABLE runs (
    id           TEXT   NOT NULL PRIMARY KEY,
    app_id       TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    release_id   TEXT   NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    kind         TEXT   NOT NULL CHECK (kind IN ('one-off', 'job')),
    -- Of which job, or how a batch was named.
    job          TEXT,
    -- run.4821, nightly.10001
    name         TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    size         TEXT   NOT NULL,
    -- Command and extra environment as JSON under the master key; null for a job's own, which its
    -- release has.
    work         TEXT,
    -- Shape as JSON: pods, tries, time.
    shape        TEXT   NOT NULL,
    -- Progress as JSON.
    progress     TEXT   NOT NULL,
    state        TEXT   NOT NULL CHECK (state IN
                 ('running', 'succeeded', 'failed', 'timed-out', 'cancelled', 'missed')),
    exit_code    BIGINT,
    reason       TEXT,
    -- The scheduled time that it is for; null if somebody started it.
    scheduled_at BIGINT,
    -- Scheduled times that got no run of their own because of it or before it.
    skipped      BIGINT NOT NULL DEFAULT 0,
    -- Who started it.
    actor        TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    ended_at     BIGINT,
    -- Never two runs for one time, whatever else goes wrong.
    UNIQUE (app_id, job, scheduled_at)
);
CREATE INDEX runs_app ON runs (app_id, id);
CREATE INDEX runs_open ON runs (app_id) WHERE state = 'running';

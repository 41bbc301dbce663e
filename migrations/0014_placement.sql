-- Where process types may run, as somebody said for the app; it goes before what app.json says. Also
-- for pods of one-off commands (run) and of jobs (job).

CREATE TABLE placements (
    app_id       TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process_type TEXT   NOT NULL,
    -- Placement as JSON.
    placement    TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (app_id, process_type)
);

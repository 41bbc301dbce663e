-- The pod network: which machine has which addresses, and who may talk to whom.

-- The one row, `pods`: chosen when the first machine joins.
CREATE TABLE pod_network (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- The network that all pods are in, 10.64.0.0/11.
    pods       TEXT   NOT NULL,
    -- Tells this cluster's packets from those of another.
    vni        BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE node_subnets (
    node       TEXT   NOT NULL PRIMARY KEY,
    subnet     TEXT   NOT NULL UNIQUE,
    -- Where other machines reach it, as last reported.
    underlay   TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE admissions (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- Whose pods may be connected to.
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    -- By whose pods.
    from_id    TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    -- 0 for all.
    port       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (app_id, from_id, port)
);
CREATE INDEX admissions_from ON admissions (from_id);

CREATE TABLE external_names (
    app_id     TEXT   NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name       TEXT   NOT NULL,
    -- ExternalTarget as JSON.
    target     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, name)
);

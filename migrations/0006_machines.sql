-- Machines that join: who they are, what operators say about them, and what lets them in.

-- One that joins again after it was removed is another.
ALTER TABLE nodes ADD COLUMN id TEXT;
-- What operators said: JSON, label to value, null for a label of the agent that was taken off.
ALTER TABLE nodes ADD COLUMN labels TEXT;
-- Taints as JSON.
ALTER TABLE nodes ADD COLUMN taints TEXT;
-- NodeFacts as JSON, as last reported; written when more than the clock in it changes.
ALTER TABLE nodes ADD COLUMN facts TEXT;
-- When its certificate ends; null for a machine that runs in the controller's own process.
ALTER TABLE nodes ADD COLUMN certificate_until BIGINT;
CREATE UNIQUE INDEX nodes_id ON nodes (id);

-- The one row: the cluster's certificate authority.
CREATE TABLE cluster (
    id           TEXT   NOT NULL PRIMARY KEY,
    -- In PEM.
    certificate  TEXT   NOT NULL,
    -- Its key, under the master key.
    key          TEXT   NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE node_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- SHA-256 of the secret; the secret is kept nowhere.
    hash       TEXT   NOT NULL UNIQUE,
    expires_at BIGINT NOT NULL,
    -- Null until a machine joined with it; then when, and which.
    used_at    BIGINT,
    used_by    TEXT,
    created_at BIGINT NOT NULL
);

CREATE INDEX pods_node ON pods (node);

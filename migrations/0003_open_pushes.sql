-- The queue of builds asks "has this app an earlier open push" for each candidate; without an index
-- that would read every build the app ever had.
CREATE INDEX builds_open_push ON builds (app_id, id) WHERE verdict IS NULL;

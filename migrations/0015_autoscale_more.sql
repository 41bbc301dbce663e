-- What counts follow besides what is measured: queues, and bounds by the time of the week. Apart from
-- the policy, which programs before this one read and must go on to understand.

-- Queue and windows as JSON; NULL for none.
ALTER TABLE autoscale ADD COLUMN more TEXT;

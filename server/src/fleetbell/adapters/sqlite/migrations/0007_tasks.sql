-- Policies, retries, time-outs, and tasks that are made chunk by chunk.

-- What a task's groups were filtered by, and how many devices they had then.
ALTER TABLE task ADD COLUMN group_names TEXT NOT NULL DEFAULT '[]'; -- a JSON array, as created
ALTER TABLE task ADD COLUMN manufacturer_name TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN device_type TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN members INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN window_starts_at_ms INTEGER;
ALTER TABLE task ADD COLUMN window_ends_at_ms INTEGER;
ALTER TABLE task ADD COLUMN retry_wait_ms INTEGER NOT NULL DEFAULT 0;

-- What the platform still has to do for the sub tasks. errand: 0 none, 1 make, 2 offer, 3 retry, 4 stop.
ALTER TABLE task ADD COLUMN errand INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN due_at_ms INTEGER;
ALTER TABLE task ADD COLUMN retries_left INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
CREATE INDEX task_due ON task (due_at_ms) WHERE due_at_ms IS NOT NULL;

-- Targets whose sub tasks are not made yet, some thousand in a row.
CREATE TABLE task_target (
    operation_id TEXT NOT NULL,
    position INTEGER NOT NULL, -- of the first
    device_ids TEXT NOT NULL, -- a JSON array
    PRIMARY KEY (operation_id, position)
) STRICT, WITHOUT ROWID;

-- Since when an attempt is at its step, and when somebody is to look whether that is too long. The time of
-- the look moves seldom, so that most reports leave the index alone.
ALTER TABLE attempt ADD COLUMN step_at_ms INTEGER;
ALTER TABLE attempt ADD COLUMN look_at_ms INTEGER;
CREATE INDEX attempt_look ON attempt (look_at_ms) WHERE look_at_ms IS NOT NULL;
UPDATE attempt SET -- for what is open, the time begins now
    step_at_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER),
    look_at_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE status < 2;

-- The tally of a task, kept with it: counting a hundred thousand sub tasks takes too long for a query.
ALTER TABLE task ADD COLUMN tally_wait INTEGER NOT NULL DEFAULT 0; -- with those that are not made yet
ALTER TABLE task ADD COLUMN tally_processing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN tally_success INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN tally_fail INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN tally_stop INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN tally_timeout INTEGER NOT NULL DEFAULT 0; -- of those that failed
UPDATE task SET
    tally_wait = a.wait,
    tally_processing = a.processing,
    tally_success = a.success,
    tally_fail = a.fail,
    tally_stop = a.stop
FROM (
    SELECT operation_id, sum(status = 0) AS wait, sum(status = 1) AS processing, sum(status = 2) AS success,
        sum(status = 3) AS fail, sum(status = 4) AS stop
    FROM attempt GROUP BY operation_id
) AS a WHERE a.operation_id = task.operation_id;
ALTER TABLE task DROP COLUMN open_sub_tasks; -- the tally says it

-- Only the newest attempt of a sub task ever changes its status.
CREATE TRIGGER attempt_moves_tally AFTER UPDATE OF status ON attempt WHEN old.status <> new.status
BEGIN
    UPDATE task SET
        status = max(status, 1),
        started_at_ms = coalesce(started_at_ms, new.started_at_ms),
        tally_wait = tally_wait - (old.status = 0) + (new.status = 0),
        tally_processing = tally_processing - (old.status = 1) + (new.status = 1),
        tally_success = tally_success - (old.status = 2) + (new.status = 2),
        tally_fail = tally_fail - (old.status = 3) + (new.status = 3),
        tally_stop = tally_stop - (old.status = 4) + (new.status = 4)
    WHERE operation_id = new.operation_id;
END;

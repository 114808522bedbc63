-- What is known of each endpoint, every POST, and sending again.

-- health: a JSON array, see domain/endpoint.py. waiting: how many deliveries have not ended; counted in the
-- transaction that makes or ends them, because counting rows would read all of them.
ALTER TABLE endpoint ADD COLUMN health TEXT NOT NULL DEFAULT '[]';
ALTER TABLE endpoint ADD COLUMN paused_at_ms INTEGER;
ALTER TABLE endpoint ADD COLUMN rate_per_s REAL;
ALTER TABLE endpoint ADD COLUMN gone_at_ms INTEGER;
ALTER TABLE endpoint ADD COLUMN certificate_ends_ms INTEGER;
ALTER TABLE endpoint ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;

ALTER TABLE subscription ADD COLUMN coalesce INTEGER NOT NULL DEFAULT 0;

-- replay_of: the delivery that this one sends again; null for news.
ALTER TABLE delivery ADD COLUMN replay_of INTEGER;
DROP INDEX delivery_behind;
CREATE INDEX delivery_of_lane ON delivery (lane_id, sequence);
CREATE INDEX delivery_of_notification ON delivery (notification_id); -- both grow at their end: cheap
CREATE INDEX delivery_dead ON delivery (delivery_id) WHERE status = 3;
CREATE INDEX delivery_replay ON delivery (replay_of) WHERE replay_of IS NOT NULL;

-- The attempt log: one row for each POST whose end was seen.
CREATE TABLE delivery_attempt (
    delivery_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    address TEXT NOT NULL,
    status INTEGER,
    trouble TEXT,
    text TEXT NOT NULL,
    PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

-- A lane more for each device at each endpoint: what is sent again travels beside the news, never before it.
CREATE TABLE lane_new (
    lane_id INTEGER PRIMARY KEY,
    endpoint_id INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    last_sequence INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    delivered_sequence INTEGER NOT NULL, -- the last place that was delivered; 0 before the first
    head_id INTEGER,
    head_attempt INTEGER NOT NULL,
    due_at_ms INTEGER,
    head_spent INTEGER NOT NULL, -- how many of its own tries this very message has spent
    head_tried_at_ms INTEGER NOT NULL, -- when its last attempt ended; 0: never tried
    replay INTEGER NOT NULL, -- 1: of what is sent again
    UNIQUE (device_id, endpoint_id, replay)
) STRICT;
INSERT INTO lane_new SELECT lane_id, endpoint_id, device_id, last_sequence, fence, delivered_sequence, head_id,
    head_attempt, due_at_ms, head_refusals, 0, 0 FROM lane;
DROP TABLE lane;
ALTER TABLE lane_new RENAME TO lane;
CREATE INDEX lane_due ON lane (endpoint_id, due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX lane_of_endpoint ON lane (endpoint_id);

UPDATE endpoint SET waiting = (
    SELECT count(*) FROM lane JOIN delivery USING (lane_id)
    WHERE lane.endpoint_id = endpoint.endpoint_id AND delivery.status < 2
);

-- Times are milliseconds since 1970-01-01 UTC. Flags are 0 or 1. Digests are hexadecimal text.
-- Hot tables (attempt, notification, delivery, lane) carry few indexes and no foreign keys: each one costs
-- every message. What belongs together is written in one transaction instead.

CREATE TABLE platform (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    instance TEXT NOT NULL,
    -- The last numbers given; they never go back, even when rows are pruned.
    notification_id INTEGER NOT NULL DEFAULT 0,
    delivery_id INTEGER NOT NULL DEFAULT 0,
    lane_id INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE application (
    application_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    login_digest TEXT NOT NULL,
    login_digest_former TEXT,
    login_former_until_ms INTEGER NOT NULL,
    signing_secret TEXT NOT NULL,
    signing_secret_former TEXT,
    signing_former_until_ms INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    ddi_tenant TEXT UNIQUE,
    gateway_token TEXT,
    calls_per_window INTEGER
) STRICT;

CREATE TABLE callback_ca (
    ca_id TEXT PRIMARY KEY,
    application_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    pem TEXT NOT NULL,
    not_after_ms INTEGER NOT NULL,
    added_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX callback_ca_of_application ON callback_ca (application_id);

CREATE TABLE token (
    token_digest TEXT PRIMARY KEY,
    application_id TEXT NOT NULL,
    access INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX token_of_application ON token (application_id);
CREATE INDEX token_expiry ON token (expires_at_ms);

CREATE TABLE device (
    number INTEGER PRIMARY KEY, -- the order of registration
    device_id TEXT NOT NULL UNIQUE,
    application_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    modified_at_ms INTEGER NOT NULL,
    name TEXT NOT NULL,
    manufacturer_name TEXT NOT NULL,
    device_type TEXT NOT NULL,
    model TEXT NOT NULL,
    manufacturer_id TEXT NOT NULL,
    protocol_type TEXT NOT NULL,
    verify_code TEXT NOT NULL,
    target_token TEXT,
    psk TEXT,
    timeout_s INTEGER NOT NULL,
    sw_version TEXT NOT NULL,
    fw_version TEXT NOT NULL,
    attributes TEXT NOT NULL, -- a JSON object of strings
    attributes_wanted INTEGER NOT NULL,
    last_contact_at_ms INTEGER,
    action_id INTEGER,
    cancel_action_id INTEGER,
    installed_action_id INTEGER,
    UNIQUE (application_id, node_id)
) STRICT;

CREATE TABLE package (
    module_id INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id TEXT NOT NULL UNIQUE,
    application_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    file_name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    sha1 TEXT NOT NULL,
    md5 TEXT NOT NULL,
    uploaded_at_ms INTEGER NOT NULL,
    manufacturer_name TEXT NOT NULL,
    device_type TEXT NOT NULL,
    model TEXT NOT NULL,
    protocol_type TEXT NOT NULL,
    description TEXT NOT NULL
) STRICT;
CREATE INDEX package_of_application ON package (application_id);

CREATE TABLE task (
    number INTEGER PRIMARY KEY, -- the order of creation
    operation_id TEXT NOT NULL UNIQUE,
    application_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    file_id TEXT NOT NULL,
    target_version TEXT NOT NULL,
    device_ids TEXT NOT NULL, -- a JSON array, as created
    policy TEXT, -- a JSON object, as created
    status INTEGER NOT NULL,
    open_sub_tasks INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms INTEGER
) STRICT;
CREATE INDEX task_of_application ON task (application_id);
CREATE INDEX task_open_of_package ON task (file_id) WHERE ended_at_ms IS NULL;

-- What happens to a sub task is in its newest attempt (action_id).
CREATE TABLE sub_task (
    sub_operation_id TEXT PRIMARY KEY,
    operation_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    action_id INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (operation_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX sub_task_of_device ON sub_task (device_id);

CREATE TABLE attempt (
    action_id INTEGER PRIMARY KEY AUTOINCREMENT CHECK (action_id < 2147483648),
    number INTEGER NOT NULL,
    sub_operation_id TEXT NOT NULL,
    operation_id TEXT NOT NULL,
    application_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    target_version TEXT NOT NULL,
    state INTEGER NOT NULL,
    status INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms INTEGER,
    source_version TEXT,
    result_desc TEXT,
    error_code TEXT,
    description TEXT
) STRICT;

CREATE TABLE note (
    number INTEGER PRIMARY KEY,
    action_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX note_of_attempt ON note (action_id);

CREATE TABLE endpoint (
    endpoint_id INTEGER PRIMARY KEY AUTOINCREMENT,
    application_id TEXT NOT NULL,
    url TEXT NOT NULL,
    UNIQUE (application_id, url)
) STRICT;

CREATE TABLE subscription (
    number INTEGER PRIMARY KEY, -- the order of subscribing
    subscription_id TEXT NOT NULL UNIQUE,
    application_id TEXT NOT NULL,
    notify_type TEXT NOT NULL,
    endpoint_id INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (application_id, notify_type, endpoint_id)
) STRICT;

CREATE TABLE notification (
    notification_id INTEGER PRIMARY KEY,
    notify_type TEXT NOT NULL,
    application_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    operation_id TEXT NOT NULL,
    sub_operation_id TEXT NOT NULL,
    body TEXT NOT NULL,
    made_at_ms INTEGER NOT NULL
) STRICT;

-- status: 0 behind, 1 head, 2 delivered, 3 dead, 4 superseded.
CREATE TABLE delivery (
    delivery_id INTEGER PRIMARY KEY,
    notification_id INTEGER NOT NULL,
    lane_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    status INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT,
    ended_at_ms INTEGER
) STRICT;
-- Only what waits behind a head is looked up by lane, so a lane without a queue never touches this index.
CREATE INDEX delivery_behind ON delivery (lane_id, sequence) WHERE status = 0;

-- One device at one endpoint. head_id is the delivery to send; due_at_ms is null while the head is claimed
-- (or there is none); fence grows with every claim. The row stays when the lane is empty, so that its
-- counter goes on.
CREATE TABLE lane (
    lane_id INTEGER PRIMARY KEY,
    endpoint_id INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    last_sequence INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    delivered_sequence INTEGER NOT NULL, -- the last place that was delivered; 0 before the first
    head_id INTEGER,
    head_attempt INTEGER NOT NULL,
    due_at_ms INTEGER,
    head_refusals INTEGER NOT NULL, -- how often this very message was refused; what its budget is counted by
    UNIQUE (endpoint_id, device_id)
) STRICT;
CREATE INDEX lane_due ON lane (endpoint_id, due_at_ms) WHERE due_at_ms IS NOT NULL;

-- A device is in a group by their numbers: short rows, and the members of a group in the order of their
-- registration. device_count is kept with every change, because counting a large group takes milliseconds.
CREATE TABLE device_group (
    number INTEGER PRIMARY KEY, -- the order of creation
    group_id TEXT NOT NULL UNIQUE,
    application_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    devices_most INTEGER NOT NULL,
    device_count INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (application_id, name)
) STRICT;

CREATE TABLE device_group_member (
    group_number INTEGER NOT NULL,
    device_number INTEGER NOT NULL,
    PRIMARY KEY (group_number, device_number)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_group_member_of_device ON device_group_member (device_number);

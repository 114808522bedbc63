-- What applications pull: every notification until it expires, in the order of the numbers.

-- The last notification that has expired; it only grows.
ALTER TABLE platform ADD COLUMN expired_notification_id INTEGER NOT NULL DEFAULT 0;

-- The same by application, so that a cursor is refused only when something of its own is gone. A row stays
-- when its application is deleted: whoever takes the id next does not see what was there before.
CREATE TABLE expired_notification (
    application_id TEXT PRIMARY KEY,
    notification_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

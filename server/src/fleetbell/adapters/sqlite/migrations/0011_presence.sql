-- Whether a device counts as online, and by when a new one has to be heard. There is no index of when devices
-- were heard: it would cost every contact as much again, and who has fallen silent is looked for seldom.
ALTER TABLE device ADD COLUMN online INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN bind_by_ms INTEGER;
UPDATE device SET online = 1 WHERE last_contact_at_ms >= (unixepoch() - 900) * 1000;
CREATE INDEX device_unbound ON device (bind_by_ms) WHERE bind_by_ms IS NOT NULL;

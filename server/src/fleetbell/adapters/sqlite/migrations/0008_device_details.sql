-- What an application said of its device and nothing here works with: a JSON object, without what is empty.
ALTER TABLE device ADD COLUMN details TEXT NOT NULL DEFAULT '{}';

-- What the description inside a software package says of it.
ALTER TABLE package ADD COLUMN source_versions TEXT NOT NULL DEFAULT '[]'; -- a JSON array
ALTER TABLE package ADD COLUMN made_on TEXT NOT NULL DEFAULT '';

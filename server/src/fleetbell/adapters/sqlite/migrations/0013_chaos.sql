-- What is to go wrong at an endpoint because somebody asked for it: a JSON object, see domain/chaos.py; mostly null.
ALTER TABLE endpoint ADD COLUMN chaos TEXT;

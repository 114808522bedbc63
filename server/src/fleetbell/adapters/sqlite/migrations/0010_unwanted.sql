-- What of an endpoint's ended subscriptions is still being ended: a JSON array, see domain/endpoint.py; mostly null.
ALTER TABLE endpoint ADD COLUMN unwanted TEXT;

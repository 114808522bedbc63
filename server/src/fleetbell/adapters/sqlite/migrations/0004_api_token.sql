-- Tokens of the API under /api/v1. Without an application a token is an operator's.
CREATE TABLE api_token (
    number INTEGER PRIMARY KEY, -- the order of creation
    token_id TEXT NOT NULL UNIQUE,
    token_digest TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    application_id TEXT,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    last_used_on TEXT -- a day in UTC, such as 2026-11-20
) STRICT;
CREATE INDEX api_token_of_application ON api_token (application_id);

-- One row that is written to find out whether the database can be written to.
CREATE TABLE heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO heartbeat VALUES (1, 0);

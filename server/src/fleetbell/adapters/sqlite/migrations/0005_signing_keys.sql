-- The key pairs of applications that have their push messages signed with Ed25519 too.

CREATE TABLE signing_key (
    key_id TEXT PRIMARY KEY,
    application_id TEXT NOT NULL,
    private_key TEXT NOT NULL, -- whsk_...
    public_key TEXT NOT NULL, -- whpk_...
    made_at_ms INTEGER NOT NULL,
    signs_from_ms INTEGER NOT NULL,
    signs_until_ms INTEGER
) STRICT;
CREATE INDEX signing_key_of_application ON signing_key (application_id);

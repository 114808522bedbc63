-- What is shown to an application's callback servers that ask for a certificate. The key is kept as it is,
-- as the signing secrets are: the file of the database is for its owner only.
CREATE TABLE client_certificate (
    application_id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    certificate_pem TEXT NOT NULL, -- with the CAs between it and its root
    key_pem TEXT NOT NULL,
    not_after_ms INTEGER NOT NULL,
    set_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

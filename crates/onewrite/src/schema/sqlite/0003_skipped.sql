-- Onewrite, schema version 3: what was given up stays given up.

-- Events of the outbox that an operator skipped: no replay delivers them. A row goes with its event.
CREATE TABLE onewrite_skipped_event (
    sequence   INTEGER NOT NULL,
    relay      TEXT NOT NULL,
    skipped_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (sequence, relay)
) WITHOUT ROWID;

INSERT INTO onewrite_migration (version) VALUES (3);

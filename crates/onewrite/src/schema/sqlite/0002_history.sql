-- Onewrite, schema version 2: how far back the outbox's history reaches, and how many events a replay holds.

-- The highest sequence that a relay deleted, and when that event was recorded. Whatever lies beyond those of all relays is still
-- there.
ALTER TABLE onewrite_relay ADD COLUMN removed_through INTEGER;
ALTER TABLE onewrite_relay ADD COLUMN removed_until TEXT;

-- What was deleted until now was not written down: all below the first row that is there, as far as anybody knows.
UPDATE onewrite_relay SET removed_through = first.sequence - 1, removed_until = first.recorded_at
FROM (
    SELECT sequence, strftime('%Y-%m-%dT%H:%M:%fZ', occurred_at) AS recorded_at FROM onewrite_outbox
    UNION ALL
    SELECT seq + 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM sqlite_sequence WHERE name = 'onewrite_outbox'
    ORDER BY sequence LIMIT 1
) AS first
WHERE first.sequence > 1;

-- Counted when it was asked for.
ALTER TABLE onewrite_replay ADD COLUMN events INTEGER;

INSERT INTO onewrite_migration (version) VALUES (2);

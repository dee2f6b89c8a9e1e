-- Onewrite, schema version 3: how far back the outbox's history reaches, and how many events a replay holds.

-- The highest sequence in the segments that a relay emptied, and when that event was recorded. Whatever lies beyond those of all
-- relays is still there.
ALTER TABLE onewrite.relay
    ADD COLUMN emptied_through bigint,
    ADD COLUMN emptied_until   timestamptz;

-- What was emptied until now was not written down: all below the first row that is there, as far as anybody knows.
UPDATE onewrite.relay SET emptied_through = first.sequence - 1, emptied_until = first.occurred_at
FROM (
    (SELECT sequence, occurred_at FROM onewrite.outbox ORDER BY sequence LIMIT 1)
    UNION ALL
    (SELECT last_value + is_called::int, now() FROM onewrite.outbox_sequence)
    ORDER BY sequence LIMIT 1
) AS first
WHERE first.sequence > 1;

-- Counted when it was asked for; null where that took too long.
ALTER TABLE onewrite.replay ADD COLUMN events bigint;

INSERT INTO onewrite.migration (version) VALUES (3);

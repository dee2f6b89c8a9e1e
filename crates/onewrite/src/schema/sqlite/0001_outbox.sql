-- Onewrite, schema version 1, for SQLite 3.42 and later. Runs in one transaction. The database should be in WAL mode:
-- PRAGMA journal_mode = WAL, which stays with the file.

CREATE TABLE onewrite_migration (
    version    INTEGER PRIMARY KEY,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- The outbox. SQLite lets one transaction write at a time, and sequence is drawn inside it, so ascending sequences are the order
-- of commits. AUTOINCREMENT: a sequence is never used again, not even after its row was deleted.
CREATE TABLE onewrite_outbox (
    sequence     INTEGER PRIMARY KEY AUTOINCREMENT,
    occurred_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- A random UUID of version 4.
    id           TEXT NOT NULL DEFAULT (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' ||
        substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    topic        TEXT NOT NULL,
    key          TEXT,
    type         TEXT,
    content_type TEXT NOT NULL DEFAULT 'application/json',
    headers      TEXT NOT NULL DEFAULT '{}',
    payload      BLOB NOT NULL,
    -- SQLite keeps a value as the type it came as, whatever the column says; only the payload may come as bytes or as text.
    CONSTRAINT texts_are_text CHECK (typeof(topic) = 'text' AND typeof(content_type) = 'text'
                                     AND typeof(key) IN ('text', 'null') AND typeof(type) IN ('text', 'null')),
    CONSTRAINT id_is_a_uuid CHECK (
        typeof(id) = 'text' AND id GLOB '????????-????-????-????-????????????'
        AND length(replace(id, '-', '')) = 32 AND replace(id, '-', '') NOT GLOB '*[^0-9a-fA-F]*'),
    -- A time that SQLite can read, such as 2026-01-31T12:00:00.000Z or 2026-01-31 12:00:00 (in UTC), but no number.
    CONSTRAINT occurred_at_is_from_1970_to_9998 CHECK (
        occurred_at GLOB '[1-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*'
        AND coalesce(unixepoch(occurred_at) BETWEEN 0 AND 253370764799, false)),
    CONSTRAINT topic_has_1_to_249_bytes           CHECK (length(CAST(topic AS BLOB)) BETWEEN 1 AND 249),
    CONSTRAINT key_has_at_most_1024_bytes         CHECK (length(CAST(key AS BLOB)) <= 1024),
    CONSTRAINT type_has_at_most_255_bytes         CHECK (length(CAST(type AS BLOB)) <= 255),
    CONSTRAINT content_type_has_at_most_255_bytes CHECK (length(CAST(content_type AS BLOB)) <= 255),
    CONSTRAINT headers_are_a_json_object CHECK (
        CASE WHEN typeof(headers) = 'text' AND json_valid(headers) THEN json_type(headers) = 'object' ELSE false END),
    -- Four times the limit of the headers themselves leaves room for escapes; the relay checks the exact limit.
    CONSTRAINT headers_have_at_most_32_kib        CHECK (length(CAST(headers AS BLOB)) <= 32768),
    CONSTRAINT payload_has_at_most_64_mib         CHECK (length(CAST(payload AS BLOB)) <= 67108864)
);

-- One row a relay: the lease. Times are Unix seconds by the clock of the machine that holds the file. The epoch fences every
-- write of progress. fences counts the commits that make what was read durable: an update that changes nothing would write
-- nothing to the disk, and a clock may say the same twice.
CREATE TABLE onewrite_relay (
    name       TEXT NOT NULL PRIMARY KEY,
    epoch      INTEGER NOT NULL DEFAULT 0,
    holder     TEXT,
    renewed_at REAL,
    expires_at REAL,
    fences     INTEGER NOT NULL DEFAULT 0
);

-- One row a route: settled is all up to sequence, but for the sequences in pending (a JSON array).
CREATE TABLE onewrite_route (
    relay      TEXT NOT NULL,
    name       TEXT NOT NULL,
    definition TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    pending    TEXT NOT NULL DEFAULT '[]',
    state      TEXT NOT NULL DEFAULT 'running',
    paused     INTEGER NOT NULL DEFAULT 0,
    halted     TEXT,
    delivered  INTEGER NOT NULL DEFAULT 0,
    failed     INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (relay, name)
);

-- Events set aside. state: parked (poison), held (behind a parked event of its key), retry (an operator asked for it).
CREATE TABLE onewrite_parked_event (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    relay        TEXT NOT NULL,
    route        TEXT NOT NULL,
    sequence     INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('parked', 'held', 'retry')),
    event_id     TEXT NOT NULL,
    topic        TEXT NOT NULL,
    key          TEXT,
    type         TEXT,
    content_type TEXT NOT NULL,
    headers      TEXT NOT NULL,
    occurred_at  TEXT NOT NULL,
    parked_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    attempts     INTEGER NOT NULL,
    error        TEXT NOT NULL,
    -- Last, so that lists read over no payload.
    payload      BLOB NOT NULL,
    UNIQUE (relay, route, sequence)
);
CREATE INDEX onewrite_parked_event_by_key ON onewrite_parked_event (relay, route, key, state, sequence);
CREATE INDEX onewrite_parked_event_by_state ON onewrite_parked_event (relay, route, state, sequence);

-- Events to deliver again, asked for by an operator. progress is the last sequence settled; ids is a JSON array or null.
CREATE TABLE onewrite_replay (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    relay        TEXT NOT NULL,
    route        TEXT NOT NULL,
    since        TEXT,
    until        TEXT,
    topic        TEXT,
    key          TEXT,
    ids          TEXT,
    -- Events written down after the request are no part of it.
    up_to        INTEGER NOT NULL,
    progress     INTEGER NOT NULL DEFAULT 0,
    requested_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    finished_at  TEXT
);

-- The inbox: what each consumer received.
CREATE TABLE onewrite_inbox (
    consumer    TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    received_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (consumer, event_id),
    CONSTRAINT consumer_has_1_to_255_bytes CHECK (length(CAST(consumer AS BLOB)) BETWEEN 1 AND 255)
) WITHOUT ROWID;
CREATE INDEX onewrite_inbox_by_time ON onewrite_inbox (received_at);

CREATE VIEW onewrite_parked AS
SELECT id, relay, route, state, event_id, topic, key, type, length(CAST(payload AS BLOB)) AS payload_bytes, occurred_at, parked_at,
       attempts, error
FROM onewrite_parked_event;

CREATE VIEW onewrite_status AS
SELECT route.relay, route.name AS route, route.state, route.halted, relay.holder,
       relay.expires_at > unixepoch('subsec') AS lease_held,
       strftime('%Y-%m-%dT%H:%M:%fZ', relay.renewed_at, 'unixepoch') AS renewed_at, route.delivered, route.failed,
       (SELECT count(*) FROM onewrite_parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state <> 'held') AS parked,
       (SELECT count(*) FROM onewrite_parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state = 'held') AS held,
       route.last_error, route.updated_at
FROM onewrite_route AS route LEFT JOIN onewrite_relay AS relay ON relay.name = route.relay;

INSERT INTO onewrite_migration (version) VALUES (1);

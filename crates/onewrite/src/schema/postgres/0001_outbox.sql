-- Onewrite, schema version 1, for PostgreSQL 14 and later. Runs in one transaction.

-- Not CREATE SCHEMA IF NOT EXISTS: that asks for CREATE on the database even where a DBA made the schema beforehand.
DO $$ BEGIN
    IF to_regnamespace('onewrite') IS NULL THEN
        CREATE SCHEMA onewrite;
    END IF;
END $$;

CREATE TABLE onewrite.migration (
    version    bigint PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The order in which rows are written down. CACHE 1: values must ascend across sessions, or a reader's lower bound would lie.
CREATE SEQUENCE onewrite.outbox_sequence AS bigint CACHE 1;

-- The outbox: append-only, in four segments used in turn. The segment is a pure function of the clock, so an insert looks
-- nothing up and never meets a missing partition; a segment that is not free yet just goes on growing.
--
-- xid stands before sequence: defaults are evaluated in this order, so a transaction draws no sequence value before it has
-- its xid. The poll feed's lower bound rests on that.
CREATE TABLE onewrite.outbox (
    xid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
    sequence     bigint      NOT NULL DEFAULT nextval('onewrite.outbox_sequence'),
    occurred_at  timestamptz NOT NULL DEFAULT now(),
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    segment      smallint    NOT NULL DEFAULT (floor(extract(epoch FROM clock_timestamp()) / 3600)::bigint % 4)::smallint,
    topic        text        NOT NULL,
    key          text,
    type         text,
    content_type text        NOT NULL DEFAULT 'application/json',
    headers      jsonb       NOT NULL DEFAULT '{}',
    payload      bytea       NOT NULL,
    CONSTRAINT topic_has_1_to_249_bytes           CHECK (octet_length(topic) BETWEEN 1 AND 249),
    CONSTRAINT key_has_at_most_1024_bytes         CHECK (octet_length(key) <= 1024),
    CONSTRAINT type_has_at_most_255_bytes         CHECK (octet_length(type) <= 255),
    CONSTRAINT content_type_has_at_most_255_bytes CHECK (octet_length(content_type) <= 255),
    CONSTRAINT headers_are_a_json_object          CHECK (jsonb_typeof(headers) = 'object'),
    -- Twice the limit of the headers themselves leaves room for escapes and punctuation; the relay checks the exact limit.
    CONSTRAINT headers_have_at_most_32_kib        CHECK (octet_length(headers::text) <= 32768),
    CONSTRAINT payload_has_at_most_64_mib         CHECK (octet_length(payload) <= 67108864),
    -- Infinity, and years that no other program can read, would be poison to whoever reads the row.
    CONSTRAINT occurred_at_is_from_1970_to_9998   CHECK (occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '9999-01-01 00:00:00+00')
) PARTITION BY LIST (segment);

CREATE TABLE onewrite.outbox_0 PARTITION OF onewrite.outbox FOR VALUES IN (0);
CREATE TABLE onewrite.outbox_1 PARTITION OF onewrite.outbox FOR VALUES IN (1);
CREATE TABLE onewrite.outbox_2 PARTITION OF onewrite.outbox FOR VALUES IN (2);
CREATE TABLE onewrite.outbox_3 PARTITION OF onewrite.outbox FOR VALUES IN (3);

-- Reading in order, and reading in order the rows of one transaction that was under way at a snapshot: a transaction of
-- millions of rows is read in many chunks, and none of them should have to sort it.
CREATE INDEX outbox_sequence_index ON onewrite.outbox (sequence);
CREATE INDEX outbox_xid_index ON onewrite.outbox (xid, sequence);

-- Settings that every relay of this outbox shares.
CREATE TABLE onewrite.setting (
    name  text PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO onewrite.setting VALUES ('rotation_seconds', '3600');

-- One row a relay: the lease. The epoch fences every write of progress.
CREATE TABLE onewrite.relay (
    name       text PRIMARY KEY,
    epoch      bigint NOT NULL DEFAULT 0,
    holder     text,
    renewed_at timestamptz,
    expires_at timestamptz
) WITH (fillfactor = 50);

-- One row a route: what is settled, and what operators ask.
-- Settled is all that the snapshot floor_snapshot sees; and of what window_snapshot sees beyond it, all up to
-- window_sequence; but for the sequences in pending.
CREATE TABLE onewrite.route (
    relay            text NOT NULL,
    name             text NOT NULL,
    -- The epoch of the relay that adopted the route. It repeats the relay's, so that an update of progress that had to wait
    -- for the new holder's is refused by the very row it waited for.
    epoch            bigint NOT NULL DEFAULT 0,
    definition       text NOT NULL,
    floor_snapshot   text NOT NULL,
    -- No row of a transaction at or above the xmax of floor_snapshot has a sequence at or below this. Such a transaction may
    -- have begun before the snapshot was taken: xmax is one past the last xid that had *ended*.
    floor_sequence   bigint NOT NULL,
    window_snapshot  text,
    window_sequence  bigint,
    pending          bigint[] NOT NULL DEFAULT '{}',
    state            text NOT NULL DEFAULT 'running',
    paused           boolean NOT NULL DEFAULT false,
    halted           text,
    delivered        bigint NOT NULL DEFAULT 0,
    failed           bigint NOT NULL DEFAULT 0,
    last_error       text,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (relay, name)
) WITH (fillfactor = 50);

-- Events set aside. state: parked (poison), held (behind a parked event of its key), retry (an operator asked for it).
CREATE TABLE onewrite.parked_event (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relay        text NOT NULL,
    route        text NOT NULL,
    sequence     bigint NOT NULL,
    state        text NOT NULL CHECK (state IN ('parked', 'held', 'retry')),
    event_id     uuid NOT NULL,
    topic        text NOT NULL,
    key          text,
    type         text,
    content_type text NOT NULL,
    headers      jsonb NOT NULL,
    payload      bytea NOT NULL,
    occurred_at  timestamptz NOT NULL,
    parked_at    timestamptz NOT NULL DEFAULT now(),
    attempts     bigint NOT NULL,
    error        text NOT NULL,
    UNIQUE (relay, route, sequence)
);
-- Which keys there are, whether something is parked of one, and what is held of it in order: each by few probes, since all
-- three are asked twice a second, and a parked event may hold back a hundred thousand.
CREATE INDEX parked_event_by_key ON onewrite.parked_event (relay, route, key, state, sequence);
CREATE INDEX parked_event_by_state ON onewrite.parked_event (relay, route, state, id);

-- Events to deliver again, asked for by an operator. Progress is the last sequence settled.
CREATE TABLE onewrite.replay (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relay        text NOT NULL,
    route        text NOT NULL,
    since        timestamptz,
    until        timestamptz,
    topic        text,
    key          text,
    ids          uuid[],
    -- Events written down after the request are no part of it.
    up_to        bigint NOT NULL,
    progress     bigint NOT NULL DEFAULT 0,
    requested_at timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);

-- The inbox: what each consumer received.
CREATE TABLE onewrite.inbox (
    consumer    text NOT NULL,
    event_id    uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id),
    CONSTRAINT consumer_has_1_to_255_bytes CHECK (octet_length(consumer) BETWEEN 1 AND 255)
);
CREATE INDEX inbox_by_time ON onewrite.inbox (received_at);

-- The functions below run with their owner's rights, so that a role needs EXECUTE on them and nothing on the tables. Their
-- search_path names pg_temp last: left out, it would be searched first, and a caller's temporary type could stand in for uuid.

-- Takes the locks that make the order of commits the order of events, for several keys at once and in one order for
-- everybody, so that transactions that append to the same keys cannot deadlock. Two-part advisory locks of the class
-- 1869506930 ("onew" as a number), which leave the application's own one-part locks alone.
CREATE FUNCTION onewrite.lock_keys(VARIADIC keys text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lock integer;
BEGIN
    FOR lock IN SELECT DISTINCT hashtext(k) FROM unnest(keys) AS k WHERE k IS NOT NULL ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(1869506930, lock);
    END LOOP;
END $$;

-- Appends an event in the caller's transaction and returns its id. The key's lock is taken before the sequence is drawn:
-- of two transactions that append to one key, the one that commits first has the lower sequence. A caller who holds the
-- aggregate's row anyway can decline the lock by a plain INSERT.
CREATE FUNCTION onewrite.append(
    topic text, key text, payload bytea, type text DEFAULT NULL, headers jsonb DEFAULT '{}',
    content_type text DEFAULT 'application/json', id uuid DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    appended uuid := coalesce(append.id, gen_random_uuid());
BEGIN
    IF append.key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(1869506930, hashtext(append.key));
    END IF;
    INSERT INTO onewrite.outbox (id, topic, key, type, content_type, headers, payload)
    VALUES (appended, append.topic, append.key, append.type, coalesce(append.content_type, 'application/json'),
            coalesce(append.headers, '{}'), append.payload);
    RETURN appended;
END $$;

-- Appends many events at once, in the order of the arrays; all their keys are locked first, in the order of lock_keys.
CREATE FUNCTION onewrite.append_all(
    ids uuid[], topics text[], keys text[], types text[], content_types text[], headers jsonb[], payloads bytea[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM onewrite.lock_keys(VARIADIC append_all.keys);
    INSERT INTO onewrite.outbox (id, topic, key, type, content_type, headers, payload)
    SELECT * FROM unnest(append_all.ids, append_all.topics, append_all.keys, append_all.types, append_all.content_types,
                         append_all.headers, append_all.payloads);
END $$;

CREATE FUNCTION onewrite.append(
    topic text, key text, payload text, type text DEFAULT NULL, headers jsonb DEFAULT '{}',
    content_type text DEFAULT 'application/json', id uuid DEFAULT NULL
) RETURNS uuid LANGUAGE sql AS $$
    SELECT onewrite.append($1, $2, convert_to($3, 'UTF8'), $4, $5, $6, $7)
$$;

CREATE FUNCTION onewrite.append(
    topic text, key text, payload jsonb, type text DEFAULT NULL, headers jsonb DEFAULT '{}',
    content_type text DEFAULT 'application/json', id uuid DEFAULT NULL
) RETURNS uuid LANGUAGE sql AS $$
    SELECT onewrite.append($1, $2, convert_to($3::text, 'UTF8'), $4, $5, $6, $7)
$$;

-- True the first time a consumer receives an event, false ever after; part of the consumer's own transaction.
CREATE FUNCTION onewrite.receive(consumer text, event_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO onewrite.inbox (consumer, event_id) VALUES (receive.consumer, receive.event_id)
    ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING;
    RETURN FOUND;
END $$;

-- Forgets what was received longer ago than older_than, at most so many rows at a time; returns how many. An event that is
-- delivered again after its row is gone is new to its consumer.
CREATE FUNCTION onewrite.prune_inbox(older_than interval, at_most bigint DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    DELETE FROM onewrite.inbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM onewrite.inbox WHERE received_at < now() - prune_inbox.older_than
        LIMIT prune_inbox.at_most FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END $$;

CREATE VIEW onewrite.parked AS
SELECT id, relay, route, state, event_id, topic, key, type, octet_length(payload) AS payload_bytes, occurred_at, parked_at,
       attempts, error
FROM onewrite.parked_event;

CREATE VIEW onewrite.status AS
SELECT route.relay, route.name AS route, route.state, route.halted, relay.holder,
       relay.expires_at > clock_timestamp() AS lease_held, relay.renewed_at, route.delivered, route.failed,
       (SELECT count(*) FROM onewrite.parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state <> 'held') AS parked,
       (SELECT count(*) FROM onewrite.parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state = 'held') AS held,
       route.last_error, route.updated_at
FROM onewrite.route LEFT JOIN onewrite.relay ON relay.name = route.relay;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA onewrite FROM PUBLIC;

INSERT INTO onewrite.migration (version) VALUES (1);

-- Onewrite, schema version 2: the write-ahead log as a feed, and tables that are not Onewrite's own.

-- What the log feed follows. Inserts alone: rows are never changed, and emptying a segment is nobody else's business. A role
-- that may not create publications can still have the outbox; the relay then polls until somebody who may has run this.
DO $$ BEGIN
    IF has_database_privilege(current_database(), 'CREATE') THEN
        CREATE PUBLICATION onewrite FOR TABLE onewrite.outbox WITH (publish = 'insert', publish_via_partition_root = true);
    ELSE
        RAISE NOTICE 'The publication that feed = "wal" needs is left out: this role may not create one. As a role with CREATE on the database that owns onewrite.outbox run: CREATE PUBLICATION onewrite FOR TABLE onewrite.outbox WITH (publish = ''insert'', publish_via_partition_root = true);';
    END IF;
END $$;

-- How the holder of the lease finds new events at the moment (wal or poll), why, and the name of its replication slot.
ALTER TABLE onewrite.relay
    ADD COLUMN feed        text,
    ADD COLUMN feed_reason text,
    ADD COLUMN slot        text;

-- Progress where the log is the truth: everything is settled up to the transaction whose commit is at log_commit and, in it, up
-- to log_index, but for the events in log_pending (their commits and indexes by turns).
ALTER TABLE onewrite.route
    ADD COLUMN log_commit  bigint,
    ADD COLUMN log_index   bigint,
    ADD COLUMN log_pending bigint[] NOT NULL DEFAULT '{}';

-- The record of an event that came from a table with a contract of its own: its key, headers, partition and time at the broker.
ALTER TABLE onewrite.parked_event ADD COLUMN record jsonb;

-- Such an event has no sequence in the outbox; it is known again by its id.
CREATE INDEX parked_event_by_event ON onewrite.parked_event (relay, route, event_id);

CREATE OR REPLACE VIEW onewrite.status AS
SELECT route.relay, route.name AS route, route.state, route.halted, relay.holder,
       relay.expires_at > clock_timestamp() AS lease_held, relay.renewed_at, route.delivered, route.failed,
       (SELECT count(*) FROM onewrite.parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state <> 'held') AS parked,
       (SELECT count(*) FROM onewrite.parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state = 'held') AS held,
       route.last_error, route.updated_at, relay.feed, relay.feed_reason
FROM onewrite.route LEFT JOIN onewrite.relay ON relay.name = route.relay;

INSERT INTO onewrite.migration (version) VALUES (2);

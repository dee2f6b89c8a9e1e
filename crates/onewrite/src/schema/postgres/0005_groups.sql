-- Onewrite, schema version 5: groups of lanes, each with a lease and progress of its own, spread over the processes of a relay.

-- One row a group of a relay. Its layout is the number of its groups; rows of groups that a smaller layout has not are kept, since
-- an epoch is given out once for each relay, whatever the group.
ALTER TABLE onewrite.relay
    ADD COLUMN lane_group  smallint NOT NULL DEFAULT 0,
    ADD COLUMN lane_groups smallint NOT NULL DEFAULT 1,
    -- Which process holds it, as in onewrite.member.
    ADD COLUMN member      text;
ALTER TABLE onewrite.relay DROP CONSTRAINT relay_pkey, ADD PRIMARY KEY (name, lane_group);

-- One row a route and group.
ALTER TABLE onewrite.route
    ADD COLUMN lane_group  smallint NOT NULL DEFAULT 0,
    ADD COLUMN lane_groups smallint NOT NULL DEFAULT 1;
ALTER TABLE onewrite.route DROP CONSTRAINT route_pkey, ADD PRIMARY KEY (relay, name, lane_group);

-- How far a replay is in each group, by its number from 1 on; progress is the least of them. Null where there is but one group.
ALTER TABLE onewrite.replay ADD COLUMN group_progress bigint[];

-- The processes of relays of several groups, as long as they live.
CREATE TABLE onewrite.member (
    relay       text NOT NULL,
    id          text NOT NULL,
    holder      text NOT NULL,
    lane_groups smallint NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (relay, id)
) WITH (fillfactor = 50);

-- Whoever may hold leases may say so.
DO $$
DECLARE
    role name;
BEGIN
    FOR role IN
        SELECT DISTINCT pg_get_userbyid(acl.grantee) FROM pg_class, aclexplode(relacl) AS acl
        WHERE pg_class.oid = 'onewrite.relay'::regclass AND acl.privilege_type = 'UPDATE' AND acl.grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.member TO %I', role);
    END LOOP;
END $$;

-- Each route once: sums, the worst state, and who holds its groups.
CREATE OR REPLACE VIEW onewrite.status AS
SELECT route.relay, route.name AS route,
       (array_agg(route.state ORDER BY array_position(ARRAY['halted', 'paused', 'retrying', 'running'], route.state)))[1] AS state,
       min(route.halted) AS halted, string_agg(DISTINCT relay.holder, ', ') AS holder,
       bool_and(relay.expires_at > clock_timestamp()) AS lease_held, min(relay.renewed_at) AS renewed_at,
       sum(route.delivered)::bigint AS delivered, sum(route.failed)::bigint AS failed,
       (SELECT count(*) FROM onewrite.parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state <> 'held') AS parked,
       (SELECT count(*) FROM onewrite.parked_event p
        WHERE p.relay = route.relay AND p.route = route.name AND p.state = 'held') AS held,
       (array_agg(route.last_error ORDER BY route.updated_at DESC) FILTER (WHERE route.last_error IS NOT NULL))[1] AS last_error,
       max(route.updated_at) AS updated_at, string_agg(DISTINCT relay.feed, ', ') AS feed,
       string_agg(DISTINCT relay.feed_reason, '; ') AS feed_reason, count(*) AS groups
FROM onewrite.route LEFT JOIN onewrite.relay ON relay.name = route.relay AND relay.lane_group = route.lane_group
GROUP BY route.relay, route.name;

INSERT INTO onewrite.migration (version) VALUES (5);

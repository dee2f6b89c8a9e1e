//! The keys that have events set aside.

/// The distinct keys of a route's set-aside events, by one index probe each. `$3` is the relay, `$4` the route.
pub(super) const KEYS: &str = "\
    WITH RECURSIVE keys (key) AS (\
      (SELECT key FROM onewrite.parked_event WHERE relay = $3 AND route = $4 AND key IS NOT NULL ORDER BY key LIMIT 1) \
      UNION ALL \
      SELECT (SELECT next.key FROM onewrite.parked_event AS next WHERE next.relay = $3 AND next.route = $4 \
              AND next.key > keys.key ORDER BY next.key LIMIT 1) FROM keys WHERE keys.key IS NOT NULL)";

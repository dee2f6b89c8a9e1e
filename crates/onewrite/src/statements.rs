//! The SQL behind `append` and `receive`, for drivers that this crate has no adapter for.
//!
//! Call [`Event::check`](crate::Event::check) before binding: the databases enforce the limits on lengths, and an event that
//! breaks one of the others is parked by the relay instead of being refused. Bind `headers` from
//! [`Event::headers_json`](crate::Event::headers_json).

/// Statements for PostgreSQL. All are safe to run unprepared, behind a transaction pooler.
pub mod postgres {
    /// Appends one event and yields its id. Needs `EXECUTE` on `onewrite.append`.
    ///
    /// Binds: topic `text`, key `text` or null, payload `bytea`, type `text` or null, headers `jsonb`, content type `text`,
    /// id `uuid` (null: the database draws one).
    pub const APPEND: &str = "SELECT onewrite.append($1, $2, $3, $4, $5, $6, $7)";

    /// Appends many events after locking all their keys. Needs `EXECUTE` on `onewrite.append_all`.
    ///
    /// Binds seven arrays of one length: ids `uuid[]`, topics `text[]`, keys `text[]`, types `text[]`, content types
    /// `text[]`, headers `jsonb[]`, payloads `bytea[]`.
    pub const APPEND_ALL: &str = "SELECT onewrite.append_all($1, $2, $3, $4, $5, $6, $7)";

    /// Inserts many events without locking any key. Needs `INSERT` on the outbox. Binds as [`APPEND_ALL`].
    pub const INSERT_ALL: &str = "INSERT INTO onewrite.outbox (id, topic, key, type, content_type, headers, payload) \
                                  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)";

    /// Locks keys until the transaction ends, in one order for everybody. Needs `EXECUTE` on `onewrite.lock_keys`.
    ///
    /// Binds: keys `text[]`.
    pub const LOCK_KEYS: &str = "SELECT onewrite.lock_keys(VARIADIC $1)";

    /// Yields true the first time that a consumer receives an event. Needs `EXECUTE` on `onewrite.receive`.
    ///
    /// Binds: consumer `text`, event id `uuid`.
    pub const RECEIVE: &str = "SELECT onewrite.receive($1, $2)";

    /// Forgets events received longer ago than so many seconds, at most so many rows, and yields how many it were. Needs
    /// `EXECUTE` on `onewrite.prune_inbox`.
    ///
    /// Binds: seconds `float8`, rows `int8`.
    pub const PRUNE_INBOX: &str = "SELECT onewrite.prune_inbox(make_interval(secs => $1), $2)";
}

/// Statements for SQLite. Ids are bound as hyphenated lower-case text, headers as the text of a JSON object.
pub mod sqlite {
    /// Appends one event. SQLite lets one transaction write at a time, so the order of commits needs no lock of a key.
    ///
    /// Binds: id, topic, key or null, type or null, content type, headers, payload (a blob).
    pub const APPEND: &str = "INSERT INTO onewrite_outbox (id, topic, key, type, content_type, headers, payload) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

    /// Changes one row the first time that a consumer receives an event, and none ever after.
    ///
    /// Binds: consumer, event id.
    pub const RECEIVE: &str = "INSERT INTO onewrite_inbox (consumer, event_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

    /// Forgets events received longer ago than a time, at most so many rows.
    ///
    /// Binds: the time as a modifier of SQLite's date functions such as `-86400 seconds`, rows.
    pub const PRUNE_INBOX: &str = "DELETE FROM onewrite_inbox WHERE (consumer, event_id) IN ( \
                                       SELECT consumer, event_id FROM onewrite_inbox \
                                       WHERE received_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?1) LIMIT ?2)";
}

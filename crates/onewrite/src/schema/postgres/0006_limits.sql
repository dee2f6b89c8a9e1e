-- Onewrite, schema version 6: an event's limits cost the server less.

-- For each statement that writes, PostgreSQL reads every constraint of the table from its text and plans it anew, which took as
-- long as the rest of the INSERT. A function is one short constraint, and its expression stays planned for as long as the session lasts.
--
-- It runs with the rights of whoever writes the row, who therefore may call it.
CREATE FUNCTION onewrite.check_event(
    topic text, key text, type text, content_type text, headers jsonb, payload bytea, occurred_at timestamptz
) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    broken text := CASE
        WHEN octet_length(topic) NOT BETWEEN 1 AND 249 THEN 'topic_has_1_to_249_bytes'
        WHEN octet_length(key) > 1024 THEN 'key_has_at_most_1024_bytes'
        WHEN octet_length(type) > 255 THEN 'type_has_at_most_255_bytes'
        WHEN octet_length(content_type) > 255 THEN 'content_type_has_at_most_255_bytes'
        WHEN jsonb_typeof(headers) <> 'object' THEN 'headers_are_a_json_object'
        -- Twice the limit of the headers themselves leaves room for escapes and punctuation; the relay checks the exact limit.
        WHEN octet_length(headers::text) > 32768 THEN 'headers_have_at_most_32_kib'
        WHEN octet_length(payload) > 67108864 THEN 'payload_has_at_most_64_mib'
        -- Infinity, and years that no other program can read, would be poison to whoever reads the row.
        WHEN occurred_at < '1970-01-01 00:00:00+00' OR occurred_at >= '9999-01-01 00:00:00+00'
            THEN 'occurred_at_is_from_1970_to_9998'
    END;
BEGIN
    IF broken IS NOT NULL THEN
        RAISE check_violation USING
            MESSAGE = format('the event breaks the limit "%s" of the outbox', broken),
            DETAIL = format(
                'Bytes of topic: %s, key: %s, type: %s, content type: %s, headers: %s (a JSON %s), payload: %s. It occurred at %s.',
                octet_length(topic), coalesce(octet_length(key), 0), coalesce(octet_length(type), 0), octet_length(content_type),
                octet_length(headers::text), jsonb_typeof(headers), octet_length(payload), occurred_at
            ),
            SCHEMA = 'onewrite', TABLE = 'outbox', CONSTRAINT = broken;
    END IF;
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION onewrite.check_event(text, text, text, text, jsonb, bytea, timestamptz) TO PUBLIC;

-- NOT VALID: every row that is there has passed the constraints that go, so none has to be read, however many there are.
ALTER TABLE onewrite.outbox
    DROP CONSTRAINT topic_has_1_to_249_bytes,
    DROP CONSTRAINT key_has_at_most_1024_bytes,
    DROP CONSTRAINT type_has_at_most_255_bytes,
    DROP CONSTRAINT content_type_has_at_most_255_bytes,
    DROP CONSTRAINT headers_are_a_json_object,
    DROP CONSTRAINT headers_have_at_most_32_kib,
    DROP CONSTRAINT payload_has_at_most_64_mib,
    DROP CONSTRAINT occurred_at_is_from_1970_to_9998,
    ADD CONSTRAINT event_is_within_its_limits
        CHECK (onewrite.check_event(topic, key, type, content_type, headers, payload, occurred_at)) NOT VALID;

INSERT INTO onewrite.migration (version) VALUES (6);

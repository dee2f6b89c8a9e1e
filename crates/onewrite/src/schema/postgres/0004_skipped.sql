-- Onewrite, schema version 4: what was given up stays given up.

-- Events of the outbox that an operator skipped: no replay delivers them. A row goes with its event.
CREATE TABLE onewrite.skipped_event (
    sequence   bigint NOT NULL,
    relay      text NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sequence, relay)
);

INSERT INTO onewrite.migration (version) VALUES (4);

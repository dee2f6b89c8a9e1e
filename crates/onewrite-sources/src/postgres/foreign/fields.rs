//! The options of outboxes that are not Onewrite's own.

use onewrite_core::options::{Field, Kind, field};

pub(crate) const TABLE: Field = field(
    "table",
    Kind::Text,
    "With another contract than `native`: the table, as `schema.table`, in capitals and small letters as it was created. A part that \
     holds a dot itself stands in double quotes. Without a schema it is in `public`.",
);

pub(crate) const COLUMNS: Field = field(
    "columns",
    Kind::Map,
    "For `columns`: which column is what, such as `{ id = \"message_id\", payload = \"body\", key = \"aggregate_id\" }`. There are `id` and \
     `payload`, which must be named, and `topic`, `key` (the scope of order), `type`, `headers` (a JSON object of texts), `time` (a \
     timestamp, or whole milliseconds since 1970) and `content_type`.",
);

pub(crate) const TOPIC: Field = field(
    "topic",
    Kind::Text,
    "For `columns`, in place of `columns.topic`: the topic of every event, with columns in braces, such as `shop.{aggregate_type}`.",
);

pub(crate) const SETTLE: Field = field(
    "settle",
    Kind::Choice(&["nothing", "delete", "mark"]),
    "With another contract than `native`: what is done to a row once its event is settled. `nothing` leaves the table alone: the \
     log is read, and the replication slot keeps the place (feed `wal`). `delete` removes the row and `mark` sets `mark_column`: \
     the table is polled (feed `poll`). Without it, `nothing`.",
);

pub(crate) const MARK_COLUMN: Field = field(
    "mark_column",
    Kind::Text,
    "With settle = `mark`: the column that tells a settled row. A timestamp or date is NULL before and gets the time; a boolean gets \
     true; a number is 0 (or `unmarked_value`) before and gets 1 (or `mark_value`); anything else needs both values.",
);

pub(crate) const MARK_VALUE: Field = field(
    "mark_value",
    Kind::Text,
    "With settle = `mark`: what the column holds in a settled row, such as `SENT`.",
);

pub(crate) const UNMARKED_VALUE: Field = field(
    "unmarked_value",
    Kind::Text,
    "With settle = `mark`: what the column holds in a row that is to be delivered, such as `NEW`. Rows with any other value are left \
     alone.",
);

pub(crate) const ORDER_BY: Field = field(
    "order_by",
    Kind::Text,
    "With settle = `delete` or `mark`: the column that ascends in the order in which the rows of one key are written. Without it, the \
     primary key where that is one number, else `columns.time`. It should have an index; with `mark`, one of the unsettled rows alone.",
);

pub(crate) const MESSAGES: Field = field(
    "messages",
    Kind::List,
    "For `debezium`, in place of `table`: the prefixes of the logical messages (`pg_logical_emit_message`) that are events.",
);

pub(crate) const ROUTER: Field = field(
    "router",
    Kind::Map,
    "For `debezium`: the options of its outbox event router by their own names, such as `{ \"route.by.field\" = \"kind\" }`. `${` in a text \
     is written `$${`.",
);

pub(crate) const CONVERTERS: Field = field(
    "converters",
    Kind::Map,
    "For `debezium`: the converters that write key, value and headers, by the names that Kafka Connect knows them by, such as \
     `{ \"value.converter\" = \"org.apache.kafka.connect.json.JsonConverter\", \"value.converter.schemas.enable\" = \"false\" }`.",
);

pub(crate) const PUBLICATION: Field = field(
    "publication",
    Kind::Text,
    "With settle = `nothing`: the publication through which the log is read. It is created where it is missing and the role may; \
     without this, it has the name of the slot.",
);

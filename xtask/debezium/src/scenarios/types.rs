//! Columns of every type, with and without defaults.

use super::*;

const TYPES: &str = "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid bigint NOT NULL, type text, payload text, \
    b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, n numeric, n2 numeric(10,2), n5 numeric(5), vc varchar(20), \
    bp char(5), j json, jb jsonb, by bytea, d date, tm time, tm3 time(3), tm0 time(0), ts timestamp, ts3 timestamp(3), ts0 timestamp(0), \
    tz timestamptz, tz3 timestamptz(3), tz0 timestamptz(0), e mood, c cents)";

const TYPES_ENVELOPE: &str = "b:envelope,i2:envelope,i4:envelope,i8:envelope,f4:envelope,f8:envelope,n:envelope,n2:envelope,n5:envelope,\
    vc:envelope,bp:envelope,j:envelope,jb:envelope,by:envelope,d:envelope,tm:envelope,tm3:envelope,tm0:envelope,ts:envelope,\
    ts3:envelope,ts0:envelope,tz:envelope,tz3:envelope,tz0:envelope,e:envelope,c:envelope,id:envelope";

const TYPES_HEADERS: &str = "b:header,i2:header,i4:header,i8:header,f4:header,f8:header,n:header,n2:header,n5:header,vc:header,bp:header,\
    j:header,jb:header,by:header,d:header,tm:header,tm3:header,tm0:header,ts:header,ts3:header,ts0:header,tz:header,tz3:header,\
    tz0:header,e:header,c:header";

macro_rules! types_rows {
    ($number:literal) => {
        &[
            Insert(concat!(
                "VALUES ('00000000-0000-4000-8000-0000000", $number, "01', 'Types', 7, 'Made', 'text', true, -7, 70000, 9000000000, 0.1, \
                 1e20, 12.3400, 1234.5, 77, 'grün', 'ab', '{ \"a\" : [1, 2] }', '{\"b\": 1, \"a\": null}', '\\x00ff61', \
                 '2024-02-29', '23:59:59.123456', '23:59:59.123', '23:59:59', '2024-01-02 03:04:05.678901', '2024-01-02 03:04:05.678', \
                 '2024-01-02 03:04:05', '2024-01-02 03:04:05.678901+02', '2024-01-02 03:04:05.67+02', '2024-01-02 03:04:05+02', 'very bad', 5)"
            )),
            Insert(concat!("(id, aggregatetype, aggregateid) VALUES ('00000000-0000-4000-8000-0000000", $number, "02', 'Types', 8)")),
            Insert(concat!(
                "VALUES ('00000000-0000-4000-8000-0000000", $number, "03', 'Types', -9, '', '', false, 0, 0, 0, 'Infinity', 1e-5, \
                 -123456789012345678901234567890.000, -0.01, -1, '', '', '1', '\"x\"', '', '1969-12-31', '24:00:00', '00:00', '00:00', \
                 '1969-12-31 23:59:59.999999', '1960-01-01 00:00:00.001', '0044-01-01 00:00:00', '1969-12-31 23:59:59.999999+00', \
                 '0044-01-01 00:00:00+00', '9999-12-31 00:00:00+00', 'good', -0.1)"
            )),
            Insert(concat!(
                "(id, aggregatetype, aggregateid, f4, f8, n, d, ts, ts3, tz, tz3) VALUES ('00000000-0000-4000-8000-0000000", $number, "04', \
                 'Types', 10, 3.4e38, 123456.789, 1000000, '2020-01-01', 'infinity', '-infinity', 'infinity', '-infinity')"
            )),
            Insert(concat!(
                "(id, aggregatetype, aggregateid, f4, f8, n, n2, d, ts, ts3, tz, tm) VALUES ('00000000-0000-4000-8000-0000000", $number, "05', \
                 'Types', 11, 'NaN', '-Infinity', 0.00000012, 0, '0001-01-01', '-infinity', 'infinity', '2024-01-02 03:04:00+00', '03:04')"
            )),
        ]
    };
}

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "types-envelope-schemas",
        &[("table.fields.additional.placement", TYPES_ENVELOPE)],
        WITH_SCHEMAS,
        TYPES,
        types_rows!("004"),
    ),
    scenario(
        "types-envelope-strings",
        &[(
            "table.fields.additional.placement",
            "b:envelope,f4:envelope,n2:envelope,by:envelope,jb:envelope",
        )],
        STRINGS,
        TYPES,
        types_rows!("005"),
    ),
    scenario(
        "types-headers",
        &[("table.fields.additional.placement", TYPES_HEADERS)],
        PLAIN,
        TYPES,
        types_rows!("006"),
    ),
    scenario(
        "types-headers-json",
        &[("table.fields.additional.placement", TYPES_HEADERS)],
        &[
            ("key.converter", STRING),
            ("value.converter", JSON),
            ("header.converter", JSON),
            ("header.converter.schemas.enable", "false"),
        ],
        TYPES,
        types_rows!("007"),
    ),
    Scenario {
        snapshot: true,
        ..scenario(
            "types-snapshot",
            &[("table.fields.additional.placement", TYPES_ENVELOPE)],
            WITH_SCHEMAS,
            TYPES,
            types_rows!("008"),
        )
    },
    scenario(
        "defaults",
        &[(
            "table.fields.additional.placement",
            "i:envelope,o:envelope,s:envelope,x:envelope,j:envelope,u:envelope,ts:envelope,tz:envelope,\
            b:envelope,d:envelope,n:envelope,v:envelope,tm:envelope,f:envelope,e:envelope,x:header:hx,o:header:ho",
        )],
        WITH_SCHEMAS,
        "CREATE TABLE outbox (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, aggregatetype text DEFAULT 'Default', \
            aggregateid text NOT NULL DEFAULT 'none', type text, payload jsonb DEFAULT '{}', i int NOT NULL DEFAULT 5, o int DEFAULT 7, \
            s serial, x text DEFAULT 'it''s', j jsonb DEFAULT '{\"a\": 1}', u uuid DEFAULT gen_random_uuid(), ts timestamp DEFAULT now(), \
            tz timestamptz DEFAULT now(), b boolean DEFAULT true, d date DEFAULT '2020-01-01', n numeric(10,2) DEFAULT 1.5, v numeric DEFAULT 3, \
            tm time DEFAULT '10:00', f float8 DEFAULT 2.5, e mood DEFAULT 'good')",
        &[
            Insert(
                "(id, aggregatetype, s, u, ts, tz) VALUES ('00000000-0000-4000-8000-000000000901', 'D', 1, \
                    '00000000-0000-4000-8000-000000000999', '2024-01-01', '2024-01-01 00:00+00')",
            ),
            Insert(
                "(id, aggregatetype, aggregateid, payload, o, x, j, u, ts, tz, b, d, n, v, tm, f, e, s) VALUES \
                    ('00000000-0000-4000-8000-000000000902', 'D', 'k', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
                     NULL, NULL, 2)",
            ),
        ],
    ),
    scenario(
        "not-a-number",
        &[("table.fields.additional.placement", "z:header,z:envelope:copy")],
        PLAIN,
        LOOSE,
        &[
            Insert("(id, aggregatetype, aggregateid, payload, z) VALUES ('nan-1', 'F', 'k', 'x', 'NaN')"),
            Insert("(id, aggregatetype, aggregateid, payload, z) VALUES ('nan-2', 'F', 'k', 'x', 'Infinity')"),
        ],
    ),
    scenario(
        "infinite-dates",
        &[("table.field.event.payload", "d")],
        PLAIN,
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, d date)",
        &[
            Insert("VALUES ('00000000-0000-4000-8000-000000003001', 'D', 'k', 'infinity')"),
            Insert("VALUES ('00000000-0000-4000-8000-000000003002', 'D', 'k', '-infinity')"),
        ],
    ),
    scenario(
        "defaults-not-replaced",
        &[("table.fields.additional.placement", "o:envelope,x:envelope,x:header")],
        &[
            ("key.converter", STRING),
            ("value.converter", JSON),
            ("value.converter.schemas.enable", "false"),
            ("value.converter.replace.null.with.default", "false"),
        ],
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, payload jsonb DEFAULT '{}', o int DEFAULT 7, \
            x text DEFAULT 'x')",
        &[Insert(
            "VALUES ('00000000-0000-4000-8000-000000001001', 'D', 'k', NULL, NULL, NULL)",
        )],
    ),
];

//! Whether the connected role may do what a relay does.

use onewrite::schema::postgres::grants::RELAY_RIGHTS;
use onewrite_core::StoreError;
use onewrite_core::sink::Finding;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::error::failed;

/// One finding for each right that is missing, naming the statement that grants it, or one that all are there.
pub(super) async fn look(client: &Client) -> Result<Vec<Finding>, StoreError> {
    // The catalogue is read directly: the functions that take a name fail where the role may not even use the schema.
    const MISSING: &str = "SELECT kind, r, object, quote_ident(current_user) \
                           FROM unnest($1, $2, $3) WITH ORDINALITY AS needed (kind, r, object, place) \
                           LEFT JOIN pg_class c ON c.relname = split_part(object, '.', 2) \
                               AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'onewrite') \
                           WHERE NOT coalesce(CASE kind \
                               WHEN 'SCHEMA' THEN (SELECT has_schema_privilege(oid, r) FROM pg_namespace WHERE nspname = object) \
                               WHEN 'SEQUENCE' THEN has_sequence_privilege(c.oid, r) \
                               ELSE has_table_privilege(c.oid, r) END, false) \
                           ORDER BY place";
    let (mut kinds, mut rights, mut objects) = (vec!["SCHEMA"], vec!["USAGE"], vec!["onewrite"]);
    for needed in RELAY_RIGHTS {
        for object in needed.objects {
            for right in needed.rights {
                kinds.push(needed.kind);
                rights.push(right);
                objects.push(object);
            }
        }
    }
    let binds = [kinds, rights, objects];
    let rows = client
        .query_typed(
            MISSING,
            &[
                (&binds[0], Type::TEXT_ARRAY),
                (&binds[1], Type::TEXT_ARRAY),
                (&binds[2], Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(|error| failed("reading privileges", error))?;
    if rows.is_empty() {
        return Ok(vec![Finding::works(
            "privileges",
            "the user may do all that a relay does",
        )]);
    }
    let missing = rows.iter().map(|row| {
        let (kind, right, object, role): (&str, &str, &str, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
        Finding::broken(
            format!("privilege {right} on {object}"),
            format!(
                "the user lacks it; as the owner of the schema: GRANT {right} ON {kind} {object} TO {role}; \
                 (`onewrite migrate --print` lists all that a relay needs)"
            ),
        )
    });
    Ok(missing.collect())
}

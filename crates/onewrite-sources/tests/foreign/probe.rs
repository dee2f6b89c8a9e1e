//! What `onewrite check` and `onewrite status` tell of tables that are not Onewrite's own.

use onewrite_core::sink::{Finding, FindingLevel};

use super::fixture::{Foreign, routes};

fn found<'a>(findings: &'a [Finding], subject: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.subject == subject);
    found.unwrap_or_else(|| panic!("nothing about {subject}: {findings:#?}"))
}

#[tokio::test]
async fn an_order_without_an_index_is_told_with_the_index_that_helps() {
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    let findings = foreign.operations.probe().await;
    assert_eq!(found(&findings, "order").message, "by \"seq\", by an index");
    assert_eq!(found(&findings, "table public.outbox").level, FindingLevel::Works);

    let foreign = Foreign::plain(&[
        ("settle", "mark"),
        ("mark_column", "sent"),
        ("mark_value", "1"),
        ("unmarked_value", "0"),
    ]);
    let foreign = foreign.await;
    foreign.sql("ALTER TABLE outbox ADD COLUMN sent text").await;
    let findings = foreign.operations.probe().await;
    let finding = found(&findings, "order");
    assert_eq!(
        (finding.level, finding.message.as_str()),
        (
            FindingLevel::Warning,
            "no index gives the unsettled rows by \"seq\", so every look goes over the table; as its owner: \
             CREATE INDEX CONCURRENTLY ON \"public\".\"outbox\" (\"seq\") WHERE \"sent\" = E'0';"
        )
    );
    foreign
        .sql("CREATE INDEX CONCURRENTLY ON \"public\".\"outbox\" (\"seq\") WHERE \"sent\" = E'0';")
        .await;
    let findings = foreign.operations.probe().await;
    assert_eq!(found(&findings, "order").level, FindingLevel::Works);
}

#[tokio::test]
async fn rights_that_are_missing_are_told_with_the_grant() {
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    let role = format!("reader_{}", foreign.fixture.database.name);
    foreign
        .sql(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON outbox TO {role}"))
        .await;
    let url = foreign.fixture.database.url_as(&role);
    let texts = [
        ("url", url.as_str()),
        ("contract", "columns"),
        ("table", "outbox"),
        ("settle", "delete"),
    ];
    let options = crate::tables::options(&texts, &[super::fixture::COLUMNS]).expect("texts that fit");
    let source = onewrite_sources::registry::source_type("postgres").expect("it is built in");
    let findings = source
        .open(&options)
        .expect("options that fit")
        .operations
        .probe()
        .await;
    let finding = found(&findings, "privilege DELETE on public.outbox");
    assert_eq!(
        finding.message,
        format!("the user lacks it; as the owner of the table: GRANT DELETE ON \"public\".\"outbox\" TO {role};")
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_a_finding() {
    let foreign = Foreign::plain(&[("settle", "delete"), ("order_by", "sqe")]).await;
    let findings = foreign.operations.probe().await;
    let finding = found(&findings, "table public.outbox");
    assert_eq!(finding.level, FindingLevel::Broken);
    assert!(finding.message.contains("has no column \"sqe\""), "{}", finding.message);
}

#[tokio::test]
async fn rows_that_are_not_settled_are_counted_by_route() {
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    foreign.begin(&routes(&[("a", "a"), ("b", "b")])).await;
    foreign.insert("a", Some("k"), &["1", "2"]).await;
    foreign.insert("c", Some("k"), &["3"]).await;
    let counts = async || -> Vec<(String, Option<i64>)> {
        let status = foreign.operations.status().await.expect("a status");
        status
            .routes
            .into_iter()
            .map(|route| (route.route, route.unsettled))
            .collect()
    };
    let named = |counts: [Option<i64>; 3]| {
        ["a", "b", "unrouted"]
            .map(str::to_owned)
            .into_iter()
            .zip(counts)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts().await, named([Some(2), Some(0), Some(1)]));
    // What cannot be counted does not stand in the way of the rest.
    foreign.sql("ALTER TABLE outbox RENAME TO away").await;
    assert_eq!(counts().await, named([None; 3]));
}

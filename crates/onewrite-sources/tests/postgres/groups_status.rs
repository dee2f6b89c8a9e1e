//! What the SQL view and the operators' status tell of relays of several groups.

use onewrite_core::Member;
use onewrite_core::routing::{Match, shares};
use onewrite_core::store::{RouteReport, RouteState, RouteStatus, Status};
use onewrite_testkit::servers::{Database, Postgres};
use tokio_postgres::Row;

use super::fixture::{RELAY, TTL, open, open_all, run};
use super::groups::{Process, append_odd, migrated};

const OTHER: &str = "nobodys";

/// The view's rows, by relay and route.
async fn view(database: &Database) -> Vec<Row> {
    const VIEW: &str = "SELECT relay, route, state, holder, lease_held, delivered, failed, parked + held, last_error, feed, groups \
                        FROM onewrite.status ORDER BY relay, route";
    let client = database.connect().await;
    client.query(VIEW, &[]).await.expect("the view")
}

/// State, holder, whether the lease is held, and the number of groups.
fn lead(row: &Row) -> (&str, Option<&str>, Option<bool>, i64) {
    (
        row.get("state"),
        row.get("holder"),
        row.get("lease_held"),
        row.get("groups"),
    )
}

async fn status(database: &Database) -> Status {
    let opened = open_all(&[("url", &database.url)]);
    opened.operations.status().await.expect("the status")
}

fn route<'a>(status: &'a Status, relay: &str) -> &'a RouteStatus {
    let mut of_relay = status.routes.iter().filter(|route| route.relay == relay);
    let found = of_relay.next().expect("the route");
    assert!(of_relay.next().is_none(), "it is there once: {:?}", status.routes);
    found
}

/// A relay with one route that takes everything, of which a process once knew.
async fn leave_a_relay_to_itself(database: &Database) {
    let outbox = open(&[("url", &database.url), ("feed", "poll")]).expect("an outbox");
    let member = Member {
        relay: OTHER.to_owned(),
        id: "gone".to_owned(),
        holder: "gone".to_owned(),
        groups: 2,
    };
    for index in 0..2 {
        let lease = outbox.claim(&member, index, TTL).await.expect("an answer");
        let lease = lease.expect("a free group");
        let share = shares(OTHER, &[("only".to_owned(), Match::default())]).remove(0);
        let shares = [share.in_group(lease.group)];
        outbox.adopt(&lease, &shares).await.expect("adopted");
    }
    // It was killed: nobody gave the leases up, they ran out.
    let client = database.connect().await;
    let over =
        "UPDATE onewrite.relay SET expires_at = clock_timestamp() WHERE name = 'nobodys'; DELETE FROM onewrite.member";
    run(&client, over).await;
}

#[tokio::test]
async fn a_route_of_several_groups_is_one_row_whether_or_not_anybody_runs_it() {
    let database = migrated(&Postgres::shared(17).await, 3).await;
    leave_a_relay_to_itself(&database).await;
    let settled = append_odd(&database, 0).await.len();
    let mut process = Process::lead(&database, "poll", 3).await;
    assert_eq!(process.read(settled).await.len(), settled);
    for (number, lease) in process.leases.iter().enumerate() {
        let retrying = number == 1;
        let report = RouteReport {
            route: "all".to_owned(),
            state: if retrying {
                RouteState::Retrying
            } else {
                RouteState::Running
            },
            delivered: 10,
            failed: 1,
            last_error: retrying.then(|| "the broker is away".to_owned()),
        };
        process.outbox.renew(lease, TTL, &[report]).await.expect("renewed");
    }
    let backlog = append_odd(&database, 1).await.len();
    let client = database.connect().await;
    let old = "INSERT INTO onewrite.outbox (topic, key, payload, occurred_at) VALUES ('t', 'old', '', now() - interval '90 seconds')";
    run(&client, old).await;

    let rows = view(&database).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let (nobodys, led) = (&rows[0], &rows[1]);
    assert_eq!((led.get("relay"), led.get("route")), (RELAY, "all"));
    assert_eq!(lead(led), ("retrying", Some("one"), Some(true), 3));
    assert_eq!((led.get("delivered"), led.get("failed")), (30_i64, 3_i64));
    assert_eq!(
        (led.get("last_error"), led.get("feed")),
        (Some("the broker is away"), Some("poll"))
    );
    assert_eq!((nobodys.get("relay"), nobodys.get("route")), (OTHER, "only"));
    assert_eq!(lead(nobodys), ("running", Some("gone"), Some(false), 2));
    assert_eq!((nobodys.get("delivered"), nobodys.get("failed")), (0_i64, 0_i64));

    let told = status(&database).await;
    let (led, nobodys) = (route(&told, RELAY), route(&told, OTHER));
    assert_eq!((led.state.as_str(), led.delivered), ("retrying", 30));
    assert_eq!(led.unsettled, Some((backlog + 1) as i64));
    assert_eq!(nobodys.unsettled, Some((settled + backlog + 1) as i64));
    for lag in [led.lag_seconds, nobodys.lag_seconds] {
        assert!(lag.is_some_and(|lag| (90.0..600.0).contains(&lag)), "{lag:?}");
    }
    let relay = told.relays.iter().find(|relay| relay.name == RELAY).expect("the relay");
    let of_groups = relay.groups.iter().filter_map(|group| group.unsettled);
    assert_eq!((relay.groups.len(), of_groups.sum::<i64>()), (3, (backlog + 1) as i64));

    // What it has not delivered is not forgotten when it gives its leases up, and less is behind when it goes on.
    process.end().await;
    let rows = view(&database).await;
    assert_eq!(lead(&rows[1]), ("retrying", None, Some(false), 3));
    let mut process = Process::lead(&database, "poll", 3).await;
    assert_eq!(process.read(backlog + 1).await.len(), backlog + 1);
    let told = status(&database).await;
    assert_eq!(
        (route(&told, RELAY).unsettled, route(&told, RELAY).lag_seconds),
        (Some(0), None)
    );
    process.end().await;
}

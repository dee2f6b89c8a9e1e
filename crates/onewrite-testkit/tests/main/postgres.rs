use onewrite_testkit::servers::{Database, Postgres};

async fn starts_and_keeps_data_through_every_kind_of_stop(version: u32) {
    let server = Postgres::start(version, &[("application_name", "it's a fixture")]).await;
    let database = server.database().await;
    let client = database.connect().await;
    let shown = |name| {
        let statement = format!("SELECT current_setting('{name}')");
        let client = &client;
        async move {
            client
                .query_one(&statement, &[])
                .await
                .expect("a setting")
                .get::<_, String>(0)
        }
    };
    assert!(shown("server_version").await.starts_with(&version.to_string()));
    assert_eq!(shown("wal_level").await, "logical");
    assert_eq!(shown("fsync").await, "on");
    assert_eq!(shown("listen_addresses").await, "127.0.0.1");
    client
        .batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
        .await
        .expect("write");

    let port = server.port();
    server.restart().await;
    insert_and_expect(&database, 2).await;
    server.kill9().await;
    assert_eq!(server.pid(), None);
    assert!(
        database.config().connect(tokio_postgres::NoTls).await.is_err(),
        "a killed server answers"
    );
    server.restart().await;
    insert_and_expect(&database, 3).await;
    server.stop_immediate().await;
    server.restart().await;
    insert_and_expect(&database, 4).await;
    assert_eq!(server.port(), port);
}

async fn insert_and_expect(database: &Database, count: i64) {
    let client = database.connect().await;
    client.batch_execute("INSERT INTO t VALUES (1)").await.expect("write");
    let row = client.query_one("SELECT count(*) FROM t", &[]).await.expect("count");
    assert_eq!(row.get::<_, i64>(0), count);
}

#[tokio::test]
async fn postgresql_14() {
    starts_and_keeps_data_through_every_kind_of_stop(14).await;
}

#[tokio::test]
async fn postgresql_15() {
    starts_and_keeps_data_through_every_kind_of_stop(15).await;
}

#[tokio::test]
async fn postgresql_16() {
    starts_and_keeps_data_through_every_kind_of_stop(16).await;
}

#[tokio::test]
async fn postgresql_17() {
    starts_and_keeps_data_through_every_kind_of_stop(17).await;
}

#[tokio::test]
async fn postgresql_18() {
    starts_and_keeps_data_through_every_kind_of_stop(18).await;
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let server = Postgres::start(17, &[]).await;
    let client = server.database().await.connect().await;
    server.pause();
    let mut answer = std::pin::pin!(client.simple_query("SELECT 1"));
    let silence = tokio::time::timeout(std::time::Duration::from_millis(200), &mut answer).await;
    assert!(silence.is_err(), "a paused server answered");
    server.resume();
    answer.await.expect("the answer to the same query");
}

#[tokio::test]
async fn databases_of_the_shared_server_are_apart() {
    let server = Postgres::shared(18).await;
    let (one, other) = (server.database().await, server.database().await);
    one.connect()
        .await
        .batch_execute("CREATE TABLE t ()")
        .await
        .expect("create");
    other
        .connect()
        .await
        .batch_execute("CREATE TABLE t ()")
        .await
        .expect("create the same name elsewhere");
    assert_eq!(Postgres::shared(18).await.pid(), server.pid());
}

#[tokio::test]
async fn the_role_password_users_asks_for_passwords() {
    let database = Postgres::shared(18).await.database().await;
    let role = format!("{}_role", database.name);
    let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'right' IN ROLE password_users");
    database
        .connect()
        .await
        .batch_execute(&create)
        .await
        .expect("create a role");
    let mut config = database.config();
    config.user(&role).password("wrong");
    let refused = config
        .connect(tokio_postgres::NoTls)
        .await
        .err()
        .expect("a wrong password is refused");
    let code = refused.code().map(|code| code.code().to_owned());
    assert_eq!(code.as_deref(), Some("28P01"));
    let _connected = config
        .password("right")
        .connect(tokio_postgres::NoTls)
        .await
        .expect("the right password");
}

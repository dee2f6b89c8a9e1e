//! `onewrite run`, from an SQLite outbox to a file.

use serde_json::json;

use crate::program::Program;
use crate::shop::Shop;

#[test]
fn events_are_delivered_and_a_signal_ends_it_cleanly() {
    let shop = Shop::new();
    shop.append("shop.orders", &["1", "2"]);
    let running = shop.program.start();
    shop.until_delivered(2);
    shop.append("shop.orders", &["3"]);
    shop.until_delivered(3);
    let said = running.stop();
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    let payloads: Vec<_> = shop.delivered().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads, [json!(1), json!(2), json!(3)]);

    let lines: Vec<serde_json::Value> = said
        .err
        .lines()
        .map(|line| serde_json::from_str(line).expect("a log line is JSON where there is no terminal"))
        .collect();
    let place = shop.program.path("shop.db");
    assert!(
        lines[0]["message"].as_str().unwrap().ends_with("starts"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[0]["source"],
        format!("sqlite: {}, feed poll", place.file_name().unwrap().display())
    );
    assert_eq!(lines[0]["routes"], "orders (shop.*) → events (file)");
    assert_eq!(lines.last().unwrap()["message"], "onewrite has stopped");

    let status = shop.program.json(&["status", "--json"]);
    assert_eq!(
        status["relays"][0]["holder"],
        serde_json::Value::Null,
        "the lease was given up"
    );
    let orders = status["routes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|route| route["route"] == "orders")
        .unwrap();
    assert_eq!((&orders["delivered"], &orders["unsettled"]), (&json!(3), &json!(0)));
    let text = shop.program.run(&["status"]).out;
    assert!(
        text.contains("relay shop: nobody runs it") && text.contains("orders    stopped"),
        "{text}"
    );
}

#[test]
fn a_second_signal_aborts_at_once() {
    // A sink that takes the connection and never answers keeps a delivery under way for as long as it takes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/events", listener.local_addr().expect("an address"));
    let shop = Shop::new();
    let to_http = format!("type = \"http\"\nurl = \"{url}\"");
    let configuration = shop.program.read("onewrite.toml");
    shop.program.write(
        "onewrite.toml",
        &configuration.replace("type = \"file\"\npath = \"events.jsonl\"", &to_http),
    );
    shop.append("shop.orders", &["1"]);
    let running = shop.program.start();
    // Connecting, and then the delivery: its request is read whole and left without an answer.
    let mut connections = Vec::new();
    loop {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut request = [0; 4];
        let length = std::io::Read::read(&mut connection, &mut request).expect("a request");
        connections.push(connection);
        if &request[..length] == b"POST" {
            break;
        }
    }
    running.signal("TERM");
    running.until_logged("stopping: finishing what is under way");
    running.signal("INT");
    let said = running.ended();
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("aborted by a second signal"), "{}", said.err);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let shop = Shop::new();
    shop.append("shop.orders", &["1"]);
    let running = shop.program.start();
    shop.until_delivered(1);
    assert_eq!(running.stop().code, 0);
    shop.append("shop.orders", &["2"]);
    let running = shop.program.start();
    shop.until_delivered(2);
    assert_eq!(running.stop().code, 0);
    let payloads: Vec<_> = shop.delivered().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads, [json!(1), json!(2)]);
}

#[test]
fn lines_on_standard_output_are_events_and_nothing_else() {
    let shop = Shop::new();
    let to_stdout = shop
        .program
        .read("onewrite.toml")
        .replace("type = \"file\"\npath = \"events.jsonl\"", "type = \"stdout\"");
    shop.program.write("onewrite.toml", &to_stdout);
    shop.append("shop.orders", &["1", "2"]);
    let running = shop.program.start();
    shop.until_route("orders", "delivers", |route| route["delivered"] == 2);
    let said = running.stop();
    let lines: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["payload"], &lines[1]["payload"]), (&json!(1), &json!(2)));
}

#[test]
fn a_sink_of_which_nothing_can_be_made_is_told_with_its_line() {
    let program = Program::with(
        "name = \"shop\"\n[source]\ntype = \"sqlite\"\nurl = \"shop.db\"\n[sinks.hook]\ntype = \"http\"\nurl = \"ftp://localhost/\"\n\
         [[routes]]\nname = \"all\"\nsink = \"hook\"\n",
    );
    let said = program.run(&["run"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.starts_with(
            "error: the configuration has 1 problem\n  onewrite.toml:7: sinks.hook.url: has the scheme \"ftp\"; expected http or https\n"
        ),
        "{}",
        said.err
    );
}

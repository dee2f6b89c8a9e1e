//! A server that answers what it likes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use onewrite_core::Action;
use onewrite_testkit::wait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{connected, connector, refused};
use crate::support::{deliver, event, events, words};

/// What it answers to a command of this name, as bytes of the protocol; `None` closes the connection.
type Script = dyn Fn(&str) -> Option<String> + Send + Sync;

async fn server(script: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let script: Arc<Script> = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            // A connection that breaks is what some tests want.
            tokio::spawn(async move { serve(stream, &*script).await.ok() });
        }
    });
    url
}

async fn serve(stream: TcpStream, script: &Script) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let number = |line: &str| line[1..].trim().parse::<usize>().map_err(std::io::Error::other);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut name = None;
        for _ in 0..number(&line)? {
            line.clear();
            stream.read_line(&mut line).await?;
            let mut word = vec![0; number(&line)? + 2];
            stream.read_exact(&mut word).await?;
            word.truncate(word.len() - 2);
            name.get_or_insert(String::from_utf8_lossy(&word).into_owned());
        }
        match script(&name.unwrap_or_default()) {
            Some(answer) => stream.write_all(answer.as_bytes()).await?,
            None => return Ok(()),
        }
    }
}

/// What every server answers to the beginning of a connection, and to the empty transaction.
fn honest(command: &str) -> String {
    match command {
        "PING" => "+PONG\r\n".into(),
        "ROLE" => "*1\r\n$6\r\nmaster\r\n".into(),
        "CLUSTER" => "-ERR This instance has cluster support disabled\r\n".into(),
        "MULTI" => "+OK\r\n".into(),
        "XADD" => "+QUEUED\r\n".into(),
        "EXEC" => "*0\r\n".into(),
        other => panic!("the sink sent {other}"),
    }
}

/// The first answer to `EXEC` is for the beginning, the next one is this.
fn second_exec(answer: &'static str) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
    let seen = Mutex::new(0);
    move |command| {
        let mut seen = seen.lock().unwrap();
        *seen += usize::from(command == "EXEC");
        if command == "EXEC" && *seen > 1 {
            return Some(answer.to_owned());
        }
        Some(honest(command))
    }
}

#[tokio::test]
async fn a_transaction_without_an_id_for_each_entry_delivers_nothing() {
    for answer in ["*1\r\n$3\r\n1-1\r\n", "*-1\r\n", "+OK\r\n", "*0\r\n"] {
        let sink = connected(&server(second_exec(answer)).await, &[]).await;
        let (result, outcomes) = deliver(&*sink, &events(2, &["a"])).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{answer:?}");
        assert_eq!(words(&outcomes), ["unknown"; 2], "{answer:?}");
    }
}

#[tokio::test]
async fn what_stands_before_a_refusal_in_a_transaction_is_there() {
    let id = "$3\r\n1-1\r\n";
    let answer = format!("*4\r\n{id}-ERR The stream has exhausted the last possible ID\r\n{id}{id}");
    let sink = connected(&server(second_exec(answer.leak())).await, &[]).await;
    let (result, outcomes) = deliver(&*sink, &events(4, &["a", "b"])).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "retry", "retry", "unknown"]);
}

#[tokio::test]
async fn events_of_different_keys_go_without_a_transaction_and_each_has_an_answer_of_its_own() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let script = {
        let seen = Arc::clone(&seen);
        move |command: &str| {
            let mut seen = seen.lock().unwrap();
            seen.push(command.to_owned());
            let entries = seen.iter().filter(|command| *command == "XADD").count();
            match command {
                "XADD" if entries == 2 => Some("-OOM command not allowed\r\n".to_owned()),
                "XADD" => Some("$3\r\n1-1\r\n".to_owned()),
                _ => Some(honest(command)),
            }
        }
    };
    let sink = connected(&server(script).await, &[]).await;
    seen.lock().unwrap().clear();
    let (result, outcomes) = deliver(&*sink, &events(4, &["a", "b", "c", "d"])).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "retry", "delivered", "delivered"]);
    assert_eq!(*seen.lock().unwrap(), ["XADD"; 4], "no command but the entries");
}

#[tokio::test]
async fn what_refuses_the_only_stream_of_a_route_halts_it() {
    for answer in [
        "-WRONGTYPE Operation against a key",
        "-NOPERM this user has no permissions to access one of the keys used as arguments",
    ] {
        let script = move |command: &str| match command {
            "XADD" => Some(format!("{answer}\r\n")),
            _ => Some(honest(command)),
        };
        let url = server(script).await;
        for (stream, outcome, stops) in [("orders", "halt", true), ("{topic}", "park", false)] {
            let sink = connected(&url, &[("stream", stream)]).await;
            let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
            assert_eq!(words(&outcomes), [outcome], "{answer} {stream}");
            assert_eq!(result.is_err(), stops, "{answer} {stream}");
        }
    }
}

#[tokio::test]
async fn a_server_that_answers_only_in_part_is_left_for_the_next() {
    let script = |command: &str| match command {
        // Longer than the test waits.
        "ROLE" => Some(String::new()),
        _ => Some(honest(command)),
    };
    let urls = format!(
        "{},{}",
        server(script).await,
        server(|command| Some(honest(command))).await
    );
    let begun = std::time::Instant::now();
    connected(&urls, &[("timeout", "30s")]).await;
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[tokio::test]
async fn whether_a_length_is_taken_is_not_guessed() {
    let pings = Mutex::new(0);
    let script = move |command: &str| {
        let mut pings = pings.lock().unwrap();
        *pings += usize::from(command == "PING");
        match command {
            // The second connection is the one that asks.
            "PING" if *pings > 1 => Some("-ERR max number of clients reached\r\n".to_owned()),
            _ => Some(honest(command)),
        }
    };
    let sink = connected(&server(script).await, &[]).await;
    let mut batch = events(1, &["a"]);
    batch[0].payload = vec![b'x'; 2 << 20].into();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect, "{error}");
    assert!(error.to_string().contains("max number of clients"), "{error}");
    assert_eq!(words(&outcomes), ["unknown"]);
}

#[tokio::test]
async fn a_sink_that_is_dropped_writes_nothing_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (sink, mut stream) = tokio::join!(connected_with_patience(&url), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        // As many commands as connecting sends.
        let answers = ["PING", "CLUSTER", "ROLE", "MULTI", "EXEC"].map(honest);
        for answer in answers {
            let mut request = [0; 256];
            if !answer.starts_with("*0") {
                assert_ne!(stream.read(&mut request).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        stream
    });
    // More than lies in buffers, to a server that reads nothing.
    let mut batch: Vec<_> = (1..=40).map(|number| event(number, None)).collect();
    for event in &mut batch {
        event.payload = vec![b'x'; 1 << 20].into();
    }
    let (result, _) = deliver(&*sink, &batch).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    drop(sink);
    wait::until("the connection is closed", async || {
        stream.write_all(b"+OK\r\n").await.is_err().then_some(())
    })
    .await;
}

async fn connected_with_patience(url: &str) -> Box<dyn onewrite_core::Sink> {
    connected(url, &[("timeout", "1s")]).await
}

#[tokio::test]
async fn a_delivery_that_takes_too_long_leaves_the_rest_for_the_next() {
    let execs = Mutex::new(0);
    let script = move |command: &str| {
        let mut execs = execs.lock().unwrap();
        *execs += usize::from(command == "EXEC");
        match command {
            "EXEC" if *execs > 1 => {
                std::thread::sleep(Duration::from_secs(9)); // slow on purpose
                Some(format!("*512\r\n{}", "$3\r\n1-1\r\n".repeat(512)))
            }
            _ => Some(honest(command)),
        }
    };
    let sink = connected(&server(script).await, &[("timeout", "30s")]).await;
    let (result, outcomes) = deliver(&*sink, &events(2_000, &["a"])).await;
    let error = result.unwrap_err();
    assert!(matches!(error.action, Action::Retry { .. }), "{error}");
    assert!(error.to_string().contains("too slow for the whole delivery"), "{error}");
    assert_eq!(words(&outcomes[..3 * 512]), ["delivered"; 3 * 512]);
    assert!(words(&outcomes[3 * 512..]).iter().all(|word| *word == "unknown"));
}

#[tokio::test]
async fn a_single_entry_without_an_id_is_not_delivered() {
    for answer in ["+QUEUED\r\n", ":1\r\n", "$-1\r\n", "+OK\r\n"] {
        let script = move |command: &str| match command {
            "XADD" => Some(answer.to_owned()),
            _ => Some(honest(command)),
        };
        let sink = connected(&server(script).await, &[]).await;
        let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{answer:?}");
        assert_eq!(words(&outcomes), ["unknown"], "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_without_transactions_halts_before_anything_is_sent() {
    let script = |command: &str| match command {
        "MULTI" => Some("-ERR unknown command 'MULTI'\r\n".to_owned()),
        "EXEC" => Some("-ERR EXEC without MULTI\r\n".to_owned()),
        _ => Some(honest(command)),
    };
    let error = refused(&*connector(&server(script).await, &[])).await;
    assert_eq!(error.action, Action::Halt);
    assert!(error.to_string().contains("unknown command"), "{error}");
}

#[tokio::test]
async fn too_few_disks_deliver_nothing() {
    for (answers, delivered) in [(["1", "2"], true), (["0", "2"], false), (["1", "1"], false)] {
        let waits = Mutex::new(0);
        let script = move |command: &str| match command {
            "WAITAOF" => {
                let mut waits = waits.lock().unwrap();
                *waits += 1;
                let [own, replicas] = if *waits > 1 { answers } else { ["1", "2"] };
                Some(format!("*2\r\n:{own}\r\n:{replicas}\r\n"))
            }
            "XADD" => Some("$3\r\n1-1\r\n".to_owned()),
            _ => Some(honest(command)),
        };
        let options = [("wait_for_disk", "true"), ("wait_replicas", "2")];
        let sink = connected(&server(script).await, &options).await;
        let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
        assert_eq!(result.is_ok(), delivered, "{answers:?}");
        let expected = if delivered { "delivered" } else { "unknown" };
        assert_eq!(words(&outcomes), [expected], "{answers:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_still_loading_is_tried_again() {
    let script = |command: &str| match command {
        "PING" => Some("-LOADING Redis is loading the dataset in memory\r\n".to_owned()),
        _ => Some(honest(command)),
    };
    let error = refused(&*connector(&server(script).await, &[])).await;
    assert_eq!(error.action, Action::Reconnect);
    assert!(error.to_string().contains("LOADING"), "{error}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_needs_a_person_halts() {
    for (answer, outcome) in [
        ("-MISCONF Redis is configured to save RDB snapshots", "retry"),
        ("-BUSY Redis is busy running a script", "retry"),
        ("-CLUSTERDOWN The cluster is down", "reconnect"),
        ("-MASTERDOWN Link with MASTER is down", "retry"),
        ("-TRYAGAIN Multiple keys request during rehashing of slot", "retry"),
        ("-ERR something new", "retry"),
        ("-READONLY You can't write against a read only replica.", "reconnect"),
        ("-NOAUTH Authentication required.", "halt"),
        ("-WRONGTYPE Operation against a key", "park"),
    ] {
        let script = move |command: &str| match command {
            "XADD" => Some(format!("{answer}\r\n")),
            _ => Some(honest(command)),
        };
        let sink = connected(&server(script).await, &[]).await;
        let (_, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
        assert_eq!(words(&outcomes), [outcome], "{answer}");
    }
}

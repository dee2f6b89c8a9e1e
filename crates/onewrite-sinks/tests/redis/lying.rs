//! A server that answers what it likes.

use std::sync::{Arc, Mutex};

use onewrite_core::Action;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{connected, connector, refused};
use crate::support::{deliver, events, words};

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
    let answer = "*3\r\n$3\r\n1-1\r\n-ERR The stream has exhausted the last possible ID\r\n$3\r\n1-2\r\n";
    let sink = connected(&server(second_exec(answer)).await, &[]).await;
    let (result, outcomes) = deliver(&*sink, &events(3, &["a", "b", "c"])).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "retry", "retry"]);
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

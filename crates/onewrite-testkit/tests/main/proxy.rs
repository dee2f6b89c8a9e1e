//! The fault proxy does what its modes say.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A server that sends back what it gets, and a proxy in front of it.
async fn echo() -> (FaultProxy, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    (proxy, tasks)
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends bytes and reads as many back.
async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn it_passes_everything_on_and_counts() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(proxy.address()).await;
    let bytes = vec![7; 1 << 20];
    let (mut from, mut to) = stream.split();
    let mut answer = vec![0; bytes.len()];
    let (sent, read) = tokio::join!(to.write_all(&bytes), from.read_exact(&mut answer));
    sent.unwrap();
    read.unwrap();
    assert_eq!(answer, bytes);
    assert_eq!((proxy.accepted(), proxy.open(), proxy.sent()), (1, 1, 1 << 20));
    drop(stream);
    proxy.wait_open_at_most(0).await;
}

#[tokio::test]
async fn dropped_replies_never_come_and_the_connection_is_reset_afterwards() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(proxy.address()).await;
    assert_eq!(ask(&mut stream, b"before").await.unwrap(), b"before");
    proxy.set(ProxyMode::DropReplies);
    stream.write_all(b"lost").await.unwrap();
    proxy.wait_answered(10).await;
    proxy.set(ProxyMode::Pass);
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(
        ask(&mut connect(proxy.address()).await, b"after").await.unwrap(),
        b"after"
    );
}

#[tokio::test]
async fn reset_ends_connections_old_and_new() {
    let (proxy, _server) = echo().await;
    let mut old = connect(proxy.address()).await;
    assert_eq!(ask(&mut old, b"old").await.unwrap(), b"old");
    proxy.set(ProxyMode::Reset);
    assert_eq!(
        old.read(&mut [0; 8]).await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
    let mut new = connect(proxy.address()).await;
    assert!(ask(&mut new, b"new").await.is_err());
    proxy.set(ProxyMode::Pass);
    assert_eq!(
        ask(&mut connect(proxy.address()).await, b"again").await.unwrap(),
        b"again"
    );
}

#[tokio::test]
async fn half_open_connections_wait_and_then_go_on() {
    let (proxy, _server) = echo().await;
    let mut old = connect(proxy.address()).await;
    assert_eq!(ask(&mut old, b"old").await.unwrap(), b"old");
    proxy.set(ProxyMode::HalfOpen);
    let mut new = connect(proxy.address()).await;
    proxy.wait_accepted(2).await;
    old.write_all(b"waits").await.unwrap();
    new.write_all(b"waits too").await.unwrap();
    assert_eq!(proxy.answered(), 3);
    proxy.set(ProxyMode::Pass);
    let mut answer = [0; 14];
    let (first, second) = answer.split_at_mut(5);
    old.read_exact(first).await.unwrap();
    new.read_exact(second).await.unwrap();
    assert_eq!(&answer, b"waitswaits too");
}

#[tokio::test]
async fn delay_and_bandwidth_take_their_time() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(proxy.address()).await;
    for (mode, least) in [
        (ProxyMode::Delay(Duration::from_millis(60)), Duration::from_millis(120)),
        (ProxyMode::Bandwidth(1_000), Duration::from_millis(300)),
    ] {
        proxy.set(mode);
        let began = Instant::now();
        assert_eq!(ask(&mut stream, &[1; 200]).await.unwrap(), [1; 200]);
        assert!(began.elapsed() >= least, "{mode:?} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_limit_cuts_in_the_middle() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(proxy.address()).await;
    assert_eq!(ask(&mut stream, b"before").await.unwrap(), b"before");
    proxy.set(ProxyMode::Limit(10));
    assert_eq!(ask(&mut stream, b"sixteen").await.unwrap(), b"sixteen");
    assert!(ask(&mut stream, b"bytes more").await.is_err());
    proxy.wait_open_at_most(0).await;
}

#[tokio::test]
async fn a_proxy_can_be_there_before_its_server() {
    let proxy = FaultProxy::bind().await.unwrap();
    let mut early = connect(proxy.address()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.forward_to(listener.local_addr().unwrap());
    let (mut server, _) = listener.accept().await.unwrap();
    early.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn a_proxy_can_be_pointed_at_another_server() {
    let (proxy, _server) = echo().await;
    let mut old = connect(proxy.address()).await;
    assert_eq!(ask(&mut old, b"old").await.unwrap(), b"old");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.forward_to(listener.local_addr().unwrap());
    let mut new = connect(proxy.address()).await;
    let (mut server, _) = listener.accept().await.unwrap();
    new.write_all(b"new").await.unwrap();
    let mut heard = [0; 3];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"new");
    assert_eq!(ask(&mut old, b"as before").await.unwrap(), b"as before");
}

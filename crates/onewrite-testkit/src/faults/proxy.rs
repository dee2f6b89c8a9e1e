//! A TCP proxy on 127.0.0.1 that misbehaves on demand.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What a proxy does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// Passes everything on.
    Pass,
    /// Passes on what clients send, and silently drops what the server answers. A connection that has lost an answer is reset
    /// when the mode changes, since it would make no sense of what follows.
    DropReplies,
    /// Resets every connection, and new ones at once.
    Reset,
    /// Accepts connections and passes nothing on in either direction. What waits is passed on when the mode changes.
    HalfOpen,
    /// Passes everything on so much later.
    Delay(Duration),
    /// Passes on at most so many bytes a second in each direction of each connection.
    Bandwidth(u32),
    /// Passes everything on in writes of at most so many bytes.
    Slice(u16),
    /// Passes on so many bytes more in each direction of each connection, then resets it.
    Limit(u64),
}

/// The proxy. It ends, with every connection, when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

struct Shared {
    upstream: Mutex<Option<SocketAddr>>,
    mode: watch::Sender<ProxyMode>,
    counts: watch::Sender<Counts>,
}

impl Shared {
    fn upstream(&self) -> Option<SocketAddr> {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections there were and are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    accepted: u64,
    open: u64,
    /// Bytes that clients sent and that the server sent, whatever became of them.
    sent: u64,
    answered: u64,
}

impl FaultProxy {
    /// Listens on a free port. Servers that must be told where clients will find them can be started now;
    /// [`forward_to`](Self::forward_to) completes it, and connections wait until then.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(None),
            mode: watch::Sender::new(ProxyMode::Pass),
            counts: watch::Sender::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// A proxy in front of a server.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let proxy = Self::bind().await?;
        proxy.forward_to(upstream);
        Ok(proxy)
    }

    /// Names the server behind it, or another one: connections that are open stay where they are.
    pub fn forward_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(upstream);
        // Wakes the connections that wait for a server.
        self.shared.mode.send_modify(|_| {});
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to every connection, from now on.
    pub fn set(&self, mode: ProxyMode) {
        self.shared.mode.send_replace(mode);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.counts.borrow().accepted
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.shared.counts.borrow().open
    }

    /// Waits until so many connections have been accepted.
    pub async fn wait_accepted(&self, count: u64) {
        self.wait(|counts| counts.accepted >= count).await;
    }

    /// Waits until no more than so many connections are open.
    pub async fn wait_open_at_most(&self, count: u64) {
        self.wait(|counts| counts.open <= count).await;
    }

    /// Waits until clients have sent so many bytes in all.
    pub async fn wait_sent(&self, bytes: u64) {
        self.wait(|counts| counts.sent >= bytes).await;
    }

    /// Waits until the server has answered so many bytes in all, passed on or not.
    pub async fn wait_answered(&self, bytes: u64) {
        self.wait(|counts| counts.answered >= bytes).await;
    }

    /// Bytes that clients have sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.counts.borrow().sent
    }

    /// Bytes that the server has answered so far, passed on or not.
    pub fn answered(&self) -> u64 {
        self.shared.counts.borrow().answered
    }

    async fn wait(&self, fact: impl FnMut(&Counts) -> bool) {
        // The sender lives as long as this value.
        let _ = self.shared.counts.subscribe().wait_for(fact).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An error is that of one connection which went away again.
                let Ok((client, _)) = accepted else { continue };
                shared.counts.send_modify(|counts| {
                    counts.accepted += 1;
                    counts.open += 1;
                });
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    // How a connection ends is what the client sees; there is nobody else to tell.
                    let _ = serve(client, &shared).await;
                    shared.counts.send_modify(|counts| counts.open -= 1);
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let may_connect =
        |mode: &ProxyMode| *mode != ProxyMode::HalfOpen && (*mode == ProxyMode::Reset || shared.upstream().is_some());
    // The sender lives as long as the proxy; without one there is nothing to serve.
    let first = mode
        .wait_for(may_connect)
        .await
        .map(|mode| *mode)
        .map_err(io::Error::other)?;
    let upstream = match shared.upstream() {
        Some(upstream) if first != ProxyMode::Reset => TcpStream::connect(upstream).await,
        _ => return reset(&client),
    };
    let Ok(mut upstream) = upstream else {
        return reset(&client);
    };
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let pumped = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let requests = Pump::new(from_client, to_server, shared, Direction::Request);
        let answers = Pump::new(from_server, to_client, shared, Direction::Answer);
        tokio::try_join!(requests.run(), answers.run())
    };
    if pumped.is_err() {
        // It did not end by both sides closing it: it is reset when the sockets are dropped.
        reset(&client)?;
        reset(&upstream)?;
    }
    Ok(())
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// One direction of a connection.
struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    shared: &'a Shared,
    mode: watch::Receiver<ProxyMode>,
    direction: Direction,
    /// Whether something was dropped, so that nothing after it makes sense.
    lossy: bool,
    /// Bytes passed on since the mode was set.
    passed: u64,
}

const CHUNK: usize = 16 * 1024;

impl<'a> Pump<'a> {
    fn new(from: ReadHalf<'a>, to: WriteHalf<'a>, shared: &'a Shared, direction: Direction) -> Self {
        Self {
            from,
            to,
            shared,
            mode: shared.mode.subscribe(),
            direction,
            lossy: false,
            passed: 0,
        }
    }

    /// Pumps until the sender closes its side, or an error says that the connection is to be reset.
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let mode = *self.mode.borrow_and_update();
            self.refuse(mode)?;
            if mode == ProxyMode::HalfOpen {
                self.changed().await?;
                continue;
            }
            let read = tokio::select! {
                read = self.from.read(&mut buffer) => read?,
                changed = self.mode.changed() => {
                    changed.map_err(io::Error::other)?;
                    self.passed = 0;
                    continue;
                }
            };
            if read == 0 {
                return self.to.shutdown().await;
            }
            self.count(read);
            self.pass(&buffer[..read]).await?;
        }
    }

    /// Does with some bytes what the mode says, however often it changes meanwhile.
    async fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mode = *self.mode.borrow_and_update();
            self.refuse(mode)?;
            let now = match mode {
                ProxyMode::Pass | ProxyMode::Reset => bytes.len(),
                ProxyMode::DropReplies if self.direction == Direction::Answer => {
                    self.lossy = true;
                    return Ok(());
                }
                ProxyMode::DropReplies => bytes.len(),
                ProxyMode::HalfOpen => {
                    self.changed().await?;
                    continue;
                }
                ProxyMode::Delay(time) => {
                    self.pause(time).await?;
                    bytes.len()
                }
                ProxyMode::Bandwidth(each_second) => {
                    // Ten slices a second.
                    self.pause(Duration::from_millis(100)).await?;
                    bytes.len().min((each_second as usize / 10).max(1))
                }
                ProxyMode::Slice(most) => {
                    // Others run in between, so that the slices do not meet again in the socket's buffer.
                    tokio::task::yield_now().await;
                    bytes.len().min(usize::from(most).max(1))
                }
                ProxyMode::Limit(most) => {
                    let left = most.saturating_sub(self.passed);
                    if left == 0 {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))
                }
            };
            self.to.write_all(&bytes[..now]).await?;
            self.passed += now as u64;
            bytes = &bytes[now..];
        }
        Ok(())
    }

    /// An error where the connection is to be reset.
    fn refuse(&self, mode: ProxyMode) -> io::Result<()> {
        let lost = self.lossy && mode != ProxyMode::DropReplies;
        if mode == ProxyMode::Reset || lost {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// Waits so long, or until the mode changes.
    async fn pause(&mut self, time: Duration) -> io::Result<()> {
        match tokio::time::timeout(time, self.mode.changed()).await {
            Ok(changed) => changed.map_err(io::Error::other),
            Err(_) => Ok(()),
        }
    }

    async fn changed(&mut self) -> io::Result<()> {
        self.passed = 0;
        self.mode.changed().await.map_err(io::Error::other)
    }

    fn count(&self, bytes: usize) {
        self.shared.counts.send_modify(|counts| match self.direction {
            Direction::Request => counts.sent += bytes as u64,
            Direction::Answer => counts.answered += bytes as u64,
        });
    }
}

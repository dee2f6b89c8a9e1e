//! A broker that is one Java process: started, killed, started again on the same port and data.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use super::aside::aside;
use super::home::Home;
use super::process::Process;

/// How the process is started.
type Start = dyn Fn(&Home) -> Command + Send + Sync;

/// A broker of the test's own. Clones are the same broker; it ends with the last.
#[derive(Clone)]
pub struct JavaBroker(Arc<Inner>);

struct Inner {
    process: Process,
    start: Box<Start>,
    /// What it writes to its log when it serves.
    ready: &'static str,
}

impl JavaBroker {
    /// Starts a broker in this home and waits until it has written `ready` to its log.
    pub async fn start(
        name: &'static str,
        home: Home,
        ready: &'static str,
        start: impl Fn(&Home) -> Command + Send + Sync + 'static,
    ) -> Self {
        let inner = Inner {
            process: Process::new(name, home),
            start: Box::new(start),
            ready,
        };
        let broker = Self(Arc::new(inner));
        broker.run(Inner::start).await;
        broker
    }

    /// Its directory.
    pub fn home(&self) -> &Path {
        self.0.process.home().path()
    }

    /// Kills the broker, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.run(|inner| inner.process.kill()).await;
    }

    /// Starts it again and waits until it serves; first shuts it down if it runs.
    pub async fn restart(&self) {
        self.run(|inner| {
            inner.process.stop(Signal::TERM);
            inner.start();
        })
        .await;
    }

    async fn run(&self, work: impl FnOnce(&Inner) + Send + 'static) {
        let inner = Arc::clone(&self.0);
        aside(move || work(&inner)).await;
    }
}

impl Inner {
    fn start(&self) {
        let home = self.process.home();
        let log = home.log();
        let before = fs::metadata(&log).map_or(0, |data| data.len());
        self.process
            .start((self.start)(home), |_| written_since(&log, before).contains(self.ready));
    }
}

/// A Java program with the jars of this directory.
pub fn java(libraries: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command.arg(heap).arg("-cp").arg(libraries.join("*"));
    command
}

/// Everything to standard output, for brokers that log by Log4j 2.
pub const LOG4J: &str = "
rootLogger.level=INFO
rootLogger.appenderRef.stdout.ref=stdout
logger.audit.name=org.apache.activemq.audit
logger.audit.level=OFF
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d %p %m (%c)%n
";

fn written_since(log: &Path, before: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(before))?;
        file.read_to_end(&mut bytes)
    });
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

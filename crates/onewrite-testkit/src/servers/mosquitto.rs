//! Eclipse Mosquitto, a broker of MQTT 5.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustix::process::Signal;
use tokio::sync::OnceCell;

use super::aside::aside;
use super::home::Home;
use super::mqtt::{Reader, drain};
use super::port::Port;
use super::process::Process;
use crate::conformance::sink::Arrived;
use crate::wait;

/// For messages when it cannot be started.
const PACKAGE: &str = "Mosquitto (Debian's package mosquitto, which `./x up` installs)";

/// What every broker is started with. As root it would become another user, who cannot look into its home; queues hold
/// more than any test sends, since a broker drops what does not fit after it has acknowledged it.
const CONFIGURATION: &str = "
per_listener_settings true
user root
persistence true
max_queued_messages 10000000
";

/// A Mosquitto broker of the test's own on 127.0.0.1. Clones are the same broker; it ends with the last.
///
/// It has two listeners: one for the fixture itself and for tests that want no more, and one that a test may give settings, such as
/// TLS or a password file. It writes what it keeps to disk when it is shut down and at [`save`](Self::save), and not before.
#[derive(Clone)]
pub struct Mosquitto {
    broker: Arc<Broker>,
    shared: bool,
}

struct Broker {
    process: Process,
    port: Port,
    client_port: Port,
    /// What was read of each topic so far: a broker gives it out once.
    read: Mutex<HashMap<String, Vec<Arrived>>>,
}

impl Mosquitto {
    /// Starts a broker with further settings, and with settings of the listener [`client_port`](Self::client_port); that takes
    /// anybody where these do not say otherwise.
    pub async fn start(settings: &[(&str, &str)], listener: &[(&str, &str)]) -> Self {
        let lines = |settings: &[(&str, &str)]| -> String {
            settings
                .iter()
                .map(|(name, value)| format!("{name} {value}\n"))
                .collect()
        };
        let (settings, listener) = (lines(settings), lines(listener));
        let broker = aside(move || {
            let broker = Broker::prepare(&settings, &listener);
            broker.start();
            broker
        });
        Self {
            broker: Arc::new(broker.await),
            shared: false,
        }
    }

    /// The one broker that all tests of a process share, each with topics of its own names. It cannot be stopped.
    pub async fn shared() -> Self {
        static BROKER: OnceCell<Mosquitto> = OnceCell::const_new();
        let start = async || Self {
            shared: true,
            ..Self::start(&[], &[]).await
        };
        BROKER.get_or_init(start).await.clone()
    }

    /// The port that takes anybody; the same after every restart.
    pub fn port(&self) -> u16 {
        self.broker.port.number()
    }

    /// The port with the test's own settings.
    pub fn client_port(&self) -> u16 {
        self.broker.client_port.number()
    }

    /// The address for clients, `mqtt://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port())
    }

    /// Lets a subscriber with a persistent session subscribe to a topic, so that the broker keeps what comes from now on for
    /// [`read_all`](Self::read_all).
    pub async fn subscribe(&self, topic: &str) {
        let (port, topic) = (self.port(), topic.to_owned());
        aside(move || Reader::connect(port, &topic).subscribe()).await;
    }

    /// Lets that subscriber go, with everything that was kept for it.
    pub async fn unsubscribe(&self, topic: &str) {
        let (port, topic) = (self.port(), topic.to_owned());
        aside(move || Reader::connect(port, &topic).unsubscribe()).await;
    }

    /// Whether anybody subscribes to a topic, connected or not. Whoever does gets an empty message.
    pub async fn is_subscribed(&self, topic: &str) -> bool {
        let (port, topic) = (self.port(), topic.to_owned());
        aside(move || Reader::connect(port, "looking for subscribers").finds_subscribers(&topic)).await
    }

    /// Everything that has come under a topic since [`subscribe`](Self::subscribe), in its order. The broker gives it out once, so the
    /// fixture remembers it.
    pub async fn read_all(&self, topic: &str) -> Vec<Arrived> {
        let (broker, topic) = (Arc::clone(&self.broker), topic.to_owned());
        aside(move || {
            let new = drain(Reader::connect(broker.port.number(), &topic));
            let mut read = broker.read.lock().unwrap_or_else(PoisonError::into_inner);
            let all = read.entry(topic).or_default();
            all.extend(new);
            all.clone()
        })
        .await
    }

    /// Makes the broker write everything that it keeps to its disk, and waits until it has.
    pub async fn save(&self) {
        self.change(Broker::save).await;
    }

    /// Makes the broker read its password and access files again.
    pub fn reload(&self) {
        self.broker.process.home().signal(Signal::HUP);
    }

    /// Freezes the broker: connections stay open and nothing answers.
    pub fn stop(&self) {
        self.require_own();
        self.broker.process.home().signal(Signal::STOP);
    }

    /// Ends [`stop`](Self::stop).
    pub fn continue_(&self) {
        self.require_own();
        self.broker.process.home().signal(Signal::CONT);
    }

    /// Kills the broker, as a crash does: what it has not saved is lost, acknowledged or not. It stays down until
    /// [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.change(|broker| broker.process.kill()).await;
    }

    /// Starts it again, on the same port and data, and waits until it serves; first shuts it down if it runs.
    pub async fn restart(&self) {
        self.change(|broker| {
            broker.process.stop(Signal::TERM);
            broker.start();
        })
        .await;
    }

    async fn change(&self, change: impl FnOnce(&Broker) + Send + 'static) {
        self.require_own();
        let broker = Arc::clone(&self.broker);
        aside(move || change(&broker)).await;
    }

    fn require_own(&self) {
        assert!(
            !self.shared,
            "other tests use the shared broker; a test that stops one starts its own"
        );
    }
}

impl Broker {
    fn prepare(settings: &str, listener: &str) -> Self {
        let home = Home::new("mosquitto", "TERM");
        fs::create_dir_all(home.data()).expect("create the broker's directory");
        let (port, client_port) = (Port::take(), Port::take());
        let anybody = if listener.contains("allow_anonymous") {
            ""
        } else {
            "allow_anonymous true\n"
        };
        let configuration = format!(
            "{CONFIGURATION}persistence_location {}/\n{settings}\
             listener {} 127.0.0.1\nallow_anonymous true\n\
             listener {} 127.0.0.1\n{anybody}{listener}",
            home.data().display(),
            port.number(),
            client_port.number(),
        );
        fs::write(home.path().join("mosquitto.conf"), configuration).expect("write mosquitto.conf");
        Self {
            process: Process::new(PACKAGE, home),
            port,
            client_port,
            read: Mutex::default(),
        }
    }

    fn start(&self) {
        let mut command = Command::new("mosquitto");
        // Debian has it where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
        command.arg("-c").arg(self.process.home().path().join("mosquitto.conf"));
        let port = self.port.number();
        self.process
            .start(command, |_| Reader::try_connect(port, "ready").is_ok());
    }

    fn save(&self) {
        let written = || {
            let file = fs::metadata(self.process.home().data().join("mosquitto.db"));
            file.and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let before = written();
        self.process.home().signal(Signal::USR1);
        wait::until_blocking("Mosquitto saves what it keeps", || (written() != before).then_some(()));
    }
}

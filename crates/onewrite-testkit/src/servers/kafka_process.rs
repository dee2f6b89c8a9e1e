//! Starting one Apache Kafka broker.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache;
use super::home::Home;
use super::port::Port;
use super::process::Process;

/// Broker and controller in one process, and no second copy of anything. Records are kept whatever their timestamps say.
/// A killed broker may come back only when its session has ended, so that is short.
const CONFIGURATION: &str = "
process.roles=broker,controller
node.id=1
listener.security.protocol.map=BROKER:PLAINTEXT,CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.retention.ms=-1
";

/// Everything to standard output, without the list of all settings.
const LOGGING: &str = "
rootLogger.level=INFO
rootLogger.appenderRef.stdout.ref=stdout
logger.settings.name=org.apache.kafka.common.config
logger.settings.level=WARN
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d %p %m (%c)%n
";

/// A change of what the template holds needs another number here.
const TEMPLATE_EDITION: u32 = 1;

/// A broker's files, its ports, and the process while it runs.
pub struct Broker {
    libraries: PathBuf,
    process: Process,
    broker: Port,
    client: Port,
    _controller: Port,
}

impl Broker {
    /// Prepares an empty broker with further settings of the test's own. `told`: the port that clients of the listener
    /// `CLIENT` are told to connect to, where that is not its own.
    pub fn prepare(settings: &[(String, String)], told: Option<u16>) -> Self {
        let version = cache::version("kafka");
        let package = format!("Apache Kafka {version}, Maven package org.apache.kafka:kafka_2.13");
        let libraries = cache::server(&format!("kafka-{version}"), &package);
        let template = cache::template(&format!("kafka-{version}-{TEMPLATE_EDITION}"), |directory| {
            format_storage(&libraries, directory);
        });
        let home = Home::new("kafka", "KILL");
        let (broker, client, controller) = (Port::take(), Port::take(), Port::take());
        let log_directory = home.data().join("log");
        fs::create_dir_all(&log_directory).expect("create the broker's directory");
        for name in ["meta.properties", "bootstrap.checkpoint"] {
            fs::copy(template.join("log").join(name), log_directory.join(name)).expect("copy the formatted storage");
        }
        let (own, clients, control) = (broker.number(), client.number(), controller.number());
        let mut configuration = format!(
            "{CONFIGURATION}log.dirs={}\ncontroller.quorum.voters=1@127.0.0.1:{control}\n\
             listeners=BROKER://127.0.0.1:{own},CLIENT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{control}\n",
            log_directory.display()
        );
        let told = told.unwrap_or(clients);
        configuration.push_str(&format!(
            "advertised.listeners=BROKER://127.0.0.1:{own},CLIENT://127.0.0.1:{told}\n"
        ));
        for (name, value) in settings {
            configuration.push_str(&format!("{name}={}\n", escaped(value)));
        }
        fs::write(home.path().join("server.properties"), configuration).expect("write server.properties");
        fs::write(home.path().join("log4j2.properties"), LOGGING).expect("write log4j2.properties");
        Self {
            libraries,
            process: Process::new("Kafka", home),
            broker,
            client,
            _controller: controller,
        }
    }

    /// Starts the broker and waits until it serves.
    pub fn start(&self) {
        let home = self.process.home();
        let mut command = self.java("kafka.Kafka");
        command.arg(home.path().join("server.properties"));
        let log = home.log();
        let before = fs::metadata(&log).map_or(0, |data| data.len());
        self.process.start(command, |_| {
            written_since(&log, before).contains("Kafka Server started")
        });
    }

    /// Runs a class of Kafka's own tools with these arguments, and returns what it printed.
    pub fn tool(&self, class: &str, arguments: &[String]) -> String {
        let mut command = self.java(class);
        run(command.args(arguments))
    }

    /// Where its jars are.
    pub fn libraries(&self) -> &Path {
        &self.libraries
    }

    /// The process and its home.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The listener of the fixture itself.
    pub fn broker_port(&self) -> u16 {
        self.broker.number()
    }

    /// The listener whose protocol a test may choose.
    pub fn client_port(&self) -> u16 {
        self.client.number()
    }

    fn java(&self, class: &str) -> Command {
        java(
            &self.libraries,
            &self.process.home().path().join("log4j2.properties"),
            class,
        )
    }
}

fn java(libraries: &Path, logging: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg("-Xmx512m")
        .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
        .arg("-cp")
        .arg(libraries.join("*"))
        .arg(class);
    command
}

/// Writes a cluster's identity and its first metadata, as `kafka-storage.sh format` does.
fn format_storage(libraries: &Path, directory: &Path) {
    let properties = directory.join("server.properties");
    let configuration = format!(
        "{CONFIGURATION}log.dirs={}\ncontroller.quorum.voters=1@127.0.0.1:9093\n\
         listeners=BROKER://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n",
        directory.join("log").display()
    );
    fs::write(&properties, configuration).expect("write server.properties");
    let logging = directory.join("log4j2.properties");
    fs::write(&logging, LOGGING).expect("write log4j2.properties");
    let mut command = java(libraries, &logging, "kafka.tools.StorageTool");
    command
        .args(["format", "-t", "b25ld3JpdGUtdGVzdGtpdA", "-c"])
        .arg(&properties);
    run(&mut command);
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "{command:?}: {error}. Kafka needs Java 17, Debian's package openjdk-17-jre-headless; `./x up` installs it"
        )
    });
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {printed}{complaint}");
    printed
}

/// A value of a properties file: a certificate has many lines.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n")
}

fn written_since(log: &Path, before: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(before))?;
        file.read_to_end(&mut bytes)
    });
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

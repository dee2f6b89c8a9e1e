//! Kafka Connect in standalone mode.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use onewrite_testkit::servers::Kafka;
use onewrite_testkit::wait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A running worker; it ends with this value.
pub struct Connect {
    port: u16,
    _child: Child,
    _home: TempDir,
}

impl Connect {
    /// Starts it with these connectors, each given by its options, and waits until it answers.
    pub async fn start(debezium: &Path, kafka: &Kafka, connectors: Vec<Vec<(String, String)>>) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port").port();
        let worker = format!(
            "bootstrap.servers={}\nlisteners=http://127.0.0.1:{port}\noffset.storage.file.filename={}\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\nplugin.discovery=only_scan\n",
            kafka.bootstrap(),
            home.path().join("offsets").display(),
        );
        let properties = home.path().join("worker.properties");
        fs::write(&properties, worker).expect("write the worker's options");
        let logging = home.path().join("log4j2.properties");
        fs::write(&logging, LOGGING).expect("write the logging options");
        let class_path = format!("{}/*:{}/*", kafka.libraries().display(), debezium.display());
        let log = fs::File::create("target/record-debezium.log").expect("the log");
        let mut command = Command::new("java");
        command
            .arg("-Xmx2g")
            .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .args(
                [
                    "java.global-autoconfigure.enabled=true",
                    "traces.exporter=none",
                    "metrics.exporter=none",
                    "logs.exporter=none",
                ]
                .map(|option| format!("-Dotel.{option}")),
            )
            .args(["-cp", &class_path, "org.apache.kafka.connect.cli.ConnectStandalone"])
            .arg(&properties);
        for (number, options) in connectors.iter().enumerate() {
            let lines = options.iter().map(|(name, text)| format!("{name}={}\n", escaped(text)));
            let file = home.path().join(format!("connector-{number}.properties"));
            fs::write(&file, lines.collect::<String>()).expect("write a connector's options");
            command.arg(file);
        }
        let log_copy = log.try_clone().expect("the log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log_copy)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("java");
        let connect = Self {
            port,
            _child: child,
            _home: home,
        };
        wait::until("Kafka Connect answers", async || connect.get("/").await.map(|_| ())).await;
        connect
    }

    /// Why a connector's task failed, if it did: the last cause that it names.
    pub async fn failure(&self, connector: &str) -> Option<String> {
        let status = self.get(&format!("/connectors/{connector}/status")).await?;
        let task = status["tasks"].get(0).filter(|task| task["state"] == "FAILED");
        let trace = task.unwrap_or(&status["connector"])["trace"].as_str()?;
        let cause = trace.lines().rfind(|line| line.starts_with("Caused by:"));
        Some(cause.or(trace.lines().next()).unwrap_or_default().to_owned())
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

/// A backslash and the end of a line mean something in a properties file.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

const LOGGING: &str = "\
rootLogger.level=INFO
rootLogger.appenderRef.stdout.ref=STDOUT
appender.stdout.type=Console
appender.stdout.name=STDOUT
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d %p %c{1} %m%n
";

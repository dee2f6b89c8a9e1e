//! ActiveMQ Artemis.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::aside::aside;
use super::home::Home;
use super::java_broker::{JavaBroker, LOG4J, java};
use super::port::Port;
use super::{amqp_reader, cache};
use crate::conformance::sink::Arrived;

/// The user that every broker has, with all permissions.
const USER: &str = "relay";
const PASSWORD: &str = "relay-secret";

/// What a test wants of its broker beyond the usual.
#[derive(Clone, Debug, Default)]
pub struct ArtemisSettings {
    /// Further `address-setting` elements of `broker.xml`. What they do not say holds as for every address: queues and
    /// addresses are created on demand and never deleted.
    pub address_settings: String,
    /// Further `security-setting` elements.
    pub security_settings: String,
    /// Further users: name, password, role. The role `all` may do everything.
    pub users: Vec<(String, String, String)>,
    /// Further settings of the acceptor, such as `;amqpCredits=10`.
    pub acceptor: String,
    /// A PEM file of certificate and key; with it there is a second acceptor, which speaks TLS.
    pub tls: Option<PathBuf>,
}

/// Room for what the broker keeps in memory before it writes queues out to pages (`global-max-size`), which takes about twice
/// its bytes: with half of 256 MB, which it takes by itself, a queue of 180,000 messages leaves it collecting garbage.
const HEAP: &str = "-Xmx1g";

/// A broker of the test's own, with data on disk that is synchronised before it acknowledges. Clones are the same broker; it
/// ends with the last.
#[derive(Clone)]
pub struct Artemis {
    broker: JavaBroker,
    ports: std::sync::Arc<(Port, Port)>,
    libraries: PathBuf,
}

impl Artemis {
    /// Starts a broker.
    pub async fn start(settings: &ArtemisSettings) -> Self {
        let version = cache::version("artemis");
        let package = format!("ActiveMQ Artemis {version}, Maven package org.apache.activemq:apache-artemis");
        let libraries = cache::server(&format!("artemis-{version}"), &package);
        let ports = (Port::take(), Port::take());
        let home = Home::new("artemis", "KILL");
        write_files(home.path(), &ports, settings);
        let jars = libraries.clone();
        let start = move |home: &Home| {
            let etc = home.path().join("etc");
            let mut command = java(&jars, HEAP);
            command
                .arg(format!(
                    "-Dlog4j2.configurationFile={}",
                    etc.join("log4j2.properties").display()
                ))
                .arg(format!(
                    "-Djava.security.auth.login.config={}",
                    etc.join("login.config").display()
                ))
                .arg(format!("-Dartemis.instance={}", home.path().display()))
                .args(["org.apache.activemq.artemis.cli.Artemis", "run"])
                .arg(format!("xml:{}", etc.join("bootstrap.xml").display()));
            command
        };
        Self {
            broker: JavaBroker::start("Artemis", home, "AMQ221007", start).await,
            ports: std::sync::Arc::new(ports),
            libraries,
        }
    }

    /// The one broker that all tests of a process share, each with addresses of its own names. Nobody stops it.
    pub async fn shared() -> Self {
        static BROKER: OnceCell<Artemis> = OnceCell::const_new();
        BROKER
            .get_or_init(async || Self::start(&ArtemisSettings::default()).await)
            .await
            .clone()
    }

    /// Where clients connect to: `amqp://127.0.0.1:PORT`, the same after every restart. The user `relay` with the password
    /// `relay-secret` may do everything.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port())
    }

    /// The same for TLS.
    pub fn tls_url(&self) -> String {
        format!("amqps://localhost:{}", self.ports.1.number())
    }

    /// The port of [`url`](Self::url).
    pub fn port(&self) -> u16 {
        self.ports.0.number()
    }

    /// Everything in the queue of this name, in its order, and it stays there.
    pub async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        let (port, queue) = (self.port(), queue.to_owned());
        aside(move || amqp_reader::read_all(port, USER, PASSWORD, &queue)).await
    }

    /// Runs a command of Artemis' own tool, such as `queue delete --name orders`, and returns what it printed.
    pub async fn tool(&self, arguments: &[&str]) -> String {
        let mut command = java(&self.libraries, "-Xmx128m");
        command
            .arg("org.apache.activemq.artemis.cli.Artemis")
            .args(arguments)
            .args(["--silent", "--user", USER, "--password", PASSWORD, "--url"])
            .arg(format!("tcp://127.0.0.1:{}", self.port()));
        aside(move || {
            let output = command.output().expect("run Artemis' tool");
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed).into_owned();
            assert!(output.status.success(), "{command:?}: {printed}");
            printed
        })
        .await
    }

    /// Gives a running broker other settings. It reads them again within a second, as it does in production: a test waits for
    /// what it wants to see. Acceptors stay as they are.
    pub fn change(&self, settings: &ArtemisSettings) {
        write_files(self.broker.home(), &self.ports, settings);
    }

    /// Kills the broker, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.broker.kill9().await;
    }

    /// Starts it again on its port and data; first shuts it down if it runs.
    pub async fn restart(&self) {
        self.broker.restart().await;
    }
}

/// How often the broker looks at its files.
const REFRESH: Duration = Duration::from_millis(200);

fn write_files(home: &Path, (port, tls_port): &(Port, Port), settings: &ArtemisSettings) {
    let etc = home.join("etc");
    fs::create_dir_all(&etc).expect("create the configuration's directory");
    fs::create_dir_all(home.join("data")).expect("create the data directory");
    let write = |name: &str, text: &str| {
        // Renamed into its place: the broker reads at any time.
        let partial = etc.join(format!(".{name}"));
        fs::write(&partial, text).expect("write a configuration");
        fs::rename(partial, etc.join(name)).expect("put a configuration in its place");
    };
    let mut users = format!("{USER}={PASSWORD}\n");
    let mut roles = format!("all={USER}");
    let mut others = String::new();
    for (user, password, role) in &settings.users {
        users.push_str(&format!("{user}={password}\n"));
        match role.as_str() {
            "all" => roles.push_str(&format!(",{user}")),
            role => others.push_str(&format!("\n{role}={user}")),
        }
    }
    write("artemis-users.properties", &users);
    write("artemis-roles.properties", &format!("{roles}{others}\n"));
    write("log4j2.properties", LOG4J);
    write(
        "management.xml",
        "<management-context xmlns=\"http://activemq.apache.org/schema\"/>",
    );
    write("login.config", LOGIN);
    let broker = etc.join("broker.xml");
    let bootstrap = format!(
        "<broker xmlns=\"http://activemq.apache.org/schema\"><jaas-security domain=\"activemq\"/>\
         <server configuration=\"file:{}\"/></broker>",
        broker.display()
    );
    write("bootstrap.xml", &bootstrap);
    write("broker.xml", &broker_xml(port.number(), tls_port.number(), settings));
}

const LOGIN: &str = "
activemq {
   org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule required
       reload=true
       org.apache.activemq.jaas.properties.user=\"artemis-users.properties\"
       org.apache.activemq.jaas.properties.role=\"artemis-roles.properties\";
};
";

/// A browser must not use up a message's attempts, and a full disk of the machine is no matter of the tests.
fn broker_xml(port: u16, tls_port: u16, settings: &ArtemisSettings) -> String {
    let permissions: String = [
        "createNonDurableQueue",
        "deleteNonDurableQueue",
        "createDurableQueue",
        "deleteDurableQueue",
        "createAddress",
        "deleteAddress",
        "consume",
        "browse",
        "send",
        "manage",
    ]
    .map(|permission| format!("<permission type=\"{permission}\" roles=\"all\"/>"))
    .concat();
    let common = format!("protocols=AMQP,CORE{}", settings.acceptor);
    let tls = settings.tls.as_ref().map_or_else(String::new, |pem| {
        format!(
            "<acceptor name=\"tls\">tcp://127.0.0.1:{tls_port}?sslEnabled=true;keyStoreType=PEM;keyStorePath={};{common}</acceptor>",
            pem.display()
        )
    });
    format!(
        "<configuration xmlns=\"urn:activemq\"><core xmlns=\"urn:activemq:core\">
<name>onewrite</name>
<persistence-enabled>true</persistence-enabled>
<journal-type>NIO</journal-type>
<paging-directory>paging</paging-directory>
<bindings-directory>bindings</bindings-directory>
<journal-directory>journal</journal-directory>
<large-messages-directory>large-messages</large-messages-directory>
<journal-datasync>true</journal-datasync>
<journal-min-files>2</journal-min-files>
<journal-pool-files>4</journal-pool-files>
<journal-file-size>10M</journal-file-size>
<journal-buffer-timeout>0</journal-buffer-timeout>
<configuration-file-refresh-period>{}</configuration-file-refresh-period>
<security-invalidation-interval>0</security-invalidation-interval>
<max-disk-usage>100</max-disk-usage>
<global-max-size>200M</global-max-size>
<acceptors>
<acceptor name=\"plain\">tcp://127.0.0.1:{port}?{common}</acceptor>
{tls}
</acceptors>
<security-settings>
<security-setting match=\"#\">{permissions}</security-setting>
{}
</security-settings>
<address-settings>
<address-setting match=\"#\">
<auto-delete-queues>false</auto-delete-queues>
<auto-delete-addresses>false</auto-delete-addresses>
<max-delivery-attempts>-1</max-delivery-attempts>
</address-setting>
{}
</address-settings>
</core></configuration>
",
        REFRESH.as_millis(),
        settings.security_settings,
        settings.address_settings
    )
}

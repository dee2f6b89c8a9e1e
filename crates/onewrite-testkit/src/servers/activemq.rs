//! ActiveMQ Classic.

use std::fs;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::aside::aside;
use super::home::Home;
use super::java_broker::{JavaBroker, LOG4J, java};
use super::port::Port;
use super::{amqp_reader, cache};
use crate::conformance::sink::Arrived;

const USER: &str = "relay";
const PASSWORD: &str = "relay-secret";

/// A broker of the test's own, with a KahaDB store that is synchronised before it acknowledges. Clones are the same broker;
/// it ends with the last.
#[derive(Clone)]
pub struct ActiveMq {
    broker: JavaBroker,
    port: Arc<Port>,
}

impl ActiveMq {
    /// Starts a broker, with further `policyEntry` elements for its destinations.
    pub async fn start(policies: &str) -> Self {
        let version = cache::version("activemq");
        let package = format!("ActiveMQ Classic {version}, Maven package org.apache.activemq:apache-activemq");
        let libraries = cache::server(&format!("activemq-{version}"), &package);
        let port = Port::take();
        let home = Home::new("activemq", "KILL");
        fs::create_dir_all(home.data()).expect("create the data directory");
        fs::write(home.path().join("log4j2.properties"), LOG4J).expect("write a configuration");
        fs::write(home.path().join("activemq.xml"), configuration(port.number(), policies))
            .expect("write a configuration");
        let start = move |home: &Home| {
            let file = |name| home.path().join(name).display().to_string();
            let mut command = java(&libraries, "-Xmx384m");
            command
                .arg(format!("-Dlog4j2.configurationFile={}", file("log4j2.properties")))
                .arg(format!("-Dactivemq.home={}", home.path().display()))
                .arg(format!("-Dactivemq.base={}", home.path().display()))
                .args(["org.apache.activemq.console.command.ShellCommand", "start"])
                .arg(format!("xbean:file:{}", file("activemq.xml")));
            command
        };
        Self {
            broker: JavaBroker::start("ActiveMQ", home, ") started (", start).await,
            port: Arc::new(port),
        }
    }

    /// The one broker that all tests of a process share, each with queues of its own names. Nobody stops it.
    pub async fn shared() -> Self {
        static BROKER: OnceCell<ActiveMq> = OnceCell::const_new();
        BROKER.get_or_init(async || Self::start("").await).await.clone()
    }

    /// Where clients connect to: `amqp://127.0.0.1:PORT`, the same after every restart. The user `relay` with the password
    /// `relay-secret` may do everything.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port())
    }

    /// The port of [`url`](Self::url).
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Everything in the queue of this name, in its order, and it stays there.
    pub async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        let (port, queue) = (self.port(), queue.to_owned());
        aside(move || amqp_reader::read_all(port, USER, PASSWORD, &queue)).await
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

/// A browser sees as many messages as there are. Queues whose names have more than one part, such as `forbidden.orders`, are
/// granted to nobody: Classic adds up the permissions of all entries that match, so an exception cannot be made.
fn configuration(port: u16, policies: &str) -> String {
    format!(
        "<beans xmlns=\"http://www.springframework.org/schema/beans\"
 xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"
 xsi:schemaLocation=\"http://www.springframework.org/schema/beans
 http://www.springframework.org/schema/beans/spring-beans.xsd http://activemq.apache.org/schema/core
 http://activemq.apache.org/schema/core/activemq-core.xsd\">
<broker xmlns=\"http://activemq.apache.org/schema/core\" brokerName=\"onewrite\" dataDirectory=\".\" useJmx=\"false\"
 schedulerSupport=\"false\">
<destinationPolicy><policyMap><policyEntries>
{policies}
<policyEntry queue=\">\" maxBrowsePageSize=\"1000000\"/>
</policyEntries></policyMap></destinationPolicy>
<plugins>
<simpleAuthenticationPlugin><users>
<authenticationUser username=\"{USER}\" password=\"{PASSWORD}\" groups=\"all\"/>
</users></simpleAuthenticationPlugin>
<authorizationPlugin><map><authorizationMap><authorizationEntries>
<authorizationEntry queue=\"*\" read=\"all\" write=\"all\" admin=\"all\"/>
<authorizationEntry topic=\">\" read=\"all\" write=\"all\" admin=\"all\"/>
<authorizationEntry topic=\"ActiveMQ.Advisory.>\" read=\"all\" write=\"all\" admin=\"all\"/>
</authorizationEntries></authorizationMap></map></authorizationPlugin>
</plugins>
<persistenceAdapter><kahaDB directory=\"kahadb\" journalMaxFileLength=\"8mb\"/></persistenceAdapter>
<systemUsage><systemUsage>
<memoryUsage><memoryUsage limit=\"250mb\"/></memoryUsage>
<storeUsage><storeUsage limit=\"2 gb\"/></storeUsage>
<tempUsage><tempUsage limit=\"1 gb\"/></tempUsage>
</systemUsage></systemUsage>
<transportConnectors>
<transportConnector name=\"amqp\" uri=\"amqp://127.0.0.1:{port}\"/>
</transportConnectors>
</broker></beans>
"
    )
}

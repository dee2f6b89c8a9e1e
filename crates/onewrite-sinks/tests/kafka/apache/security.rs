//! TLS, logins and permissions of a real cluster.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use onewrite_core::Outcome;
use onewrite_testkit::servers::Kafka;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::log;
use crate::kafka::driver::{Driver, check};
use crate::kafka::{connector, to};
use crate::support::{deliver, event, events, words};

/// An authority, and what it signed for server and client, as files and texts.
struct Keys {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Keys {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            authority,
        }
    }

    fn signed(&self, names: &[&str]) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut parameters = CertificateParams::new(names).unwrap();
        // A name of its own: the default is the authority's too, which looks as if it had signed itself.
        parameters.distinguished_name.push(DnType::CommonName, "signed");
        (parameters.signed_by(&key, &self.authority).unwrap(), key)
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

async fn refusal(brokers: &str, texts: &[(&str, &str)]) -> String {
    let error = connector(brokers, texts).connect().await.err().expect("no connection");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_on_both_sides() {
    let keys = Keys::new();
    let (server, server_key) = keys.signed(&["127.0.0.1", "localhost"]);
    let authority = keys.authority.pem();
    let kafka = Kafka::start(&[
        (
            "listener.security.protocol.map",
            "BROKER:PLAINTEXT,CLIENT:SSL,CONTROLLER:PLAINTEXT",
        ),
        ("listener.name.client.ssl.keystore.type", "PEM"),
        ("listener.name.client.ssl.keystore.certificate.chain", &server.pem()),
        ("listener.name.client.ssl.keystore.key", &server_key.serialize_pem()),
        ("listener.name.client.ssl.truststore.type", "PEM"),
        ("listener.name.client.ssl.truststore.certificates", &authority),
        ("listener.name.client.ssl.client.auth", "required"),
    ])
    .await;
    kafka.create_topic("shop.orders", 1, &[]).await;
    let brokers = kafka.client_bootstrap();
    let ca_file = keys.file("ca.pem", &authority);
    let (client, client_key) = keys.signed(&["relay"]);
    let certificate_file = keys.file("client.pem", &client.pem());
    let key_file = keys.file("client.key", &client_key.serialize_pem());
    let identity = [
        ("tls", "true"),
        ("certificate_file", certificate_file.as_str()),
        ("key_file", key_file.as_str()),
    ];

    let trusting = [&identity[..], &[("ca_file", ca_file.as_str())]].concat();
    let sink = connector(&brokers, &trusting).connect().await.unwrap();
    assert!(deliver(&*sink, &[event(1, Some("a"))]).await.0.is_ok());
    sink.close().await.unwrap();

    let told = refusal(&brokers, &identity).await;
    assert!(
        told.contains("certificate verify failed") && told.contains("with ca_file"),
        "{told}"
    );
    let told = refusal(&brokers, &[("tls", "true"), ("ca_file", &ca_file)]).await;
    assert!(told.contains("certificate"), "{told}");
    let told = refusal(&brokers, &[]).await;
    assert!(told.contains("check tls and sasl_mechanism"), "{told}");
}

/// A broker that wants a login, and lets users do only what they are granted.
async fn guarded() -> Kafka {
    let kafka = Kafka::start(&[
        (
            "listener.security.protocol.map",
            "BROKER:PLAINTEXT,CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
        (
            "listener.name.client.sasl.enabled.mechanisms",
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        ),
        (
            "listener.name.client.plain.sasl.jaas.config",
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_relay=\"right\";",
        ),
        (
            "listener.name.client.scram-sha-256.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        ),
        (
            "listener.name.client.scram-sha-512.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        ),
        (
            "listener.name.client.oauthbearer.sasl.jaas.config",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"broker\";",
        ),
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("super.users", "User:ANONYMOUS"),
    ])
    .await;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let secret = format!("{mechanism}=[password=right]");
        let arguments = [
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "relay",
            "--add-config",
            &secret,
        ];
        kafka.tool("kafka.admin.ConfigCommand", &arguments).await;
    }
    kafka
}

async fn grant(kafka: &Kafka, operation: &str, topic: &str) {
    let arguments = [
        "--add",
        "--allow-principal",
        "User:relay",
        "--operation",
        operation,
        "--topic",
        topic,
    ];
    kafka.tool("org.apache.kafka.tools.AclCommand", &arguments).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_checked_and_what_is_not_granted_is_parked() {
    let kafka = guarded().await;
    let brokers = kafka.client_bootstrap();
    kafka.create_topic("shop.orders", 1, &[]).await;
    kafka.create_topic("shop.secret", 1, &[]).await;
    kafka.create_topic("shop.visible", 1, &[]).await;
    grant(&kafka, "Write", "shop.orders").await;
    grant(&kafka, "Describe", "shop.visible").await;

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let login = |password| {
            [
                ("sasl_mechanism", mechanism),
                ("username", "relay"),
                ("password", password),
            ]
        };
        let told = refusal(&brokers, &login("hunter2")).await;
        assert!(
            told.contains("Authentication failed") && told.contains("username, password"),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
        let sink = connector(&brokers, &login("right")).connect().await.unwrap();
        let (result, outcomes) = deliver(&*sink, &[event(1, Some("a"))]).await;
        assert!(result.is_ok(), "{mechanism}: {result:?}");
        assert_eq!(words(&outcomes), ["delivered"]);
        sink.close().await.unwrap();
    }

    let login = [
        ("sasl_mechanism", "PLAIN"),
        ("username", "relay"),
        ("password", "right"),
    ];
    let connector = connector(&brokers, &login);
    for (topic, told) in [
        ("shop.secret", "grant this client Describe and Write"),
        ("shop.visible", "grant this client Write"),
    ] {
        let sink = connector.connect().await.unwrap();
        let batch = [to(topic, event(2, Some("a"))), event(3, Some("a")), event(4, Some("b"))];
        let (_, outcomes) = deliver(&*sink, &batch).await;
        assert_eq!(words(&outcomes)[..2], ["park", "unknown"], "{topic}");
        let Outcome::Failed(error) = &outcomes[0] else { panic!() };
        assert!(error.to_string().contains("Topic authorization failed"), "{error}");
        assert!(error.to_string().contains(told), "{error}");
        sink.close().await.unwrap();
    }
    token_files(&kafka, &brokers).await;
    limits_that_are_not_told(&kafka, &connector).await;
}

/// A token without a signature, which the broker's own validator for tests takes.
async fn token_files(kafka: &Kafka, brokers: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let write = |expiry: i64| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = format!("{{\"sub\":\"relay\",\"iat\":1700000000,\"exp\":{expiry}}}");
        std::fs::write(&path, format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims))).unwrap();
    };
    let texts = [
        ("sasl_mechanism", "OAUTHBEARER"),
        ("token_file", path.to_str().unwrap()),
    ];
    write(1_700_000_001);
    let told = refusal(brokers, &texts).await;
    assert!(
        told.contains("the token ended") && told.contains("token_file"),
        "{told}"
    );
    write(4_102_444_800);
    let sink = connector(brokers, &texts).connect().await.unwrap();
    let before = kafka.count("shop.orders").await;
    let (result, _) = deliver(&*sink, &[event(5, Some("a"))]).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(kafka.count("shop.orders").await, before + 1);
    sink.close().await.unwrap();
}

/// Without the right to read the topic's settings, its limit is found by what it refuses.
async fn limits_that_are_not_told(kafka: &Kafka, connector: &std::sync::Arc<dyn onewrite_core::SinkConnector>) {
    kafka
        .create_topic("shop.little", 1, &[("max.message.bytes", "4000")])
        .await;
    grant(kafka, "Write", "shop.little").await;
    let mut batch: Vec<_> = events(300, &["a", "b", "c", "d"])
        .into_iter()
        .map(|event| to("shop.little", event))
        .collect();
    let mut random = fastrand::Rng::with_seed(1);
    batch[150].payload = (0..6_000).map(|_| random.u8(..)).collect::<Vec<u8>>().into();
    let mut driver = Driver::new(connector.clone(), &batch, 3);
    driver.run().await;
    let parked: Vec<_> = driver.parked.iter().map(|(id, _)| *id).collect();
    assert_eq!(parked, [batch[150].id], "{:?}", driver.parked);
    check(&batch, &log(kafka, "shop.little").await, &driver.parked);
}

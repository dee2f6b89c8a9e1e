//! Mosquitto by MQTT 5 with QoS 1, by rumqttc. Nobody subscribes, so the figure is that of publishing alone.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use onewrite_testkit::servers::Mosquitto;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

use super::{WINDOW, headers};
use crate::workload::Workload;

pub struct Subject(Mosquitto);

impl Subject {
    /// A broker that lets as many messages be under way as the library wants.
    pub async fn start() -> Self {
        Self(Mosquitto::start(&[("max_inflight_messages", &WINDOW.to_string())], &[]).await)
    }
}

#[async_trait(?Send)]
impl super::Subject for Subject {
    fn sink(&self) -> String {
        format!(
            "type = \"mqtt\"\nurls = [{:?}]\nrequire_subscribers = false",
            self.0.url()
        )
    }

    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64> {
        let mut options = MqttOptions::new("alone", "127.0.0.1", self.0.port());
        options.set_outgoing_inflight_upper_limit(u16::try_from(WINDOW)?);
        let (client, mut events_of_client) = AsyncClient::new(options, WINDOW);
        let began = Instant::now();
        let publishing = tokio::spawn(async move {
            for number in 0..events {
                let properties = PublishProperties {
                    user_properties: headers(number).map(|(name, value)| (name.to_owned(), value)).to_vec(),
                    ..PublishProperties::default()
                };
                let payload = workload.payload(number).clone();
                client
                    .publish_with_properties("alone", QoS::AtLeastOnce, false, payload, properties)
                    .await?;
            }
            // The client is kept until everything is acknowledged.
            anyhow::Ok(client)
        });
        let mut acknowledged = 0;
        while acknowledged < events {
            if let Event::Incoming(Packet::PubAck(_)) = events_of_client.poll().await? {
                acknowledged += 1;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let client = publishing.await??;
        ensure!(acknowledged == events, "{acknowledged} of {events} were acknowledged");
        client.disconnect().await?;
        Ok(seconds)
    }
}

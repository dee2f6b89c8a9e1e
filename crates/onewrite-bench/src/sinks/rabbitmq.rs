//! RabbitMQ, by lapin.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use onewrite_testkit::servers::RabbitMq;

use super::{WINDOW, headers};
use crate::workload::{TOPIC, Workload};

pub struct Subject(RabbitMq);

impl Subject {
    /// A node with two quorum queues, one for the relay and one for the library.
    pub async fn start() -> Self {
        let server = RabbitMq::start(&[]).await;
        for queue in [TOPIC, ALONE] {
            server.create_queue(queue, "quorum").await;
        }
        Self(server)
    }
}

const ALONE: &str = "alone";

#[async_trait(?Send)]
impl super::Subject for Subject {
    fn sink(&self) -> String {
        let url = self.0.url();
        format!("type = \"rabbitmq\"\nurls = [{url:?}]\nuser = \"guest\"\npassword = \"guest\"")
    }

    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64> {
        let connection = Connection::connect(&format!("{}/%2f", self.0.url()), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let began = Instant::now();
        let mut under_way = FuturesUnordered::new();
        for number in 0..events {
            if under_way.len() >= WINDOW {
                confirmed(under_way.next().await)?;
            }
            let mut table = FieldTable::default();
            for (name, value) in headers(number) {
                table.insert(name.into(), AMQPValue::LongString(value.into()));
            }
            let properties = BasicProperties::default().with_delivery_mode(2).with_headers(table);
            let payload = workload.payload(number);
            let confirm = channel.basic_publish("".into(), ALONE.into(), options, payload, properties);
            under_way.push(confirm.await?);
        }
        while let Some(confirm) = under_way.next().await {
            confirmed(Some(confirm))?;
        }
        let seconds = began.elapsed().as_secs_f64();
        connection.close(200, "done".into()).await?;
        Ok(seconds)
    }
}

fn confirmed(confirm: Option<lapin::Result<Confirmation>>) -> Result<()> {
    if let Some(confirm) = confirm {
        let confirm = confirm?;
        ensure!(
            matches!(confirm, Confirmation::Ack(None)),
            "the broker said {confirm:?}"
        );
    }
    Ok(())
}

//! ActiveMQ Artemis by AMQP 1.0, by fe2o3-amqp.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use async_trait::async_trait;
use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::messaging::{ApplicationProperties, Data, Header, Message, Outcome, Target};
use fe2o3_amqp::types::primitives::{Binary, SimpleValue};
use fe2o3_amqp::{Connection, Sender, Session};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use onewrite_testkit::servers::{Artemis, ArtemisSettings};

use super::{WINDOW, headers};
use crate::workload::Workload;

pub struct Subject(Artemis);

impl Subject {
    pub async fn start() -> Self {
        Self(Artemis::start(&ArtemisSettings::default()).await)
    }
}

#[async_trait(?Send)]
impl super::Subject for Subject {
    fn sink(&self) -> String {
        let url = self.0.url();
        format!("type = \"amqp1\"\nurls = [{url:?}]\nuser = \"relay\"\npassword = \"relay-secret\"")
    }

    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64> {
        let url = self.0.url().replace("amqp://", "amqp://relay:relay-secret@");
        let mut connection = Connection::open("alone", &*url).await?;
        let mut session = Session::begin(&mut connection).await?;
        let target = Target::builder()
            .address("alone")
            .capabilities(vec!["queue".into()])
            .build();
        let sender = Sender::builder()
            .name("alone")
            .source("alone")
            .target(target)
            .sender_settle_mode(SenderSettleMode::Unsettled);
        let mut sender = sender
            .attach(&mut session)
            .await
            .map_err(|error| anyhow!("{error:?}"))?;
        let began = Instant::now();
        let mut under_way = FuturesUnordered::new();
        for number in 0..events {
            if under_way.len() >= WINDOW
                && let Some(outcome) = under_way.next().await
            {
                accepted(outcome?)?;
            }
            let mut properties = ApplicationProperties::builder();
            for (name, value) in headers(number) {
                properties = properties.insert(name, SimpleValue::String(value));
            }
            let header = Header {
                durable: true,
                ..Header::default()
            };
            let message = Message::builder()
                .header(header)
                .application_properties(properties.build())
                .data(Data(Binary::from(workload.payload(number).to_vec())))
                .build();
            under_way.push(sender.send_batchable(message).await?);
        }
        while let Some(outcome) = under_way.next().await {
            accepted(outcome?)?;
        }
        let seconds = began.elapsed().as_secs_f64();
        sender.close().await?;
        session.end().await?;
        connection.close().await?;
        Ok(seconds)
    }
}

fn accepted(outcome: Outcome) -> Result<()> {
    ensure!(matches!(outcome, Outcome::Accepted(_)), "the broker said {outcome:?}");
    Ok(())
}

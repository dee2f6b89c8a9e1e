//! A broker that does what a script says: it ends links, and is slow to attach them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fe2o3_amqp::types::definitions::{AmqpError, Error, ErrorCondition, LinkError, Role};
use fe2o3_amqp::types::messaging::{Accepted, DeliveryState};
use fe2o3_amqp::types::performatives::{Attach, Begin, Close, Detach, Disposition, End, Flow, Open, Transfer};
use fe2o3_amqp::types::primitives::{Array, Symbol};
use fe2o3_amqp::types::sasl::{SaslCode, SaslMechanisms, SaslOutcome};
use onewrite_core::{Action, DeliveryReport, Event, SinkConnector};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{connector, event_for};
use crate::support::{deliver, settle, word, words};

/// A message that has come.
struct Message {
    link: u32,
    delivery: u32,
    /// Of its event.
    number: u128,
}

enum Act {
    Accept(u32),
    /// Accepts, and leaves it to the sink to settle.
    AcceptUnsettled(u32),
    /// Ends a link over what one of its messages is.
    End(u32),
    /// Ends a link over the size of one.
    EndOverSize(u32),
}

type Script = dyn Fn(&Message) -> Vec<Act> + Send + Sync;

struct Broker {
    url: String,
}

impl Broker {
    async fn start(attaching: Duration, script: impl Fn(&Message) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://{}", listener.local_addr().unwrap());
        let script: Arc<Script> = Arc::new(script);
        let attached = Arc::new(AtomicU32::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, attached) = (Arc::clone(&script), Arc::clone(&attached));
                // A connection that breaks is the sink's to notice.
                tokio::spawn(async move { Served::new(stream, attaching, attached).serve(&*script).await.ok() });
            }
        });
        Self { url }
    }
}

/// One connection with one session.
struct Served {
    stream: TcpStream,
    attaching: Duration,
    next_incoming: u32,
    /// The number of each link by its handle, which is used again when the link has ended.
    links: HashMap<u32, u32>,
    /// Of all connections.
    attached: Arc<AtomicU32>,
    /// Handles of links that the broker has ended, until the sink has done so, too.
    ended: HashSet<u32>,
}

impl Served {
    fn new(stream: TcpStream, attaching: Duration, attached: Arc<AtomicU32>) -> Self {
        Self {
            stream,
            attaching,
            next_incoming: 0,
            links: HashMap::new(),
            attached,
            ended: HashSet::new(),
        }
    }

    async fn serve(mut self, script: &Script) -> std::io::Result<()> {
        self.login().await?;
        loop {
            let body = self.frame().await?;
            // A described type: 0x00, a small number, and the performative's code.
            match body.get(2) {
                None => {}
                Some(0x10) => {
                    let open: Open = read(&body);
                    self.write(&Open {
                        idle_time_out: None,
                        max_frame_size: 2_000.into(),
                        container_id: "scripted".into(),
                        ..open
                    })
                    .await?;
                }
                Some(0x11) => {
                    let begin: Begin = read(&body);
                    self.next_incoming = begin.next_outgoing_id;
                    self.write(&Begin {
                        remote_channel: Some(0),
                        ..begin
                    })
                    .await?;
                }
                Some(0x12) => self.attach(read(&body)).await?,
                Some(0x14) => self.transfer(&body, script).await?,
                Some(0x16) => {
                    let detach: Detach = read(&body);
                    self.links.remove(&detach.handle.0);
                    if !self.ended.remove(&detach.handle.0) {
                        self.write(&detach).await?;
                    }
                }
                Some(0x17) => self.write(&End { error: None }).await?,
                Some(0x18) => return self.write(&Close { error: None }).await,
                Some(_) => {}
            }
        }
    }

    async fn login(&mut self) -> std::io::Result<()> {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header).await?;
        self.stream.write_all(b"AMQP\x03\x01\x00\x00").await?;
        let mechanisms = SaslMechanisms {
            sasl_server_mechanisms: Array(vec![Symbol::from("ANONYMOUS")]),
        };
        self.write_as(1, &mechanisms).await?;
        self.frame().await?;
        let outcome = SaslOutcome {
            code: SaslCode::Ok,
            additional_data: None,
        };
        self.write_as(1, &outcome).await?;
        self.stream.read_exact(&mut header).await?;
        self.stream.write_all(b"AMQP\x00\x01\x00\x00").await
    }

    async fn attach(&mut self, attach: Attach) -> std::io::Result<()> {
        tokio::time::sleep(self.attaching).await; // slow on purpose
        let number = self.attached.fetch_add(1, Ordering::Relaxed) + 1;
        self.links.insert(attach.handle.0, number);
        let flow = Flow {
            next_incoming_id: Some(self.next_incoming),
            incoming_window: 100_000,
            next_outgoing_id: 0,
            outgoing_window: 100_000,
            handle: Some(attach.handle.clone()),
            delivery_count: attach.initial_delivery_count,
            link_credit: Some(10_000),
            available: None,
            drain: false,
            echo: false,
            properties: None,
        };
        self.write(&Attach {
            role: Role::Receiver,
            initial_delivery_count: None,
            ..attach
        })
        .await?;
        self.write(&flow).await
    }

    async fn transfer(&mut self, body: &[u8], script: &Script) -> std::io::Result<()> {
        let transfer: Transfer = serde_amqp::from_reader(body).unwrap();
        self.next_incoming += 1;
        let Some(link) = self.links.get(&transfer.handle.0) else {
            // It was on its way when the link ended.
            return Ok(());
        };
        let Some(delivery) = transfer.delivery_id else {
            // The rest of a message of several frames.
            return Ok(());
        };
        let message = Message {
            link: *link,
            delivery,
            number: number(body),
        };
        for act in script(&message) {
            match act {
                Act::Accept(delivery) => self.accept(delivery, true).await?,
                Act::AcceptUnsettled(delivery) => self.accept(delivery, false).await?,
                Act::End(link) => self.end(link, AmqpError::PreconditionFailed.into()).await?,
                Act::EndOverSize(link) => self.end(link, LinkError::MessageSizeExceeded.into()).await?,
            }
        }
        Ok(())
    }

    async fn accept(&mut self, delivery: u32, settled: bool) -> std::io::Result<()> {
        self.write(&Disposition {
            role: Role::Receiver,
            first: delivery,
            last: None,
            settled,
            state: Some(DeliveryState::Accepted(Accepted {})),
            batchable: false,
        })
        .await
    }

    async fn end(&mut self, link: u32, condition: ErrorCondition) -> std::io::Result<()> {
        let attached = self.links.iter().find(|(_, number)| **number == link);
        let Some(handle) = attached.map(|(handle, _)| *handle) else {
            // The sink has ended it.
            return Ok(());
        };
        self.links.remove(&handle);
        self.ended.insert(handle);
        let error = Error::new(condition, Some("not this one".to_owned()), None);
        self.write(&Detach {
            handle: handle.into(),
            closed: true,
            error: Some(error),
        })
        .await
    }

    async fn frame(&mut self) -> std::io::Result<Vec<u8>> {
        let size = self.stream.read_u32().await? as usize;
        let mut frame = vec![0; size - 4];
        self.stream.read_exact(&mut frame).await?;
        let offset = usize::from(frame[0]) * 4 - 4;
        Ok(frame.split_off(offset))
    }

    async fn write(&mut self, performative: &impl Serialize) -> std::io::Result<()> {
        self.write_as(0, performative).await
    }

    async fn write_as(&mut self, kind: u8, performative: &impl Serialize) -> std::io::Result<()> {
        let body = serde_amqp::to_vec(performative).unwrap();
        let size = u32::try_from(body.len() + 8).unwrap();
        let frame = [&size.to_be_bytes()[..], &[2, kind, 0, 0], &body].concat();
        self.stream.write_all(&frame).await
    }
}

fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> T {
    serde_amqp::from_slice(body).unwrap()
}

/// The number of the event whose id the message has.
fn number(body: &[u8]) -> u128 {
    const START: &[u8] = b"00000000-0000-0000-0000-";
    let at = body.windows(START.len()).position(|window| window == START).unwrap() + START.len();
    u128::from_str_radix(std::str::from_utf8(&body[at..at + 12]).unwrap(), 16).unwrap()
}

/// Delivers until nothing is left, and connects anew where the sink asks for it, as core does. Returns what was parked.
async fn settle_anew(connector: &dyn SinkConnector, batch: &[Event], rounds: usize) -> Vec<Uuid> {
    let mut sink = connector.connect().await.unwrap();
    let (mut left, mut parked) = (batch.to_vec(), Vec::new());
    for _ in 0..rounds {
        let (result, outcomes) = deliver(&*sink, &left).await;
        let mut rest = Vec::new();
        for (event, outcome) in left.into_iter().zip(&outcomes) {
            match word(outcome) {
                "delivered" => {}
                "park" => parked.push(event.id),
                _ => rest.push(event),
            }
        }
        left = rest;
        if left.is_empty() {
            return parked;
        }
        if result.is_err_and(|error| error.action == Action::Reconnect) {
            sink = connector.connect().await.unwrap();
        }
    }
    panic!("{} of {} events are left", left.len(), batch.len());
}

fn batch(numbers: std::ops::RangeInclusive<u128>) -> Vec<Event> {
    numbers
        .map(|number| event_for("orders", number, Some(&number.to_string())))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_which_links_end_is_found_and_parked_alone() {
    let broker = Broker::start(Duration::ZERO, |message| match message.number {
        3 => vec![Act::End(message.link)],
        _ => vec![Act::Accept(message.delivery)],
    })
    .await;
    let parked = settle_anew(&*connector(&broker.url, &[]), &batch(1..=30), 8).await;
    assert_eq!(parked, [Uuid::from_u128(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_size_ends_links_before_the_whole_of_it_was_sent_is_found_and_parked_alone() {
    let broker = Broker::start(Duration::ZERO, |message| match message.number {
        3 => vec![Act::EndOverSize(message.link)],
        _ => vec![Act::Accept(message.delivery)],
    })
    .await;
    let mut batch = batch(1..=6);
    batch[2].payload = vec![b'x'; 1_000_000].into();
    let parked = settle_anew(&*connector(&broker.url, &[]), &batch, 8).await;
    assert_eq!(parked, [Uuid::from_u128(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_dropped_over_a_suspect_has_no_other_event_parked() {
    const GUILTY: u128 = 1;
    let (links, came) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let (guilty, told) = (Arc::clone(&links), Arc::clone(&came));
    // It ends the link over the guilty one at once, but the second time only when another has come.
    let broker = Broker::start(Duration::ZERO, move |message| {
        let mut guilty = guilty.lock().unwrap();
        if message.number == GUILTY {
            guilty.push(message.link);
            told.notify_one();
            return match guilty.len() {
                2 => Vec::new(),
                _ => vec![Act::End(message.link)],
            };
        }
        match guilty[..] {
            [] => Vec::new(),
            [_, link] if link == message.link => vec![Act::End(link)],
            [_, link] => vec![Act::End(link), Act::Accept(message.delivery)],
            _ => vec![Act::Accept(message.delivery)],
        }
    })
    .await;
    let connector = connector(&broker.url, &[]);
    let sink = connector.connect().await.unwrap();
    let mut both = batch(1..=2);
    both.reverse();
    let (_, outcomes) = deliver(&*sink, &both).await;
    assert_eq!(words(&outcomes), ["retry"; 2]);
    came.notified().await;

    let sink = connector.connect().await.unwrap();
    let mut report = DeliveryReport::new(1);
    tokio::select! {
        result = sink.deliver(&both[1..], &mut report) => panic!("not dropped: {result:?}"),
        () = came.notified() => {}
    }
    assert!(settle_anew(&*connector, &both[..1], 2).await.is_empty());
    assert_eq!(settle_anew(&*connector, &both, 6).await, [Uuid::from_u128(GUILTY)]);
    assert!(links.lock().unwrap().len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_after_its_link_has_ended_is_no_event_of_the_next_link() {
    let broker = Broker::start(Duration::ZERO, |message| match message.number {
        1 => vec![Act::End(message.link)],
        // Where a link has ended before, that one's.
        _ => vec![Act::Accept(0)],
    })
    .await;
    let connector = connector(&broker.url, &[]);
    let sink = connector.connect().await.unwrap();
    let both = batch(1..=2);
    let (_, outcomes) = deliver(&*sink, &both[..1]).await;
    assert_eq!(words(&outcomes), ["retry"]);
    let (result, outcomes) = deliver(&*sink, &both[1..]).await;
    assert_eq!(words(&outcomes), ["unknown"], "nobody holds it");
    assert_eq!(result.unwrap_err().action, Action::Reconnect);

    let sink = connector.connect().await.unwrap();
    let (_, outcomes) = deliver(&*sink, &both[1..]).await;
    assert_eq!(words(&outcomes), ["delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_after_its_link_was_let_go_is_no_event_of_the_next_link() {
    const LAST: u128 = 6;
    let broker = Broker::start(Duration::ZERO, |message| match message.number {
        LAST => (0..message.delivery).map(Act::Accept).collect(),
        _ => vec![Act::AcceptUnsettled(message.delivery)],
    })
    .await;
    let options = [("max_links", "1"), ("timeout", "500ms")];
    let sink = connector(&broker.url, &options).connect().await.unwrap();
    for number in 1..=LAST {
        let event = event_for(&format!("orders.{number}"), number, None);
        let (_, outcomes) = deliver(&*sink, &[event]).await;
        let expected = if number == LAST { "unknown" } else { "delivered" };
        assert_eq!(words(&outcomes), [expected], "event {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_attaches_many_links_slowly_keeps_its_connection() {
    let broker = Broker::start(Duration::from_millis(500), |message| {
        vec![Act::Accept(message.delivery)]
    })
    .await;
    let sink = connector(&broker.url, &[]).connect().await.unwrap();
    // Longer than one link may take.
    let batch: Vec<_> = (1..=24)
        .map(|number| event_for(&format!("orders.{number}"), number, None))
        .collect();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
}

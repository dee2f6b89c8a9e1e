//! What `./x fuzz` tries: a broker that says anything.

use std::time::Duration;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic};
use futures::executor::block_on;
use onewrite_core::options::Secret;
use uuid::Uuid;

use super::super::address;
use super::confirms::Verdict;
use super::frames::{FRAME_OVERHEAD, Frames};
use super::handshake::{Agreed, Login, Server, greet};
use super::shared::Shared;
use crate::limits::AMQP_FRAME_BYTES_DEFAULT;

/// Any greeting leads to a connection or to an error; frames that were agreed to have room for something.
pub(crate) fn greeting(bytes: &[u8]) {
    let address = address::parse("amqp://broker").expect("it is one");
    let login = Login::Plain {
        user: "relay".to_owned(),
        password: Secret::new("hunter2"),
    };
    let mut stream = tokio::io::join(bytes, tokio::io::sink());
    let mut frames = Frames::new(AMQP_FRAME_BYTES_DEFAULT as usize);
    let heartbeat = Duration::from_secs(10);
    if let Ok(agreed) = block_on(greet(&mut stream, &mut frames, &address, &login, "x", heartbeat)) {
        assert!(agreed.frame_max > FRAME_OVERHEAD);
    }
}

/// Nothing is kept but by an acknowledgement, whatever the broker says of what it was sent.
pub(crate) fn session(bytes: &[u8]) {
    let agreed = Agreed {
        server: Server::default(),
        frame_max: AMQP_FRAME_BYTES_DEFAULT as usize,
        heartbeat: Duration::from_secs(10),
    };
    let shared = Shared::new(&agreed, "amqp://broker");
    let publish = |number| shared.state().channel(1).confirms.published(Uuid::from_u128(number));
    let verdicts = [1, 2, 3].map(publish);
    let (mut frames, mut from) = (Frames::new(agreed.frame_max), bytes);
    let mut acknowledged = false;
    while let Ok(Some(frame)) = block_on(frames.next(&mut from)) {
        let is_one = |class: &AMQPClass| matches!(class, AMQPClass::Basic(basic::AMQPMethod::Ack(_)));
        acknowledged |= matches!(&frame, AMQPFrame::Method(1, class) if is_one(class));
        if shared.hear(frame).is_err() {
            break;
        }
    }
    for mut verdict in verdicts {
        assert!(acknowledged || !matches!(verdict.try_recv(), Ok(Verdict::Kept)));
    }
}

/// Any text is an address, or an error without the password that it may hold.
pub(crate) fn address(bytes: &[u8]) {
    if let Err(words) = address::parse(&String::from_utf8_lossy(bytes)) {
        assert!(!words.contains('@'), "{words}");
    }
}

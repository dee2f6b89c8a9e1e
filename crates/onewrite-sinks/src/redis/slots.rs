//! The slots of a cluster: which one a stream is in, and which server has it.

use redis::Value;

use crate::endpoint::Endpoint;
use crate::limits::REDIS_SERVERS_MAX;

/// How many slots every cluster has.
const SLOTS: usize = 16_384;

/// Which server has each slot, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    /// By number; an index into `servers`.
    owners: Vec<Option<u16>>,
    servers: Vec<Endpoint>,
}

impl Slots {
    /// Reads the answer to `CLUSTER SLOTS`, which `asked` gave: ranges of slots, each with its server and its replicas.
    pub(super) fn read(value: &Value, asked: &Endpoint) -> Option<Self> {
        let mut slots = Self {
            owners: vec![None; SLOTS],
            servers: Vec::new(),
        };
        let Value::Array(ranges) = value else { return None };
        for range in ranges {
            let Value::Array(range) = range else { return None };
            let [Value::Int(from), Value::Int(to), Value::Array(server), ..] = &range[..] else {
                return None;
            };
            let [host, Value::Int(port), ..] = &server[..] else {
                return None;
            };
            let endpoint = Endpoint {
                host: host_of(host).unwrap_or(&asked.host).to_owned(),
                port: u16::try_from(*port).ok()?,
            };
            let server = slots.server(endpoint)?;
            let range = usize::try_from(*from).ok()?..=usize::try_from(*to).ok()?;
            slots.owners.get_mut(range)?.fill(Some(server));
        }
        Some(slots)
    }

    /// The server that has a slot; `None` while none has.
    pub(super) fn owner(&self, slot: u16) -> Option<&Endpoint> {
        let server = (*self.owners.get(usize::from(slot))?)?;
        self.servers.get(usize::from(server))
    }

    /// Notes that a slot has moved.
    pub(super) fn moved(&mut self, slot: u16, to: Endpoint) {
        let server = self.server(to);
        if let (Some(server), Some(owner)) = (server, self.owners.get_mut(usize::from(slot))) {
            *owner = Some(server);
        }
    }

    /// Every server that has slots or had some.
    pub(super) fn servers(&self) -> &[Endpoint] {
        &self.servers
    }

    /// How many slots no server has.
    pub(super) fn uncovered(&self) -> usize {
        self.owners.iter().filter(|owner| owner.is_none()).count()
    }

    /// The index of a server; `None` where there are too many.
    fn server(&mut self, endpoint: Endpoint) -> Option<u16> {
        let known = self.servers.iter().position(|server| *server == endpoint);
        let at = known.unwrap_or(self.servers.len());
        if known.is_none() {
            (at < REDIS_SERVERS_MAX).then(|| self.servers.push(endpoint))?;
        }
        u16::try_from(at).ok()
    }
}

/// The slot of a stream: CRC-16/XMODEM of its name, or of its hash tag, which is what stands between the first `{` and the
/// next `}` unless that is nothing (the Redis cluster specification, "Hash tags").
pub(super) fn slot_of(stream: &str) -> u16 {
    let bytes = stream.as_bytes();
    let tag = stream.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = match tag {
        Some((tag, _)) if !tag.is_empty() => tag.as_bytes(),
        _ => bytes,
    };
    let crc = hashed.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    });
    crc % u16::try_from(SLOTS).expect("a small number")
}

/// A server that does not know its own name says nothing, or `?`: it is where it was asked.
fn host_of(value: &Value) -> Option<&str> {
    let host = match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        _ => return None,
    };
    Some(host).filter(|host| !host.is_empty() && *host != "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The check value of CRC-16/XMODEM, and what CLUSTER KEYSLOT answers for the others.
        assert_eq!(slot_of("123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12_182);
        assert_eq!(slot_of("{foo}.bar"), slot_of("foo"));
        assert_eq!(slot_of("x{foo}y{z}"), slot_of("foo"));
        assert_ne!(slot_of("{}foo"), slot_of("foo"));
        assert_eq!(slot_of(""), 0);
    }

    #[test]
    fn the_answer_of_a_cluster_is_read() {
        let server = |host: &str, port| {
            Value::Array(vec![
                Value::BulkString(host.as_bytes().to_vec()),
                Value::Int(port),
                Value::BulkString(b"id".to_vec()),
            ])
        };
        let answer = Value::Array(vec![
            Value::Array(vec![
                Value::Int(0),
                Value::Int(99),
                server("a", 1),
                server("replica", 9),
            ]),
            Value::Array(vec![Value::Int(100), Value::Int(16_000), server("", 2)]),
        ]);
        let asked = Endpoint::told("here:5").unwrap();
        let mut slots = Slots::read(&answer, &asked).unwrap();
        assert_eq!(slots.owner(99).unwrap().to_string(), "a:1");
        assert_eq!(slots.owner(100).unwrap().to_string(), "here:2");
        assert_eq!((slots.owner(16_001), slots.uncovered()), (None, 383));
        slots.moved(99, Endpoint::told("here:2").unwrap());
        assert_eq!(slots.owner(99).unwrap().to_string(), "here:2");
        assert_eq!(slots.servers().len(), 2);
        for wrong in [Value::Int(1), Value::Array(vec![Value::Array(vec![Value::Int(0)])])] {
            assert!(Slots::read(&wrong, &asked).is_none());
        }
    }

    #[test]
    fn an_answer_of_more_servers_than_a_cluster_has_is_none() {
        let asked = Endpoint {
            host: "localhost".to_owned(),
            port: 7000,
        };
        let range = |number: usize| {
            let host = Value::BulkString(number.to_string().into_bytes());
            let server = Value::Array(vec![host, Value::Int(7000)]);
            // An empty range, so that there is no end of them.
            Value::Array(vec![Value::Int(1), Value::Int(0), server])
        };
        let read = |servers| Slots::read(&Value::Array((0..servers).map(range).collect()), &asked);
        let mut full = read(REDIS_SERVERS_MAX).expect("a cluster");
        assert!(read(REDIS_SERVERS_MAX + 1).is_none());
        full.moved(0, asked.clone());
        assert_eq!((full.servers().len(), full.owner(0)), (REDIS_SERVERS_MAX, None));
    }
}

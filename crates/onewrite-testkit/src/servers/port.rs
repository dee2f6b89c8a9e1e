//! Ports of 127.0.0.1.

use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;

/// Below the ephemeral ports, so that no outgoing connection takes a stopped server's port before it starts again.
const CANDIDATES: Range<u16> = 18_000..32_000;

/// A port that belongs to one fixture of this machine until it is dropped, also while its server is down.
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a port on which nothing listens.
    pub fn take() -> Self {
        let directory = std::env::temp_dir().join(format!("onewrite-ports-{}", rustix::process::getuid().as_raw()));
        std::fs::create_dir_all(&directory).expect("create the directory of port locks");
        let span = usize::from(CANDIDATES.end - CANDIDATES.start);
        let first = usize::try_from(uuid::Uuid::new_v4().as_u128() % span as u128).expect("less than the span");
        for step in 0..span {
            let offset = u16::try_from((first + step) % span).expect("less than the span");
            let number = CANDIDATES.start + offset;
            let lock = File::create(directory.join(number.to_string())).expect("create a port's lock");
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port of {CANDIDATES:?} is free on 127.0.0.1");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

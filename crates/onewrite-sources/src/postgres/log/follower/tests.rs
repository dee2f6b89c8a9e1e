//! The follower against a model of a server: transactions get ids, reach the log and become visible at times of their own.

use std::collections::{BTreeMap, BTreeSet};

use onewrite_core::Event;

use super::*;

/// A server and its log. An event's sequence is also its name.
#[derive(Default)]
struct Server {
    next_xid: u64,
    /// Transactions that have not ended, with their events, and whether their commit is in the log already.
    open: BTreeMap<u64, (Vec<u64>, bool)>,
    /// Transactions that have ended, with the events of those that committed.
    ended: BTreeMap<u64, Vec<u64>>,
    /// Commits with their events.
    log: Vec<(u64, Vec<u64>)>,
    /// Each with its position in the log.
    ticks: Vec<(usize, Tick)>,
    next_sequence: u64,
    begun: u64,
    /// The tick that is being taken.
    tick: Option<Begun>,
}

enum Begun {
    Snapshot(u64, Snapshot),
    Position(usize, Tick),
}

impl Server {
    fn xid(&mut self) -> u64 {
        self.next_xid += 1;
        self.next_xid + 10
    }

    fn snapshot(&self) -> Snapshot {
        let xmax = self.ended.keys().last().map_or(10, |last| last + 1);
        let running: Vec<String> = self
            .open
            .keys()
            .filter(|xid| **xid < xmax)
            .map(u64::to_string)
            .collect();
        let xmin = self.open.keys().next().map_or(xmax, |first| xmax.min(*first));
        Snapshot::parse(&format!("{xmin}:{xmax}:{}", running.join(",")), 0).expect("a snapshot")
    }

    fn begin(&mut self, events: u64) {
        let xid = self.xid();
        let first = self.next_sequence;
        self.next_sequence += events;
        self.open.insert(xid, ((first..first + events).collect(), false));
    }

    /// One more step of a transaction: its commit reaches the log, or it ends. A few abort.
    fn go_on(&mut self, random: &mut fastrand::Rng) {
        let Some(xid) = random.choice(self.open.keys().copied().collect::<Vec<_>>()) else {
            return;
        };
        let (events, logged) = self.open.remove(&xid).expect("it is open");
        if logged {
            self.ended.insert(xid, events);
        } else if random.u8(0..6) == 0 {
            self.ended.insert(xid, Vec::new());
        } else {
            self.log.push((xid, events.clone()));
            self.open.insert(xid, (events, true));
        }
    }

    /// One more step of a tick: it takes its snapshot, then its position in the log, and then may write to the log itself.
    fn tick(&mut self, writes: bool) {
        self.tick = match self.tick.take() {
            None => {
                self.begun += 1;
                Some(Begun::Snapshot(self.begun, self.snapshot()))
            }
            Some(Begun::Snapshot(number, snapshot)) => {
                let tick = Tick {
                    number,
                    snapshot,
                    xid: self.next_xid + 11,
                    last_sequence: 0,
                };
                let position = self.log.len();
                if writes {
                    let xid = self.xid();
                    self.log.push((xid, Vec::new()));
                    self.open.insert(xid, (Vec::new(), true));
                }
                Some(Begun::Position(position, tick))
            }
            Some(Begun::Position(position, tick)) => {
                self.ticks.push((position, tick));
                None
            }
        };
    }

    /// What the table holds between two snapshots.
    fn table(&self, base: &Snapshot, upper: &Snapshot) -> BTreeSet<u64> {
        let between = self
            .ended
            .iter()
            .filter(|(xid, _)| upper.sees(**xid) && !base.sees(**xid));
        between.flat_map(|(_, events)| events.iter().copied()).collect()
    }
}

/// A route: where it stands in the log and up to which snapshot it has read.
struct Route {
    position: usize,
    /// How many of the ticks are behind it.
    ticks: usize,
    follower: Follower,
    rows: Vec<LogRow>,
    base: Snapshot,
}

impl Route {
    fn subscribe(server: &Server, base: Snapshot, position: usize) -> Self {
        Self {
            position,
            ticks: server.ticks.partition_point(|(at, _)| *at <= position),
            follower: Follower::new(server.begun),
            rows: Vec::new(),
            base,
        }
    }

    /// Reads one entry of the log; the number of events that came over it, when a window did.
    fn read(&mut self, server: &Server) -> usize {
        if let Some((at, tick)) = server.ticks.get(self.ticks)
            && *at <= self.position
        {
            self.ticks += 1;
            return self.go_on(server, tick);
        }
        if let Some((xid, events)) = server.log.get(self.position) {
            self.position += 1;
            self.rows.extend(events.iter().map(|sequence| row(*xid, *sequence)));
        }
        0
    }

    /// Goes on to a tick; the number of events that came over the log, when a window did.
    fn go_on(&mut self, server: &Server, tick: &Tick) -> usize {
        let (window, rows) = self.follower.advance(&self.base, std::mem::take(&mut self.rows), tick);
        let came: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
        assert!(came.is_sorted(), "{came:?}");
        let due = server.table(&self.base, &tick.snapshot);
        match window {
            Window::Events => assert_eq!(came, due.into_iter().collect::<Vec<_>>()),
            Window::Table => assert!(came.is_empty()),
            Window::Passed => {
                assert!(came.is_empty() && due.is_empty());
                return 0;
            }
        }
        self.base = tick.snapshot.clone();
        came.len()
    }
}

fn row(xid: u64, sequence: u64) -> LogRow {
    let event = Event {
        id: uuid::Uuid::nil(),
        topic: "".into(),
        key: None,
        event_type: None,
        payload: bytes::Bytes::new(),
        content_type: "".into(),
        headers: Vec::new(),
        occurred_at: jiff::Timestamp::UNIX_EPOCH,
        replay: None,
        headers_complete: false,
        verbatim: None,
    };
    LogRow {
        xid,
        sequence,
        event,
        defect: None,
    }
}

/// Whenever a route subscribes, and however transactions, ticks and looks into the table interleave, each window holds what
/// the table holds between its snapshots.
#[test]
fn a_window_over_the_log_is_the_window_of_the_table() {
    let mut over_the_log = 0;
    for seed in 0..2_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut server = Server::default();
        let mut route = Route::subscribe(&server, server.snapshot(), 0);
        for _ in 0..300 {
            match random.u8(0..100) {
                0..15 => server.begin(random.u64(0..4)),
                15..50 => server.go_on(&mut random),
                50..70 => server.tick(random.bool()),
                70..95 => over_the_log += route.read(&server),
                // It falls behind and subscribes anew, at any place that the reader may be at.
                95..97 => {
                    let position = random.usize(route.position..=server.log.len());
                    route = Route::subscribe(&server, route.base.clone(), position);
                }
                // It looks into the table.
                _ => route.base = server.snapshot(),
            }
        }
    }
    assert!(over_the_log > 10_000, "only {over_the_log} events came over the log");
}

//! A campaign: load, windows of faults, and what is asked after each of them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use onewrite_core::promise::Found;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::fault::{FAULTS, Fault};
use crate::judge;
use crate::limits::{PATIENCE, RESTING};
use crate::plan::{Window, plan};
use crate::report::{FaultReport, Latency, Report, Skipped, WindowReport};
use crate::setting::Setting;
use crate::shop::{Load, Writers, prepare};
use crate::strike::Nemesis;
use crate::timeline::{Timeline, median};
use crate::world::{TOPIC, World};

/// What writers do: some hundred events a second, so that what comes after a fault is seen and not the limit of a machine.
const LOAD: Load = Load {
    writers: 6,
    keys: 300,
    long: 4,
    longest: 2.0,
    early: 20,
    synchronous_commit: "mixed",
    rest: RESTING,
    ..Load::ENDLESS
};

/// Runs the windows of a seed and judges; `say` hears of the plan, and of each window as it ends. Only these faults are dealt, as far
/// as they can befall a world of this setting.
pub async fn run(setting: Setting, seed: u64, windows: u32, faults: &[Fault], mut say: impl FnMut(&str)) -> Report {
    let (possible, skipped) = possible(&setting, faults);
    let windows = plan(seed, windows, &possible);
    say(&words(&windows));
    let mut campaign = Campaign::start(setting, seed, windows.len()).await;
    campaign.report.skipped = skipped;
    for (number, window) in windows.iter().enumerate() {
        let line = campaign.window(number, window).await;
        say(&line);
        // A planted bug that is found is found.
        let found = campaign.world.setting.mutant.is_some() && !campaign.report.losses().is_empty();
        if campaign.report.stuck.is_some() || found {
            break;
        }
    }
    campaign.judge().await
}

fn words(windows: &[Window]) -> String {
    let window = |window: &Window| {
        let names: Vec<_> = window.faults.iter().map(|placed| placed.1.name()).collect();
        if names.is_empty() {
            "calm".to_owned()
        } else {
            names.join(" + ")
        }
    };
    let all: Vec<_> = windows.iter().map(window).collect();
    format!("planned: {}", all.join("; "))
}

/// Every kind of fault.
pub fn all_faults() -> Vec<Fault> {
    FAULTS.iter().map(|known| known.fault).collect()
}

fn possible(setting: &Setting, faults: &[Fault]) -> (Vec<Fault>, Vec<Skipped>) {
    let (mut possible, mut skipped) = (Vec::new(), Vec::new());
    for fault in faults {
        match fault.inapplicable(setting) {
            Some(reason) => skipped.push(Skipped { fault: *fault, reason }),
            None => possible.push(*fault),
        }
    }
    (possible, skipped)
}

struct Campaign {
    world: World,
    writers: Writers,
    nemesis: Nemesis,
    timeline: Timeline,
    /// Rates of calm windows so far.
    calm: Vec<f64>,
    /// When calm windows were, in milliseconds since 1970 by this machine's clock, which all servers share.
    calm_times: Vec<(i64, i64)>,
    ever_parked: HashSet<Uuid>,
    /// What an operator gave up.
    given_up: HashSet<Uuid>,
    report: Report,
}

/// What there is after a window, when everything has come to rest.
struct Balance {
    committed: i64,
    parked: i64,
    epoch: i64,
    arrived: Option<i64>,
}

impl Campaign {
    async fn start(setting: Setting, seed: u64, windows: usize) -> Self {
        let report = Report::new(&setting, seed, windows);
        let mut world = World::start(setting).await;
        prepare(&world.database, LOAD.keys).await;
        world.start_relay(0);
        world.start_relay(1);
        let writers = Writers::start(&world.database, LOAD);
        let timeline = Timeline::start(world.broker.clone(), &world.database, writers.committed());
        Self {
            world,
            writers,
            nemesis: Nemesis::default(),
            timeline,
            calm: Vec::new(),
            calm_times: Vec::new(),
            ever_parked: HashSet::new(),
            given_up: HashSet::new(),
            report,
        }
    }

    /// Runs a window, and tells of it in a line.
    async fn window(&mut self, number: usize, window: &Window) -> String {
        self.writers.go_on();
        let (began, wall) = (Instant::now(), milliseconds());
        let started = self.timeline.now();
        let mut struck = Vec::new();
        for (at, fault) in &window.faults {
            tend_until(&mut self.world, began + *at).await;
            let result = self.nemesis.begin(*fault, &mut self.world, &self.writers).await;
            struck.push((
                FaultReport::new(*fault, number, result.as_ref().err()),
                self.timeline.now(),
            ));
        }
        tend_until(&mut self.world, began + window.length).await;
        // An operator resumes by the program, which reaches the database only when nothing is wrong with that any more.
        struck.sort_by_key(|(record, _)| record.fault == Fault::OperatorPauses);
        for (record, over) in &mut struck {
            if record.not_struck.is_none() {
                record.complaint = self
                    .nemesis
                    .end(record.fault, &mut self.world, &self.writers)
                    .await
                    .err();
                if lasts(record.fault) {
                    *over = self.timeline.now();
                }
            }
        }
        if window.faults.is_empty() {
            self.calm
                .extend(self.timeline.rates(started + 1.0, self.timeline.now()));
            self.calm_times.push((wall + 1_000, milliseconds()));
        }
        let takeover = self.nemesis.takeover().await.map(|time| time.as_secs_f64());
        self.recover(&mut struck).await;
        let drained = self.drain().await;
        let retry = window.faults.iter().any(|placed| placed.1 == Fault::Unroutable);
        self.operate_on_parked(retry).await;
        let balance = self.balance().await;
        self.enter(number, window, struck, takeover, drained, &balance)
    }

    /// Waits until the rate is back after each fault, and writes down when it was.
    async fn recover(&mut self, struck: &mut [(FaultReport, f64)]) {
        let Some(rate) = median(self.calm.clone()) else { return };
        let deadline = Instant::now() + PATIENCE;
        let alone = struck.len() == 1;
        // Where others were there, what counts is when the last was over.
        let last = struck.iter().map(|(_, over)| *over).fold(0.0, f64::max);
        for (record, over) in struck.iter_mut().filter(|(record, _)| record.not_struck.is_none()) {
            record.alone = alone;
            *over = last;
            while record.recovery.is_none() && Instant::now() < deadline {
                tend_until(&mut self.world, Instant::now() + Duration::from_millis(250)).await;
                record.recovery = self.timeline.recovered(*over, rate);
            }
        }
    }

    /// Lets the writers rest, and waits until everything is settled; how many seconds that took.
    async fn drain(&mut self) -> Option<f64> {
        self.writers.hold().await;
        match rest(&mut self.world).await {
            Ok(seconds) => Some(seconds),
            Err(words) => {
                self.report.stuck = Some(words);
                None
            }
        }
    }

    /// What a person on call does about parked events: tries them again where the cause is mended, else gives the first up and
    /// tries the others, which come back.
    async fn operate_on_parked(&mut self, mended: bool) {
        let parked = self.world.parked().await;
        self.ever_parked.extend(parked.iter().map(|(_, id)| *id));
        let mut numbers: Vec<String> = parked.iter().map(|(number, _)| number.to_string()).collect();
        if !mended && let Some((number, id)) = parked.first() {
            let skip = ["parked", "skip", &number.to_string(), "--yes"];
            if self.world.operate(&skip).is_ok() {
                self.given_up.insert(*id);
                numbers.remove(0);
            }
        }
        for some in numbers.chunks(500) {
            let mut retry = vec!["parked", "retry", "--yes"];
            retry.extend(some.iter().map(String::as_str));
            if let Err(words) = self.world.operate(&retry) {
                self.report.complaints.push(words);
            }
        }
        if !numbers.is_empty() {
            self.drain().await;
        }
    }

    async fn balance(&self) -> Balance {
        const COUNTS: &str = "SELECT (SELECT count(*) FROM ledger), (SELECT count(*) FROM onewrite.parked_event), \
                              (SELECT max(epoch) FROM onewrite.relay)";
        let counts: Row = self
            .world
            .asked(COUNTS)
            .await
            .expect("the database answers between windows");
        let arrived = self.world.broker.count(TOPIC).await;
        Balance {
            committed: counts.get(0),
            parked: counts.get::<_, i64>(1) + i64::try_from(self.given_up.len()).expect("few"),
            epoch: counts.get(2),
            arrived: arrived.and_then(|count| i64::try_from(count).ok()),
        }
    }

    fn enter(
        &mut self,
        number: usize,
        window: &Window,
        struck: Vec<(FaultReport, f64)>,
        takeover: Option<f64>,
        drained: Option<f64>,
        balance: &Balance,
    ) -> String {
        let repeated = balance
            .arrived
            .map(|arrived| arrived - (balance.committed - balance.parked));
        let before = self
            .report
            .windows
            .last()
            .and_then(|last| last.repeated_so_far)
            .unwrap_or(0);
        let entry = WindowReport {
            number,
            seconds: window.length.as_secs_f64(),
            faults: struck.into_iter().map(|(record, _)| record).collect(),
            takeover,
            epoch: balance.epoch,
            drained,
            committed: balance.committed,
            parked: balance.parked,
            repeated_so_far: repeated,
            repeated: repeated.map(|all| all - before),
        };
        let line = format!("{}/{} {entry}", number + 1, self.report.planned);
        self.report.windows.push(entry);
        line
    }

    async fn judge(mut self) -> Report {
        self.writers.stop();
        self.report.failed_transactions = self.writers.failures();
        let rolled_back = self.writers.finish().await;
        for number in 0..2 {
            if let Err(words) = self.world.restart_relay(number, None).await {
                self.report.complaints.push(words);
            }
        }
        // Each writer has written once more before it ended. What is stuck already has been waited for.
        if self.report.stuck.is_none() {
            self.report.stuck = rest(&mut self.world).await.err();
        }
        let deliveries = self.world.broker.delivered(TOPIC).await;
        let mut parked = judge::parked(&self.world.database).await;
        parked.extend(&self.given_up);
        self.ever_parked.extend(&parked);
        let effects = judge::effects(&self.world.database, &deliveries).await;
        let found = Found {
            deliveries,
            ever_parked: self.ever_parked,
            parked,
            effects: Some(effects),
        };
        let verdict = judge::judge(&self.world.database, &rolled_back, &found).await;
        if verdict.lost.count > 0 {
            let arrived = found.deliveries.iter().chain(&found.parked).copied().collect();
            let committed: Vec<i64> = self.report.windows.iter().map(|window| window.committed).collect();
            let lost = judge::lost_by_window(&self.world.database, &arrived, &committed).await;
            let words = |(window, count)| match window == committed.len() {
                true => format!("of what was written after the last window {count} events are lost"),
                false => format!("of window {window} {count} events are lost"),
            };
            self.report.complaints.extend(lost.into_iter().map(words));
        }
        self.report.verdict = Some(verdict);
        self.report.latency = latency(&self.world, &self.calm_times).await;
        self.report.rate = median(self.calm);
        self.report.sizes = self.timeline.sizes();
        self.timeline.stop().await;
        self.report.resident = self.world.resident;
        self.report.ended = self.world.ended;
        self.report
    }
}

/// Waits until nothing is unsettled, and tells how many seconds that took.
async fn rest(world: &mut World) -> Result<f64, String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if world.open().await == Some(0) {
            return Ok(began.elapsed().as_secs_f64());
        }
        tend_until(world, Instant::now() + Duration::from_millis(100)).await;
    }
    let left = world.open().await;
    Err(format!(
        "I5: {PATIENCE:?} after everything was healed, open are still {left:?} events; the relays say: {}",
        world.last_words()
    ))
}

/// Looks after the relays until then.
async fn tend_until(world: &mut World, moment: Instant) {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    loop {
        looks.tick().await;
        world.tend();
        if Instant::now() >= moment {
            return;
        }
    }
}

/// Whether a fault goes on until it is ended; the others are over when they have begun.
fn lasts(fault: Fault) -> bool {
    !matches!(
        fault,
        Fault::RelayKilled
            | Fault::RelayHandsOver
            | Fault::SessionsEnded
            | Fault::DatabaseStopped
            | Fault::DatabaseKilled
            | Fault::DatabasePromoted
            | Fault::CertificateRotated
            | Fault::SlotDropped
            | Fault::SlotOutgrown
            | Fault::WalsenderEnded
            | Fault::BrokerKilled
            | Fault::LargeTransactions
            | Fault::OperatorReplays
    )
}

/// From the last moment before a commit to the arrival, of events written in calm windows, where the broker tells the time of arrivals.
async fn latency(world: &World, calm: &[(i64, i64)]) -> Option<Latency> {
    const WRITTEN: &str = "SELECT event_id::text, (extract(epoch FROM written_at) * 1000)::bigint FROM ledger";
    let arrivals = world.broker.arrivals(TOPIC).await;
    let client = world.database.connect().await;
    let rows = client.query(WRITTEN, &[]).await.expect("the ledger");
    let mut times: Vec<i64> = Vec::new();
    for row in rows {
        let written: i64 = row.get(1);
        if let Some(arrived) = arrivals.get(&judge::id(row.get(0)))
            && calm.iter().any(|(from, to)| (*from..*to).contains(&written))
        {
            times.push(arrived - written);
        }
    }
    times.sort_unstable();
    let place = |hundredth: usize| times.get(times.len().saturating_sub(1) * hundredth / 100).copied();
    Some(Latency {
        events: times.len(),
        median: place(50)?,
        p99: place(99)?,
        most: place(100)?,
    })
}

fn milliseconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("a clock after 1970").as_millis()).expect("a clock before year 292 million")
}

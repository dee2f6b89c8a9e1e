//! Cases of a relay that is spread over processes by groups of lanes. A database that is not spread says so; that is its case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onewrite::Event;
use onewrite_core::routing::{Group, Match, Share, shares};
use onewrite_core::store::{Member, ParkedFilter, ReplayRequest};
use onewrite_core::{Lease, Outbox, ParkReason, Position, Sourced, StoreFailure};

use super::session::{LONG, RELAY, Reader, event, events, exactly, is_fenced, parking, topic, works};
use super::{SourceHarness, Subject};
use crate::conformance::Wrong;

/// How many groups there are in most cases.
const GROUPS: u32 = 4;

/// A relay with several groups, each of which another process leads.
struct Spread {
    subject: Subject,
    count: u32,
    shares: Vec<Share>,
    leases: Vec<Lease>,
}

fn member(id: &str, groups: u32) -> Member {
    Member {
        relay: RELAY.to_owned(),
        id: id.to_owned(),
        holder: format!("process {id}"),
        groups,
    }
}

impl Spread {
    /// `None` where the database refuses to be spread.
    async fn new(harness: &mut dyn SourceHarness, routes: &[(&str, Match)]) -> Result<Option<Self>, Wrong> {
        let subject = harness.fresh().await?;
        match subject.outbox.attend(&member("first", GROUPS), LONG).await {
            Err(error) if error.failure == StoreFailure::Refused => return Ok(None),
            Err(error) => return Err(works("attending", &error)),
            Ok(_) => {}
        }
        let routes: Vec<_> = routes
            .iter()
            .map(|(name, wanted)| ((*name).to_owned(), wanted.clone()))
            .collect();
        let mut spread = Self {
            subject,
            count: GROUPS,
            shares: shares(RELAY, &routes),
            leases: Vec::new(),
        };
        spread.claim_all().await?;
        Ok(Some(spread))
    }

    fn outbox(&self) -> &Arc<dyn Outbox> {
        &self.subject.outbox
    }

    /// Takes every group, each by a process of its own, and adopts the routes in each.
    async fn claim_all(&mut self) -> Result<(), Wrong> {
        self.leases.clear();
        for index in 0..self.count {
            let Some(lease) = self.claim(index, self.count).await? else {
                return Err(Wrong::new(
                    "a group that nobody holds can be had",
                    format!("not {index} of {}", self.count),
                ));
            };
            self.leases.push(lease);
        }
        for lease in &self.leases {
            let shares: Vec<Share> = self.shares.iter().map(|share| share.in_group(lease.group)).collect();
            let adopted = self.outbox().adopt(lease, &shares).await;
            adopted.map_err(|error| works("adopting routes in a group", &error))?;
        }
        Ok(())
    }

    async fn claim(&self, index: u32, groups: u32) -> Result<Option<Lease>, Wrong> {
        let claimed = self
            .outbox()
            .claim(&member(&format!("{index} of {groups}"), groups), index, LONG)
            .await;
        claimed.map_err(|error| works("claiming a group", &error))
    }

    async fn release_all(&self) -> Result<(), Wrong> {
        for lease in &self.leases {
            let released = self.outbox().release(lease).await;
            released.map_err(|error| works("releasing a group", &error))?;
        }
        Ok(())
    }

    /// Every lease and the share of a route in its group.
    fn groups(&self, route: usize) -> impl Iterator<Item = (&Lease, Share)> {
        self.leases
            .iter()
            .map(move |lease| (lease, self.shares[route].in_group(lease.group)))
    }

    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Reader, Wrong> {
        let opened = self.outbox().feed(lease, share).await;
        Ok(Reader::new(
            opened.map_err(|error| works("opening a group's feed", &error))?,
        ))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Reader, Wrong> {
        let opened = self.outbox().redeliveries(lease, share).await;
        Ok(Reader::new(
            opened.map_err(|error| works("opening a group's redeliveries", &error))?,
        ))
    }

    async fn commit(&self, events: &[Event]) -> Result<(), Wrong> {
        let mut transaction = self.subject.writers.begin().await?;
        transaction.append(events).await?;
        Ok(transaction.commit().await?)
    }

    /// How many events of a replay are left; `None` when it is through.
    async fn left(&self, replay: i64) -> Result<Option<i64>, Wrong> {
        let status = self.subject.operations.status().await;
        let status = status.map_err(|error| works("asking for the status", &error))?;
        let found = status.replays.iter().find(|found| found.id == replay);
        Ok(found
            .filter(|found| found.finished_at.is_none())
            .and_then(|found| found.left))
    }

    /// What every group of a route hands out, one after the other, with the keys checked to be in one group each.
    async fn read_all(&self, route: usize) -> Result<Vec<(Reader, Vec<Sourced>)>, Wrong> {
        let mut all = Vec::new();
        let mut group_of: BTreeMap<Option<String>, Group> = BTreeMap::new();
        for (lease, share) in self.groups(route) {
            let mut reader = self.feed(lease, &share).await?;
            let events = reader.rest().await?;
            for sourced in events.iter().filter(|sourced| sourced.event.key.is_some()) {
                let key = sourced.event.key.as_deref().map(str::to_owned);
                let first = *group_of.entry(key.clone()).or_insert(lease.group);
                if first != lease.group {
                    let seen = format!("key {key:?} came in group {first} and in group {}", lease.group);
                    return Err(Wrong::new("the events of a key are in one group", seen));
                }
            }
            all.push((reader, events));
        }
        Ok(all)
    }
}

fn together<'a>(groups: impl IntoIterator<Item = &'a (Reader, Vec<Sourced>)>) -> Vec<Sourced> {
    groups.into_iter().flat_map(|(_, events)| events.clone()).collect()
}

/// Keys of every kind: none, empty, of every length up to a few blocks of a hash, and of characters beyond ASCII.
fn odd_keys() -> Vec<Option<String>> {
    let mut keys: Vec<Option<String>> = vec![None; 20];
    keys.extend((0..40).map(|length| Some("k".repeat(length))));
    keys.extend(
        ["größe", "鍵", "'\"\\%_", " ", "\u{1f980}\u{1f980}\u{1f980}\u{1f980}"].map(|key| Some(key.to_owned())),
    );
    keys.push(Some("長".repeat(341)));
    keys
}

pub(super) async fn every_event_is_in_exactly_one_group(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Some(spread) = Spread::new(harness, &[("a", topic("a")), ("b", topic("b"))]).await? else {
        return Ok(());
    };
    let mut written = Vec::new();
    for _ in 0..3 {
        written.extend(odd_keys().iter().map(|key| event("a", key.as_deref())));
        written.push(event("b", Some("key")));
    }
    spread.commit(&written[..80]).await?;
    spread.commit(&written[80..]).await?;
    for (route, topic) in ["a", "b"].into_iter().enumerate() {
        let due: Vec<Event> = written.iter().filter(|event| event.topic == topic).cloned().collect();
        let groups = spread.read_all(route).await?;
        exactly(&due, &together(&groups)).map_err(|wrong| wrong.when("over all groups of a route"))?;
        let most = groups.iter().map(|(_, events)| events.len()).max().unwrap_or_default();
        if topic == "a" && most == due.len() {
            return Err(Wrong::new(
                "events are spread over the groups",
                "all are in one".to_owned(),
            ));
        }
    }
    Ok(())
}

pub(super) async fn groups_settle_each_for_itself(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Some(spread) = Spread::new(harness, &[("all", Match::default())]).await? else {
        return Ok(());
    };
    let written = events(120, 30);
    spread.commit(&written).await?;
    let mut groups = spread.read_all(0).await?;
    let (first, events) = &mut groups[0];
    let pending: Vec<Position> = events.first().map(|sourced| sourced.position).into_iter().collect();
    first.settle(&pending).await?;
    let left = events.first().cloned();
    let again = together(&spread.read_all(0).await?);
    let due: Vec<Event> = {
        let settled: Vec<_> = groups[0].1.iter().skip(1).map(|sourced| sourced.event.id).collect();
        written
            .iter()
            .filter(|event| !settled.contains(&event.id))
            .cloned()
            .collect()
    };
    exactly(&due, &again).map_err(|wrong| wrong.when("after one group settled all but one event"))?;
    if left.is_none() {
        return Err(Wrong::new(
            "thirty keys are in every of four groups",
            "the first is empty".to_owned(),
        ));
    }
    Ok(())
}

pub(super) async fn a_lease_of_one_group_is_none_of_another(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Some(spread) = Spread::new(harness, &[("all", Match::default())]).await? else {
        return Ok(());
    };
    spread.commit(&events(60, 30)).await?;
    let mut groups = spread.read_all(0).await?;
    let mut epochs: Vec<i64> = spread.leases.iter().map(|lease| lease.epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    if epochs.len() != spread.leases.len() {
        return Err(Wrong::new(
            "no two groups have one epoch",
            format!("{:?}", spread.leases),
        ));
    }
    // The second group goes to another process; the first is not disturbed, and the zombie writes nothing.
    let zombie = spread.leases[1].clone();
    let released = spread.outbox().release(&zombie).await;
    released.map_err(|error| works("releasing a group", &error))?;
    if spread.claim(1, GROUPS).await?.is_none() {
        return Err(Wrong::new("a released group is free at once", "it is not".to_owned()));
    }
    groups[0].0.settle(&[]).await?;
    let settlement = onewrite_core::Settlement {
        through: groups[1].1.last().map(|sourced| sourced.position),
        pending: Vec::new(),
    };
    is_fenced("settling a group", groups[1].0.source.settle(&settlement).await)?;
    is_fenced("renewing a group", spread.outbox().renew(&zombie, LONG, &[]).await)
}

pub(super) async fn two_layouts_never_hold_at_once(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Some(mut spread) = Spread::new(harness, &[("all", Match::default())]).await? else {
        return Ok(());
    };
    let never = |seen: String| {
        Err(Wrong::new(
            "a group is not to be had while another layout is held",
            seen,
        ))
    };
    for (index, groups) in [(0, 3), (2, 3), (0, 1), (4, 5)] {
        if let Some(lease) = spread.claim(index, groups).await? {
            return never(format!("{lease:?} beside {:?}", spread.leases));
        }
    }
    for lease in &spread.leases[1..] {
        let released = spread.outbox().release(lease).await;
        released.map_err(|error| works("releasing a group", &error))?;
    }
    if let Some(lease) = spread.claim(2, 3).await? {
        return never(format!("{lease:?} beside {:?}", spread.leases[0]));
    }
    let standing = spread.outbox().attend(&member("late", 3), LONG).await;
    let standing = standing.map_err(|error| works("attending", &error))?;
    if !standing.other_layout {
        return Err(Wrong::new(
            "a member is told that another layout is held",
            format!("{standing:?}"),
        ));
    }
    let released = spread.outbox().release(&spread.leases[0]).await;
    released.map_err(|error| works("releasing a group", &error))?;
    let old = spread.leases.clone();
    spread.count = 3;
    spread.leases.clear();
    let lease = spread
        .claim(2, 3)
        .await?
        .ok_or_else(|| Wrong::new("a free group can be had", "not 2 of 3".to_owned()))?;
    // At once nobody of the old layout may hand out or write anything, whichever group it held.
    for zombie in &old {
        is_fenced(
            "renewing in another layout",
            spread.outbox().renew(zombie, LONG, &[]).await,
        )?;
        let share = spread.shares[0].in_group(zombie.group);
        is_fenced(
            "opening in another layout",
            spread.outbox().feed(zombie, &share).await.map(|_| ()),
        )?;
    }
    if let Some(lease) = spread.claim(3, 4).await? {
        return never(format!("{lease:?} beside one of the new layout"));
    }
    let released = spread.outbox().release(&lease).await;
    released.map_err(|error| works("releasing a group", &error))
}

pub(super) async fn another_number_of_groups_loses_and_reorders_nothing(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let Some(mut spread) = Spread::new(harness, &[("all", Match::default())]).await? else {
        return Ok(());
    };
    let (mut written, mut settled) = (Vec::new(), Vec::new());
    for (round, count) in [1, 4, 3, 3, 1, 2].into_iter().enumerate() {
        spread.release_all().await?;
        spread.count = count;
        spread.claim_all().await?;
        let more = events(60, 12);
        spread.commit(&more).await?;
        written.extend(more);
        let mut groups = spread.read_all(0).await?;
        let handed_out = together(&groups);
        let is_settled = |event: &&Event| settled.contains(&event.id);
        // Nothing that is not settled may be missing; what is may come again, but then in order.
        let twice: Vec<_> = handed_out.iter().map(|sourced| sourced.event.id).collect();
        let due: Vec<Event> = written
            .iter()
            .filter(|event| !is_settled(event) || twice.contains(&event.id))
            .cloned()
            .collect();
        exactly(&due, &handed_out).map_err(|wrong| wrong.when(&format!("in round {round}, with {count} groups")))?;
        // Each group stands elsewhere: one has settled all, one nothing, the others a part, with something pending.
        for (at, (reader, events)) in groups.iter_mut().enumerate().skip(usize::from(count > 1)) {
            let through = if at == 1 { events.len() } else { events.len() / 2 };
            let Some(last) = through.checked_sub(1) else { continue };
            let pending: Vec<Position> = events[..through]
                .iter()
                .step_by(7)
                .map(|sourced| sourced.position)
                .collect();
            reader.settle_through(Some(events[last].position), &pending).await?;
            let done = events[..through]
                .iter()
                .filter(|sourced| !pending.contains(&sourced.position));
            settled.extend(done.map(|sourced| sourced.event.id));
        }
    }
    Ok(())
}

pub(super) async fn what_is_set_aside_is_redelivered_in_its_group(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let Some(mut spread) = Spread::new(harness, &[("all", Match::default())]).await? else {
        return Ok(());
    };
    let mut written: Vec<Event> = (0..12).map(|_| event("t", None)).collect();
    written.extend(events(24, 12));
    spread.commit(&written).await?;
    for (reader, events) in &mut spread.read_all(0).await? {
        let reason = || ParkReason::Poison("refused".to_owned());
        let parked: Vec<_> = events.iter().map(|sourced| parking(sourced, reason())).collect();
        reader.park(&parked).await?;
        reader.settle(&[]).await?;
    }
    let retried = spread.subject.operations.retry(&ParkedFilter::default()).await;
    retried.map_err(|error| works("retrying", &error))?;
    for count in [GROUPS, 3] {
        spread.release_all().await?;
        spread.count = count;
        spread.claim_all().await?;
        let mut all = Vec::new();
        for (lease, share) in spread.groups(0) {
            all.extend(spread.redeliveries(lease, &share).await?.rest().await?);
        }
        exactly(&written, &all).map_err(|wrong| wrong.when(&format!("as redeliveries in {count} groups")))?;
    }
    Ok(())
}

pub(super) async fn a_replay_is_through_when_every_group_has_its_part(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let replays = harness.replays();
    let Some(mut spread) = Spread::new(harness, &[("all", Match::default())])
        .await?
        .filter(|_| replays)
    else {
        return Ok(());
    };
    let mut written = events(48, 24);
    written.extend((0..12).map(|_| event("shop.orders", None)));
    spread.commit(&written).await?;
    for (reader, _) in &mut spread.read_all(0).await? {
        reader.settle(&[]).await?;
    }
    let request = ReplayRequest {
        relay: RELAY.to_owned(),
        route: "all".to_owned(),
        from_sequence: Some(1),
        ..ReplayRequest::default()
    };
    let asked = spread.subject.operations.replay(&request).await;
    let asked = asked.map_err(|error| works("asking for a replay", &error))?;
    let mut came = Vec::new();
    // Half of the groups have had their part when the number changes; some of that may come again.
    for (count, groups) in [(GROUPS, 0..2), (3, 0..2), (3, 2..3)] {
        if spread.count != count {
            spread.release_all().await?;
            spread.count = count;
            spread.claim_all().await?;
        }
        for (lease, share) in spread
            .groups(0)
            .filter(|(lease, _)| groups.contains(&lease.group.index))
        {
            let mut reader = spread.redeliveries(lease, &share).await?;
            came.extend(reader.rest().await?);
            reader.settle(&[]).await?;
            // A look that finds nothing more records that the part is through.
            came.extend(reader.rest().await?);
        }
        let through = spread.left(asked.id).await?.is_none();
        if through != (groups.end == count) {
            return Err(Wrong::new(
                "a replay is through when every group is",
                format!("after {groups:?}: {through}"),
            ));
        }
    }
    let mut first = BTreeSet::new();
    came.retain(|sourced: &Sourced| first.insert(sourced.event.id));
    exactly(&written, &came).map_err(|wrong| wrong.when("by a replay over all groups"))
}

pub(super) async fn what_operators_ask_reaches_every_group(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let Some(spread) = Spread::new(harness, &[("all", Match::default())]).await? else {
        return Ok(());
    };
    let operations = &spread.subject.operations;
    spread.commit(&events(40, 20)).await?;
    let expect = async |paused: bool, halted: Option<&str>| {
        for lease in &spread.leases {
            let controls = spread.outbox().renew(lease, LONG, &[]).await;
            let controls = controls.map_err(|error| works("renewing", &error))?;
            if controls.len() != 1 || controls[0].paused != paused || controls[0].halted.as_deref() != halted {
                let seen = format!("group {}: {controls:?}", lease.group);
                return Err(Wrong::new(
                    format!("every group is told once: paused {paused}, halted {halted:?}"),
                    seen,
                ));
            }
        }
        Ok(())
    };
    let paused = operations.set_paused(RELAY, Some("all"), true).await;
    if paused.map_err(|error| works("pausing", &error))? != 1 {
        return Err(Wrong::new(
            "a route is one, whatever its groups",
            "several were paused".to_owned(),
        ));
    }
    expect(true, None).await?;
    operations
        .set_paused(RELAY, None, false)
        .await
        .map_err(|error| works("resuming", &error))?;
    let halted = spread.outbox().halt(&spread.leases[2], "all", "poison").await;
    halted.map_err(|error| works("halting in one group", &error))?;
    expect(false, Some("poison")).await?;
    operations
        .set_paused(RELAY, None, false)
        .await
        .map_err(|error| works("resuming", &error))?;
    expect(false, None).await?;
    let status = operations
        .status()
        .await
        .map_err(|error| works("asking for the status", &error))?;
    let routes: Vec<_> = status.routes.iter().filter(|route| route.relay == RELAY).collect();
    let relay = status.relays.iter().find(|relay| relay.name == RELAY);
    let groups = relay.map_or(0, |relay| {
        relay.groups.iter().filter(|group| group.holder.is_some()).count()
    });
    if routes.len() != 1 || routes[0].unsettled != Some(40) || groups != GROUPS as usize {
        let seen = format!("{routes:?} and {relay:?}");
        return Err(Wrong::new(
            "the status shows a route once, with all its events, and who holds each group",
            seen,
        ));
    }
    Ok(())
}

//! Topics: whether they are there, how many partitions they have, and how much they take. Nothing is produced to a topic
//! before that is known, since the client would fail such records one by one, behind the back of order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use onewrite_core::SinkError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::said;
use super::connector::Link;
use super::flight::Warmth;
use super::limits::{DESCRIBE, METADATA_TRY, REFUSAL_HOLDS, TOPIC_AGE, TOPIC_GRACE, TOPIC_LIMIT_AGE, TOPIC_LOOK_PAUSE};
use super::native::{Resource, TopicHandle, configuration};

/// A topic that is there.
pub(super) struct Topic {
    /// For producing.
    pub handle: TopicHandle,
    /// How many partitions it has.
    pub partitions: u32,
    /// Which of them have acknowledged anything.
    pub warmth: Warmth,
    /// Its `max.message.bytes`, or the greatest number where the broker does not tell.
    limit: AtomicUsize,
    /// The second in which that was asked.
    looked_at: AtomicU32,
    looking: AtomicBool,
    unkeyed: AtomicU32,
}

/// What can be said of a topic now.
pub(super) enum Standing {
    /// It is there.
    Ready(Arc<Topic>),
    /// It is being looked for; a change will be announced.
    Sought,
    /// It is not to be had, for this reason.
    Refused(SinkError),
}

/// The topics of one producer.
#[derive(Default)]
pub(super) struct Topics {
    known: Mutex<HashMap<Arc<str>, Known>>,
}

enum Known {
    Ready(Arc<Topic>),
    Sought,
    /// The look came to nothing, and what was said; asked again from then on.
    Unclear(String, Instant),
}

/// What a look at a topic found.
enum Found {
    There { partitions: u32, limit: usize },
    Missing,
    Refused(String),
    Unclear(String),
}

impl Topics {
    /// What can be said of a topic; looks for it where nothing can, or where what is known is old.
    pub fn standing(self: &Arc<Self>, link: &Arc<Link>, name: &Arc<str>) -> Standing {
        if let Some(words) = link.lessons.refusal(name) {
            return Standing::Refused(SinkError::park(words));
        }
        let mut known = self.known();
        match known.get(name) {
            Some(Known::Ready(topic)) => {
                if link.flight().second() > topic.looked_at.load(Ordering::Relaxed) + TOPIC_AGE.as_secs() as u32 {
                    topic.look_anew(link, name);
                }
                Standing::Ready(Arc::clone(topic))
            }
            Some(Known::Sought) => Standing::Sought,
            Some(Known::Unclear(words, until)) if Instant::now() < *until => {
                Standing::Refused(SinkError::retry(words.clone()))
            }
            Some(Known::Unclear(..)) | None => {
                known.insert(Arc::clone(name), Known::Sought);
                tokio::spawn(seek(Arc::clone(self), Arc::clone(link), Arc::clone(name)));
                Standing::Sought
            }
        }
    }

    /// Gives all topics back to the client.
    pub fn clear(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    /// The most that the topic takes in one request, in bytes.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// The partition for the next batch of events without a key: each in turn.
    pub fn next_partition(&self) -> u32 {
        self.unkeyed.fetch_add(1, Ordering::Relaxed) % self.partitions
    }

    /// Whether the limit is fresh enough to refuse an event by. If not, it is asked for, and a change will be announced.
    pub fn limit_is_fresh(self: &Arc<Self>, link: &Arc<Link>, name: &Arc<str>) -> bool {
        let asked = self.looked_at.load(Ordering::Relaxed);
        let fresh = link.flight().second() <= asked + TOPIC_LIMIT_AGE.as_secs() as u32;
        if !fresh {
            self.look_anew(link, name);
        }
        fresh
    }

    /// Looks at the topic again, one look at a time. What is known holds meanwhile, and also when the look fails.
    fn look_anew(self: &Arc<Self>, link: &Arc<Link>, name: &Arc<str>) {
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (topic, link, name) = (Arc::clone(self), Arc::clone(link), Arc::clone(name));
        tokio::spawn(async move {
            if let Found::There { partitions, limit } = look(&link, &name).await {
                topic.limit.store(limit, Ordering::Relaxed);
                if partitions != topic.partitions {
                    link.flight().retire(format!(
                        "topic {name} has {partitions} partitions by now; the change is made with nothing under way"
                    ));
                }
            }
            topic.looked_at.store(link.flight().second(), Ordering::Relaxed);
            topic.looking.store(false, Ordering::Release);
            link.flight().announce();
        });
    }
}

/// The partition that Java's client gives a key: murmur2, made positive, modulo the number of partitions.
pub(super) fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

fn murmur2(data: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    // The seed of Java's client, and its length as it takes it in.
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut part = u32::from_le_bytes(*word).wrapping_mul(MIX);
        part = (part ^ part >> 24).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ part;
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MIX);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(MIX);
    hash ^ hash >> 15
}

async fn seek(topics: Arc<Topics>, link: Arc<Link>, name: Arc<str>) {
    let found = look(&link, &name).await;
    let known = match found {
        Found::There { partitions, limit } => match TopicHandle::new(Arc::clone(&link), &name) {
            Some(handle) => Some(Known::Ready(Arc::new(Topic {
                handle,
                partitions,
                warmth: Warmth::cold(partitions as usize),
                limit: AtomicUsize::new(limit),
                looked_at: AtomicU32::new(link.flight().second()),
                looking: AtomicBool::new(false),
                unkeyed: AtomicU32::new(0),
            }))),
            None => {
                link.lessons
                    .refuse(&name, format!("topic {name}: the client does not take this name"));
                None
            }
        },
        Found::Refused(words) => {
            link.lessons.refuse(&name, words);
            None
        }
        Found::Missing => None,
        Found::Unclear(words) => Some(Known::Unclear(words, Instant::now() + REFUSAL_HOLDS)),
    };
    let mut topics = topics.known();
    match known {
        Some(known) => topics.insert(name, known),
        None => topics.remove(&name),
    };
    drop(topics);
    link.flight().announce();
}

/// Asks the brokers about a topic until it is there, is refused, or was missing for [`TOPIC_GRACE`]. Asking makes brokers
/// create it that are allowed to.
async fn look(link: &Arc<Link>, name: &Arc<str>) -> Found {
    let deadline = Instant::now() + TOPIC_GRACE;
    let partitions = loop {
        let found = match on_client(link, name, |link, name| partitions(&link, &name)).await {
            Ok(partitions) => break partitions,
            Err(found) => found,
        };
        if let Some(reason) = link.flight().broken() {
            return Found::Unclear(reason.to_owned());
        }
        let over = Instant::now() >= deadline;
        match found {
            Found::Missing if over => {
                return Found::Refused(format!(
                    "topic {name}: Broker: Unknown topic or partition, for {TOPIC_GRACE:?}; create the topic, or let the \
                     brokers do so (auto.create.topics.enable), and retry the event"
                ));
            }
            Found::Missing | Found::Unclear(_) if !over => tokio::time::sleep(TOPIC_LOOK_PAUSE).await,
            found => return found,
        }
    };
    let described = on_client(link, name, |link, name| {
        configuration(link.client(), Resource::Topic(&name), DESCRIBE)
    })
    .await;
    let limit = described
        .ok()
        .and_then(|entries| entries.get("max.message.bytes")?.parse().ok())
        .unwrap_or(usize::MAX);
    link.fit(name, limit);
    Found::There { partitions, limit }
}

/// The number of partitions, or what is the matter with the topic.
fn partitions(link: &Link, name: &str) -> Result<u32, Found> {
    let metadata = link
        .client()
        .fetch_metadata(Some(name), METADATA_TRY)
        .map_err(|error| {
            let said = match error {
                KafkaError::MetadataFetch(code) => said(code),
                other => other.to_string(),
            };
            Found::Unclear(format!("topic {name}: {}", link.troubles().words_or(&said)))
        })?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        return Err(Found::Missing);
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        None if topic.partitions().is_empty() => Err(Found::Missing),
        None => Ok(topic.partitions().len() as u32),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Err(Found::Missing),
        Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => Err(Found::Refused(format!(
            "topic {name}: {}; grant this client Describe and Write on the topic",
            said(code)
        ))),
        Some(code @ RDKafkaErrorCode::InvalidTopic) => Err(Found::Refused(format!("topic {name}: {}", said(code)))),
        Some(code) => Err(Found::Unclear(format!("topic {name}: {}", said(code)))),
    }
}

/// Runs a call of the client, which blocks, where it may.
async fn on_client<T: Send + 'static, E: Send + 'static + From<Stopped>>(
    link: &Arc<Link>,
    name: &Arc<str>,
    call: impl FnOnce(Arc<Link>, Arc<str>) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let (link, name) = (Arc::clone(link), Arc::clone(name));
    tokio::task::spawn_blocking(move || call(link, name))
        .await
        .unwrap_or_else(|_| Err(E::from(Stopped)))
}

/// The runtime is shutting down.
struct Stopped;

impl From<Stopped> for Found {
    fn from(_: Stopped) -> Self {
        Self::Unclear("the program is stopping".into())
    }
}

impl From<Stopped> for super::native::ConfigurationError {
    fn from(_: Stopped) -> Self {
        Self {
            code: RDKafkaErrorCode::Interrupted,
            words: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // From the tests of Apache Kafka's own client (UtilsTest.testMurmur2).
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }
}

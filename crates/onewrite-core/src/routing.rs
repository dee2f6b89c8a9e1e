//! Which route takes an event: the first whose pattern matches.

use std::fmt;

/// A text pattern: `*` stands for any run of characters, also none and also dots; everything else stands for itself.
/// Letters are told apart by case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern's text where it has no `*`, and so names exactly one thing.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }

    /// Whether it matches every text.
    pub fn matches_all(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = self.0.rsplit_once('*').map(|(_, last)| last) else {
            return rest.is_empty();
        };
        let Some(mut middle) = rest.strip_suffix(last) else {
            return false;
        };
        // Taking each inner part at its first place leaves the most room for the parts after it.
        let inner = self.0.matches('*').count() - 1;
        for part in parts.take(inner) {
            let Some(at) = middle.find(part) else { return false };
            middle = &middle[at + part.len()..];
        }
        true
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a route asks of an event: all that is set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// The topic's pattern; `None` takes every topic.
    pub topic: Option<Pattern>,
    /// The type's pattern; `None` takes every type and events without one. A set pattern takes no event without a type.
    pub event_type: Option<Pattern>,
}

impl Match {
    /// Whether an event of this topic and type matches.
    pub fn matches(&self, topic: &str, event_type: Option<&str>) -> bool {
        self.topic.as_ref().is_none_or(|pattern| pattern.matches(topic))
            && self
                .event_type
                .as_ref()
                .is_none_or(|pattern| event_type.is_some_and(|text| pattern.matches(text)))
    }

    /// Whether every event matches.
    pub fn matches_all(&self) -> bool {
        self.topic.as_ref().is_none_or(Pattern::matches_all) && self.event_type.is_none()
    }

    /// Whether it asks for events of `onewrite verify` by name.
    fn is_of_verify(&self) -> bool {
        let topic = self.topic.as_ref();
        topic.is_some_and(|pattern| pattern.as_str().starts_with(VERIFY_PREFIX))
    }

    /// What it must leave to `onewrite verify`, if it would take any of that.
    fn passed_over(&self) -> Option<Self> {
        let text = self.topic.as_ref().map_or("*", Pattern::as_str);
        let head = text.split('*').next().unwrap_or_default();
        let may_match = text.contains('*') && VERIFY_PREFIX.starts_with(head) && !self.is_of_verify();
        may_match.then(|| Self {
            topic: Some(Pattern::new(format!("{VERIFY_PREFIX}*"))),
            event_type: None,
        })
    }
}

/// What the topics of `onewrite verify` begin with. A route takes such events only where its own topic begins so: those of every
/// other relay pass them over as they pass over what belongs to other routes, without delivering, parking or counting them.
pub const VERIFY_PREFIX: &str = "onewrite.verify.";

/// The name of the route that takes what no other takes, and parks it.
pub const UNROUTED: &str = "unrouted";

/// A slice of the key space: one of `count` groups of lanes. The database that holds the outbox decides by an event's key (by its
/// id where it has none) in which of them it is, the same for every route, so that the events of a key are always in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Which one, from 0 on.
    pub index: u32,
    /// How many there are, at least 1.
    pub count: u32,
}

impl Group {
    /// The one group of a relay that is not spread over processes: it holds every event.
    pub const ALL: Self = Self { index: 0, count: 1 };

    /// Whether it is the only one, so that nothing need be compared.
    pub fn is_all(self) -> bool {
        self.count == 1
    }

    /// Whether it holds the events of this hash.
    pub fn holds(self, hash: u64) -> bool {
        hash % u64::from(self.count) == u64::from(self.index)
    }

    /// The groups of a relay that has so many.
    pub fn each(count: u32) -> impl Iterator<Item = Self> {
        (0..count).map(move |index| Self { index, count })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", self.index, self.count)
    }
}

/// A route as a source sees it: what it takes, less what the routes before it take; of that, what is in one group of lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The relay's name.
    pub relay: String,
    /// The route's name.
    pub route: String,
    /// The group of lanes whose events it takes.
    pub group: Group,
    /// What the route takes.
    pub wanted: Match,
    /// What the routes before it take first, and what is [left to `onewrite verify`](VERIFY_PREFIX).
    pub taken: Vec<Match>,
}

impl Share {
    /// The same share of another group.
    #[must_use]
    pub fn in_group(&self, group: Group) -> Self {
        Self { group, ..self.clone() }
    }

    /// Whether this route takes an event of this topic and type, if it is in its group.
    pub fn takes(&self, topic: &str, event_type: Option<&str>) -> bool {
        self.wanted.matches(topic, event_type) && !self.taken.iter().any(|taken| taken.matches(topic, event_type))
    }

    /// Whether it takes every event that an application writes.
    pub fn takes_all(&self) -> bool {
        self.wanted.matches_all() && self.taken_by_routes().next().is_none() && self.group.is_all()
    }

    /// What the routes before it take first.
    fn taken_by_routes(&self) -> impl Iterator<Item = &Match> {
        self.taken.iter().filter(|taken| !taken.is_of_verify())
    }

    /// A text that is the same exactly when the route takes the same events; a change means that the recorded progress
    /// says nothing about some of the events the route now takes.
    pub fn definition(&self) -> String {
        let show = |wanted: &Match| {
            let text = |pattern: &Option<Pattern>| pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
            serde_json::json!({"topic": text(&wanted.topic), "type": text(&wanted.event_type)})
        };
        let mut definition = serde_json::json!({"takes": show(&self.wanted), "after": self.taken_by_routes().map(show).collect::<Vec<_>>()});
        if !self.group.is_all() {
            definition["group"] = serde_json::json!({"index": self.group.index, "count": self.group.count});
        }
        definition.to_string()
    }

    /// The share that [`definition`](Self::definition) describes; `None` when the text is no such description.
    pub fn from_definition(relay: &str, route: &str, definition: &str) -> Option<Self> {
        let read = |json: &serde_json::Value| {
            let pattern = |name: &str| match json.get(name)? {
                serde_json::Value::Null => Some(None),
                text => Some(Some(Pattern::new(text.as_str()?))),
            };
            Some(Match {
                topic: pattern("topic")?,
                event_type: pattern("type")?,
            })
        };
        let json: serde_json::Value = serde_json::from_str(definition).ok()?;
        let group = match json.get("group") {
            None => Group::ALL,
            Some(group) => {
                let number = |name: &str| group.get(name)?.as_u64()?.try_into().ok();
                let (index, count) = (number("index")?, number("count")?);
                (index < count).then_some(Group { index, count })?
            }
        };
        let taken = json.get("after")?.as_array()?.iter().map(read);
        let share = Self::new(relay, route, read(json.get("takes")?)?, taken.collect::<Option<_>>()?);
        Some(Self { group, ..share })
    }

    /// What a route takes of what the routes before it leave: the one place where events of `onewrite verify` are kept from others.
    fn new(relay: &str, route: &str, wanted: Match, mut taken: Vec<Match>) -> Self {
        taken.extend(wanted.passed_over());
        Self {
            relay: relay.to_owned(),
            route: route.to_owned(),
            group: Group::ALL,
            wanted,
            taken,
        }
    }
}

/// The shares of a relay's routes in their order over all groups, and last that of [`UNROUTED`] unless some route takes everything left, or the
/// relay is one of `onewrite verify`, which has nothing to do with the events of applications.
pub fn shares(relay: &str, routes: &[(String, Match)]) -> Vec<Share> {
    let share = |route: &str, wanted: &Match, before: &[(String, Match)]| {
        let taken = before.iter().map(|(_, taken)| taken.clone()).collect();
        Share::new(relay, route, wanted.clone(), taken)
    };
    let mut shares: Vec<Share> = routes
        .iter()
        .enumerate()
        .map(|(at, (name, wanted))| share(name, wanted, &routes[..at]))
        .collect();
    let of_verify = !routes.is_empty() && routes.iter().all(|(_, wanted)| wanted.is_of_verify());
    if !of_verify && !routes.iter().any(|(_, wanted)| wanted.matches_all()) {
        shares.push(share(UNROUTED, &Match::default(), routes));
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).matches(text)
    }

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, text) in [
            ("shop.*", "shop.orders"),
            ("*", ""),
            ("*", "a.b"),
            ("a*c", "abc"),
            ("a*c", "ac"),
            ("*b*", "abc"),
            ("a", "a"),
            ("a*b*c", "aXbYbZc"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} should match {text}");
        }
        for (pattern, text) in [
            ("shop.*", "Shop.orders"),
            ("a", "ab"),
            ("a*a", "a"),
            ("", "a"),
            ("a*b*c", "acb"),
            ("*ab*b", "ab"),
        ] {
            assert!(!matches(pattern, text), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn a_share_can_be_read_from_its_definition() {
        let wanted = |topic: &str, event_type: Option<&str>| Match {
            topic: Some(Pattern::new(topic)),
            event_type: event_type.map(Pattern::new),
        };
        let routes = [
            ("a".to_owned(), wanted("x \"*\\", Some("T*"))),
            ("b".to_owned(), wanted("*", None)),
        ];
        for share in shares("relay", &routes) {
            for share in [share.in_group(Group { index: 2, count: 3 }), share] {
                let read = Share::from_definition(&share.relay, &share.route, &share.definition());
                assert_eq!(read, Some(share));
            }
        }
        let group =
            |group: &str| format!(r#"{{"takes": {{"topic": null, "type": null}}, "after": [], "group": {group}}}"#);
        for text in [
            "",
            "{}",
            "[]",
            r#"{"takes": {"topic": 1, "type": null}, "after": []}"#,
            &group("{}"),
            &group(r#"{"index": 2, "count": 2}"#),
        ] {
            assert_eq!(Share::from_definition("relay", "a", text), None, "{text}");
        }
    }

    #[test]
    fn events_of_verify_are_passed_over_by_all_but_its_own_relay() {
        let topic = |text: &str| Match {
            topic: Some(Pattern::new(text)),
            event_type: None,
        };
        let own = "onewrite.verify.run";
        for patterns in [
            vec!["*"],
            vec!["shop.*"],
            vec!["on*", "*run"],
            vec!["onewrite.verify.*x", "*"],
        ] {
            let routes: Vec<_> = patterns.iter().map(|text| ((*text).to_owned(), topic(text))).collect();
            let taking: Vec<_> = shares("shop", &routes)
                .into_iter()
                .filter(|share| share.takes(own, None))
                .collect();
            assert!(taking.is_empty(), "{taking:?}");
        }
        let of_verify = shares("shop-verify-run", &[("run".to_owned(), topic(own))]);
        assert_eq!(of_verify.len(), 1, "it must not park what is not its own");
        assert!(of_verify[0].takes(own, None) && !of_verify[0].takes("shop.orders", None));
    }

    #[test]
    fn what_is_left_to_verify_is_no_part_of_a_definition() {
        let everything = &shares("shop", &[("all".to_owned(), Match::default())])[0];
        assert!(everything.takes_all() && !everything.takes("onewrite.verify.run", None));
        assert_eq!(
            everything.definition(),
            r#"{"after":[],"takes":{"topic":null,"type":null}}"#
        );
    }

    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|from| naive(rest, &text[from..])),
            Some((byte, rest)) => text
                .split_first()
                .is_some_and(|(first, text)| first == byte && naive(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_like_the_plain_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn every_topic_has_exactly_one_share(
            patterns in prop::collection::vec("[ab*]{1,4}", 0..5), topic in "[ab]{1,5}"
        ) {
            let routes: Vec<_> = patterns.iter().enumerate()
                .map(|(at, text)| (format!("r{at}"), Match { topic: Some(Pattern::new(text.as_str())), event_type: None }))
                .collect();
            let taking = shares("relay", &routes).iter().filter(|share| share.takes(&topic, None)).count();
            prop_assert_eq!(taking, 1);
        }
    }
}

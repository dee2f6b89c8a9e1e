//! The chain of transforms: the outbox event router in it becomes `[source.router]`, and the rest is told.

use super::{Translator, Untranslatable};
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::given::{Given, Kind, Setting};
use crate::commands::import_debezium::report::Group;
use crate::commands::import_debezium::verdicts::{Becomes, ROUTER_DEFAULTS, verdict};

/// The classes that matter, without their packages.
const ROUTER: &str = "EventRouter";
const DECODER: &str = "DecodeLogicalDecodingMessageContent";
/// Leaves every record alone that is no change event, and so what the router makes.
const UNWRAP: &str = "ExtractNewRecordState";

/// What the chain comes to.
pub(super) struct Chain<'g> {
    /// The alias of the router.
    router: &'g str,
    /// The alias of the transform that makes events of logical messages, where there is one.
    pub decoded: Option<&'g str>,
    /// The pattern of the topics that the router's predicate takes.
    pub topics: Option<&'g str>,
}

/// Finds the router.
pub(super) fn read(given: &Given) -> Result<Chain<'_>, Untranslatable> {
    let aliases = given.list("transforms");
    let of_class = |wanted: &str| {
        aliases
            .iter()
            .find(|alias| class(given, alias) == Some(wanted))
            .copied()
    };
    let Some(router) = of_class(ROUTER) else {
        return Err(Untranslatable {
            words: "there is no outbox event router (io.debezium.transforms.outbox.EventRouter) among its transforms"
                .to_owned(),
            help: "Onewrite relays outboxes; change events of other tables have no counterpart",
        });
    };
    let pattern = given
        .literal(&format!("transforms.{router}.predicate"))
        .and_then(|predicate| {
            let class = given.literal(&format!("predicates.{predicate}.type"))?;
            let by_topic = class.ends_with("TopicNameMatches");
            given
                .literal(&format!("predicates.{predicate}.pattern"))
                .filter(|_| by_topic)
        });
    Ok(Chain {
        router,
        decoded: of_class(DECODER),
        topics: pattern,
    })
}

/// `[source.router]`, and what is to be told of the whole chain.
pub(super) fn section(translator: &mut Translator, chain: &Chain) -> Section {
    let given = translator.given;
    let mut section = Section::new(
        "[source.router]",
        "The router's options under Debezium's own names; what is not here is as in Debezium without it.",
    );
    let aliases = given.list("transforms");
    for (rest, setting) in given.below("transforms.") {
        let (alias, option) = rest.split_once('.').unwrap_or((rest, ""));
        if !aliases.contains(&alias) {
            let words = format!("`{alias}` does not stand in `transforms`, so Debezium does not use it either");
            translator.tell(setting, Group::NotNeeded, words);
        } else if alias == chain.router {
            router_option(translator, &mut section, option, setting);
        } else {
            other_option(translator, chain, alias, option, setting);
        }
    }
    predicates(translator, chain);
    section
}

/// The class of a transform, without its package.
fn class<'g>(given: &'g Given, alias: &str) -> Option<&'g str> {
    let class = given.literal(&format!("transforms.{alias}.type"))?;
    // An inner class such as `ReplaceField$Value` is one way of the outer.
    class
        .rsplit('.')
        .next()
        .map(|class| class.split('$').next().unwrap_or(class))
}

fn router_option(translator: &mut Translator, section: &mut Section, option: &str, setting: &Setting) {
    let in_router = verdict(&setting.name).is_some_and(|verdict| verdict.becomes == Becomes::Translated);
    if !in_router || option == "type" {
        return;
    }
    let default = ROUTER_DEFAULTS
        .iter()
        .find(|(name, _)| *name == option)
        .map(|(_, default)| *default);
    if setting
        .value
        .literal()
        .is_some_and(|value| Some(value) == default || value.is_empty())
    {
        return translator.tell(setting, Group::NotNeeded, "what holds without it");
    }
    let mut value = translator.text(setting);
    let by_server = translator.given.kind == Kind::Server;
    if by_server && option == "table.fields.additional.placement" {
        let placed = |item: &&str| {
            !item
                .split(':')
                .nth(1)
                .is_some_and(|place| place.trim().eq_ignore_ascii_case("partition"))
        };
        let kept: Vec<&str> = value.split(',').filter(placed).collect();
        if kept.len() < value.split(',').count() {
            let words = "the column for the partition is left out: Debezium Server does not hand it on to Kafka, and records \
                         keep going to the partitions of their keys";
            translator.tell(setting, Group::Translated, words);
            value = kept.join(",");
        }
        if value.is_empty() {
            return;
        }
    }
    section.put(option, value);
}

fn other_option(translator: &mut Translator, chain: &Chain, alias: &str, option: &str, setting: &Setting) {
    let class = class(translator.given, alias).unwrap_or("a transform without a type");
    let is_type = option == "type";
    let (group, text) = match class {
        DECODER if is_type => (Group::Translated, "`messages` in `[source]`".to_owned()),
        DECODER if chain.decoded == Some(alias) => return,
        UNWRAP if is_type => (
            Group::NotNeeded,
            format!("{UNWRAP} leaves the router's records as they are"),
        ),
        UNWRAP => (Group::NotNeeded, format!("an option of {UNWRAP}")),
        _ if is_type => (Group::NoCounterpart, without_counterpart(class)),
        _ => (Group::NoCounterpart, format!("an option of {class}")),
    };
    translator.tell(setting, group, text);
}

/// What the lack of a transform means.
fn without_counterpart(class: &str) -> String {
    let instead = match class {
        "RegexRouter" | "ByLogicalTableRouter" | "TopicRegexRouter" | "TimestampRouter" | "ContentBasedRouter" => {
            "; `route.topic.regex` and `route.topic.replacement` of the router can name topics"
        }
        "InsertHeader" | "HeaderFrom" | "HeaderToValue" | "DropHeaders" => {
            "; `table.fields.additional.placement` of the router makes headers of columns"
        }
        "Filter" => "; `match` in `[[routes]]` chooses events by topic and type",
        "PartitionRouting" => "; `table.fields.additional.placement` of the router can place a column as the partition",
        _ => "",
    };
    format!("{class} is not applied: records are delivered as the router makes them{instead}")
}

/// Of predicates only those matter that keep records of the outbox from the router.
fn predicates(translator: &mut Translator, chain: &Chain) {
    let given = translator.given;
    let Some(setting) = given.get(&format!("transforms.{}.predicate", chain.router)) else {
        return;
    };
    let name = setting.value.literal().unwrap_or_default();
    let class = given.literal(&format!("predicates.{name}.type")).unwrap_or_default();
    let by_kind = class.ends_with("TopicNameMatches") || class.ends_with("RecordIsTombstone");
    if !by_kind {
        let words = "it is neither about topics nor about tombstones; Onewrite's router takes every row of the outbox";
        translator.tell(setting, Group::NoCounterpart, words);
    }
}

//! The name of a schema's subject.

use onewrite_core::Event;
use onewrite_core::error::SinkError;

use super::settings::Naming;
use crate::format::Outgoing;

/// The subject of an event's schema. `record` is the name of the record, where the schema is known beforehand.
///
/// # Errors
/// To park an event that lacks what the subject is named after.
pub(super) fn of(naming: &Naming, outgoing: &Outgoing<'_>, record: Option<&str>) -> Result<String, SinkError> {
    let topic = &**outgoing.topic;
    match naming {
        Naming::Topic => Ok(format!("{topic}-value")),
        Naming::Record => Ok(name_of(record, outgoing.event)?.to_owned()),
        Naming::TopicRecord => Ok(format!("{topic}-{}", name_of(record, outgoing.event)?)),
        Naming::Template(template) => {
            let subject = template.address_at(outgoing.event, topic)?.into_owned();
            // Neither can stand in the path of an address.
            if matches!(&*subject, "" | "." | "..") {
                let words = format!("the subject of the schema would be {subject:?} for this event, which none can be");
                return Err(SinkError::park(words));
            }
            Ok(subject)
        }
    }
}

/// The subjects for topics, as far as they depend on nothing else.
pub(super) fn for_topics(naming: &Naming, topics: &[String], record: Option<&str>) -> Vec<String> {
    let mut subjects = match naming {
        Naming::Topic => topics.iter().map(|topic| format!("{topic}-value")).collect(),
        Naming::Record => record.map(str::to_owned).into_iter().collect(),
        Naming::TopicRecord => {
            let names = record.into_iter();
            names
                .flat_map(|name| topics.iter().map(move |topic| format!("{topic}-{name}")))
                .collect()
        }
        Naming::Template(template) => template.for_topics(topics),
    };
    subjects.sort();
    subjects.dedup();
    subjects
}

fn name_of<'a>(record: Option<&'a str>, event: &'a Event) -> Result<&'a str, SinkError> {
    let own = event.event_type.as_deref().filter(|name| !name.is_empty());
    record.or(own).ok_or_else(|| {
        SinkError::park(
            "the subject is named after the record, which is the event's type, and the event has none; give it one, or \
             configure schema_file or subject",
        )
    })
}

//! The options of contracts that are not Onewrite's own, checked against each other.

use std::collections::BTreeMap;

use onewrite_core::options::{Options, nearest};
use onewrite_core::{StoreError, StoreFailure};

use super::mapping::ROLES;
use super::name::{TableName, check};
use super::routing::RouterSettings;
use super::template::Template;

/// Options that mean nothing to Onewrite's own table.
const FOREIGN: &[&str] = &[
    "table",
    "columns",
    "topic",
    "settle",
    "mark_column",
    "mark_value",
    "unmarked_value",
    "order_by",
    "messages",
    "router",
    "converters",
    "publication",
];

/// Whose table the events are in, where it is not Onewrite's own.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    /// The section of the options, for errors.
    pub section: String,
    /// What the contract is called.
    pub contract: &'static str,
    /// Where the events are.
    pub place: Place,
    /// How they become events.
    pub shape: Shape,
    /// What says whether an event is settled.
    pub truth: Truth,
    /// The publication that the log is read through, where it is named.
    pub publication: Option<String>,
}

/// Where the events are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Rows of a table.
    Table(TableName),
    /// Logical messages of these prefixes.
    Messages(Vec<String>),
}

/// How rows or messages become events.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// By columns.
    Columns {
        /// Names of columns by what they are.
        roles: BTreeMap<String, String>,
        /// The topic, where no column holds it.
        topic: Option<Template>,
    },
    /// As Debezium's outbox event router makes them.
    Debezium(Box<RouterSettings>),
}

/// What says whether an event is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// The rows: a settled one is deleted or marked.
    Rows {
        /// What is done to it.
        settling: Settling,
        /// The column whose order is the rows' order, where it is named.
        order_by: Option<String>,
    },
    /// The log, by the recorded position in it.
    Log,
}

/// What is done to a settled row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// It is deleted.
    Delete,
    /// It gets a mark.
    Mark {
        /// The column that holds it.
        column: String,
        /// What the column holds then, where its type does not say it.
        marked: Option<String>,
        /// What it holds before that, where its type does not say it.
        unmarked: Option<String>,
    },
}

impl Foreign {
    /// Reads the options; `None` where the table is Onewrite's own.
    ///
    /// # Errors
    /// `Refused`, naming the first option that does not fit the others.
    pub fn from_options(options: &Options) -> Result<Option<Self>, StoreError> {
        let reading = Reading { options };
        let foreign = match options.text("contract") {
            Some("columns") => reading.columns()?,
            Some("debezium") => reading.debezium()?,
            _ => {
                reading.none_of(FOREIGN, "it is for the contracts \"columns\" and \"debezium\"")?;
                return Ok(None);
            }
        };
        if options
            .duration("retention")
            .is_some_and(|retention| !retention.is_zero())
        {
            let words = "it is for the contract \"native\"; how long rows of other tables are kept is up to whoever deletes them";
            return Err(reading.wrong("retention", words));
        }
        Ok(Some(foreign))
    }

    /// Whether rows are polled and settled one by one.
    pub fn is_rows(&self) -> bool {
        matches!(self.truth, Truth::Rows { .. })
    }

    /// Why nothing can be replayed.
    pub fn no_replay(&self) -> StoreError {
        let words = format!(
            "nothing is kept of {} that could be replayed: with the contract {:?} an event is gone for Onewrite once it is settled; \
             write it anew, under another id if consumers are to take it a second time",
            self.place_name(),
            self.contract
        );
        StoreError::new(StoreFailure::Refused, words)
    }

    /// The table, or the messages, for people.
    pub fn place_name(&self) -> String {
        match &self.place {
            Place::Table(table) => format!("table {table}"),
            Place::Messages(prefixes) => format!("messages {}", prefixes.join(", ")),
        }
    }
}

struct Reading<'a> {
    options: &'a Options,
}

impl Reading<'_> {
    fn columns(&self) -> Result<Foreign, StoreError> {
        self.none_of(
            &["messages", "router", "converters"],
            "it is for the contract \"debezium\"",
        )?;
        let Some(table) = self.table()? else {
            return Err(self.wrong(
                "table",
                "missing; the contract \"columns\" needs a table, such as \"public.outbox_messages\"",
            ));
        };
        let roles = self.map("columns");
        for (role, column) in &roles {
            if !ROLES.contains(&role.as_str()) {
                let meant = match nearest(role, ROLES.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("expected one of {}", ROLES.join(", ")),
                };
                return Err(self.wrong(
                    &format!("columns.{role}"),
                    &format!("an event has no {role:?}; {meant}"),
                ));
            }
            check(column).map_err(|words| self.wrong(&format!("columns.{role}"), &words))?;
        }
        for role in ["id", "payload"] {
            if !roles.contains_key(role) {
                return Err(self.wrong(
                    "columns",
                    &format!("{role} is missing; name the column that holds it, as {role} = \"…\""),
                ));
            }
        }
        let topic = self.options.text("topic");
        if topic.is_some() == roles.contains_key("topic") {
            let words = match topic {
                Some(_) => "columns.topic is set as well; keep one of the two",
                None => "missing; give a topic such as \"shop.{aggregate_type}\", or name its column as columns.topic",
            };
            return Err(self.wrong("topic", words));
        }
        let topic = topic.map(|text| Template::parse(text).map_err(|words| self.wrong("topic", &words)));
        Ok(Foreign {
            section: self.options.section().to_owned(),
            contract: "columns",
            place: Place::Table(table),
            shape: Shape::Columns {
                roles,
                topic: topic.transpose()?,
            },
            truth: self.truth()?,
            publication: self.publication()?,
        })
    }

    fn debezium(&self) -> Result<Foreign, StoreError> {
        self.none_of(
            &["columns", "topic"],
            "it is for the contract \"columns\"; the router has options of its own for it",
        )?;
        let prefixes = self.options.list("messages");
        for prefix in prefixes {
            let words = match prefix.as_str() {
                "" => "a prefix is empty",
                "onewrite" => "\"onewrite\" is the prefix of Onewrite's own messages; give the events another",
                _ => continue,
            };
            return Err(self.wrong("messages", words));
        }
        let place = match (self.table()?, prefixes.is_empty()) {
            (Some(table), true) => Place::Table(table),
            (None, false) => Place::Messages(prefixes.to_vec()),
            (Some(_), false) => return Err(self.wrong("messages", "table is set as well; keep one of the two")),
            (None, true) => {
                let words = "missing; give the outbox table, such as \"public.outbox\", or the prefixes of logical messages as messages";
                return Err(self.wrong("table", words));
            }
        };
        let router = RouterSettings::new(self.map("router"), &self.map("converters"));
        let router = router.map_err(|(key, words)| self.wrong(key, &words))?;
        let truth = self.truth()?;
        if matches!((&place, &truth), (Place::Messages(_), Truth::Rows { .. })) {
            return Err(self.wrong(
                "settle",
                "logical messages are in the log alone; leave settle and feed out",
            ));
        }
        Ok(Foreign {
            section: self.options.section().to_owned(),
            contract: "debezium",
            place,
            shape: Shape::Debezium(Box::new(router)),
            truth,
            publication: self.publication()?,
        })
    }

    fn table(&self) -> Result<Option<TableName>, StoreError> {
        let Some(text) = self.options.text("table") else {
            return Ok(None);
        };
        let name = TableName::parse(text)
            .map_err(|words| self.wrong("table", &format!("{text:?} names no table: {words}")))?;
        if name.schema == "onewrite" {
            let words = format!("{name} is Onewrite's own; use contract = \"native\" for its outbox");
            return Err(self.wrong("table", &words));
        }
        Ok(Some(name))
    }

    /// What `settle` and `feed` come to together.
    fn truth(&self) -> Result<Truth, StoreError> {
        let (settle, feed) = (self.options.text("settle"), self.options.text("feed").unwrap_or("auto"));
        let settling = match (settle, feed) {
            (None | Some("nothing"), "poll") => {
                let words = "\"poll\" needs settle = \"delete\" or settle = \"mark\": without either, no row tells whether it is settled";
                return Err(self.wrong("feed", words));
            }
            (None | Some("nothing"), _) => {
                let words = "it is for settle = \"delete\" and settle = \"mark\", where rows are polled";
                self.none_of(&["order_by", "mark_column", "mark_value", "unmarked_value"], words)?;
                return Ok(Truth::Log);
            }
            (Some(settle), "wal") => {
                let words = format!(
                    "\"wal\" goes with settle = \"nothing\"; with settle = {settle:?} the rows say what is settled, and they are polled"
                );
                return Err(self.wrong("feed", &words));
            }
            (Some("mark"), _) => self.mark()?,
            (Some(_), _) => {
                self.none_of(
                    &["mark_column", "mark_value", "unmarked_value"],
                    "it is for settle = \"mark\"",
                )?;
                Settling::Delete
            }
        };
        self.none_of(
            &["publication"],
            "it is for settle = \"nothing\", where the log is read",
        )?;
        Ok(Truth::Rows {
            settling,
            order_by: self.name("order_by")?,
        })
    }

    fn mark(&self) -> Result<Settling, StoreError> {
        let Some(column) = self.name("mark_column")? else {
            let words = "missing; settle = \"mark\" needs the column that is to hold the mark";
            return Err(self.wrong("mark_column", words));
        };
        let text = |key: &str| match self.options.text(key) {
            Some(text) if text.contains('\0') => Err(self.wrong(key, "it holds a NUL, which no column can")),
            text => Ok(text.map(str::to_owned)),
        };
        let (marked, unmarked) = (text("mark_value")?, text("unmarked_value")?);
        if marked.is_some() && marked == unmarked {
            return Err(self.wrong(
                "unmarked_value",
                "it is the same as mark_value; a settled row must differ from the others",
            ));
        }
        Ok(Settling::Mark {
            column,
            marked,
            unmarked,
        })
    }

    fn publication(&self) -> Result<Option<String>, StoreError> {
        self.name("publication")
    }

    fn name(&self, key: &str) -> Result<Option<String>, StoreError> {
        let name = self.options.text(key).map(str::to_owned);
        if let Some(name) = &name {
            check(name).map_err(|words| self.wrong(key, &words))?;
        }
        Ok(name)
    }

    fn map(&self, key: &str) -> BTreeMap<String, String> {
        self.options
            .map(key)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Refuses options that mean nothing here.
    fn none_of(&self, keys: &[&str], words: &str) -> Result<(), StoreError> {
        let is_set = |key: &&&str| {
            let options = self.options;
            options.text(key).is_some() || !options.list(key).is_empty() || options.map(key).next().is_some()
        };
        match keys.iter().find(is_set) {
            Some(key) => Err(self.wrong(key, words)),
            None => Ok(()),
        }
    }

    fn wrong(&self, key: &str, words: &str) -> StoreError {
        StoreError::new(
            StoreFailure::Refused,
            format!("{}.{key}: {words}", self.options.section()),
        )
    }
}

#[cfg(test)]
mod tests;

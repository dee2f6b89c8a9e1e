//! Every type of format there is: its name, what can be configured, and how it is built.

use std::fmt;
use std::sync::Arc;

use onewrite_core::catalogue::{Catalogue, Named, UnknownType};
use onewrite_core::options::{BuildError, Field, Options};

use crate::format::Format;

/// A type of format that is built in.
#[derive(Clone, Copy)]
pub struct FormatType {
    /// What the configuration's `type` says.
    pub name: &'static str,
    /// One line for lists: what it is for.
    pub description: &'static str,
    /// What can be configured.
    pub fields: &'static [Field],
    /// How it works, for people, in Markdown.
    pub guide: &'static [&'static str],
    build: Build,
}

type Build = fn(&Options) -> Result<Arc<dyn Format>, BuildError>;

impl FormatType {
    /// Makes a format from options that were read against [`fields`](Self::fields); `None` for `native`, which changes nothing.
    /// It connects to nothing yet.
    ///
    /// # Errors
    /// The first option that no format could be made of.
    pub fn build(&self, options: &Options) -> Result<Option<Arc<dyn Format>>, BuildError> {
        if self.name == NATIVE {
            return Ok(None);
        }
        (self.build)(options).map(Some)
    }

    /// Whether the format can be used by the name of its type, without a section of its own: nothing of it must be said.
    pub fn needs_no_section(&self) -> bool {
        !self.fields.iter().any(|field| field.required)
    }
}

impl Named for FormatType {
    fn name(&self) -> &'static str {
        self.name
    }

    fn fields(&self) -> &'static [Field] {
        self.fields
    }
}

impl fmt::Debug for FormatType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FormatType")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The format that changes nothing: the payload as the body, the rest as headers.
pub const NATIVE: &str = "native";

/// The types of formats that are built in, in the order in which lists show them.
pub fn format_types() -> &'static [FormatType] {
    FORMATS.built_in
}

/// The type of this name.
///
/// # Errors
/// As of [`Catalogue::find`].
pub fn format_type(name: &str) -> Result<&'static FormatType, UnknownType> {
    FORMATS.find(name)
}

const FORMATS: Catalogue<FormatType> = Catalogue {
    what: "format",
    built_in: TYPES,
    known: &[
        (NATIVE, None),
        (crate::json::KIND, None),
        ("cloudevents", None),
        ("debezium", None),
        ("avro", Some("registry")),
        ("json-schema", Some("registry")),
        ("protobuf", Some("registry")),
    ],
};

const TYPES: &[FormatType] = &[
    FormatType {
        name: NATIVE,
        description: "the payload untouched as the body, everything else as headers",
        fields: &[],
        guide: &[include_str!("guides/native.md")],
        build: |_| unreachable!("the format native is no step of its own"),
    },
    FormatType {
        name: crate::json::KIND,
        description: "the envelope as the body: one JSON object with everything that the event has",
        fields: crate::json::FIELDS,
        guide: &[include_str!("guides/json.md")],
        build: crate::json::build,
    },
    FormatType {
        name: "cloudevents",
        description: "CloudEvents 1.0 in the binding of the sink's protocol, binary or structured",
        fields: crate::cloudevents::FIELDS,
        guide: &[include_str!("guides/cloudevents.md")],
        build: crate::cloudevents::build,
    },
    FormatType {
        name: "debezium",
        description: "the records that Debezium's outbox event router writes, for consumers that were written for them",
        fields: crate::debezium::FIELDS,
        guide: &[include_str!("guides/debezium.md")],
        build: crate::debezium::build,
    },
    #[cfg(feature = "registry")]
    FormatType {
        name: "avro",
        description: "the JSON payload encoded in Avro by a schema of a Confluent-compatible schema registry",
        fields: crate::schemas::AVRO_FIELDS,
        guide: &[include_str!("guides/avro.md"), include_str!("guides/registry.md")],
        build: crate::schemas::build_avro,
    },
    #[cfg(feature = "registry")]
    FormatType {
        name: "json-schema",
        description: "the JSON payload validated against a JSON Schema of a Confluent-compatible schema registry",
        fields: crate::schemas::JSON_SCHEMA_FIELDS,
        guide: &[
            include_str!("guides/json-schema.md"),
            include_str!("guides/registry.md"),
        ],
        build: crate::schemas::build_json_schema,
    },
    #[cfg(feature = "registry")]
    FormatType {
        name: "protobuf",
        description: "the JSON payload encoded as a Protobuf message by a schema of a Confluent-compatible schema registry",
        fields: crate::schemas::PROTOBUF_FIELDS,
        guide: &[include_str!("guides/protobuf.md"), include_str!("guides/registry.md")],
        build: crate::schemas::build_protobuf,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_is_told_with_the_nearest_and_all() {
        assert_eq!(
            format_type("cloudevent").unwrap_err().to_string(),
            "there is no format of type \"cloudevent\"; did you mean \"cloudevents\"? the types are \"native\", \"json\", \
             \"cloudevents\", \"debezium\", \"avro\", \"json-schema\", \"protobuf\""
        );
    }

    #[test]
    fn the_catalogue_has_no_flaws() {
        assert_eq!(FORMATS.flaws(), Vec::<String>::new());
    }

    #[test]
    fn what_needs_nothing_said_can_be_used_by_its_type() {
        let bare = format_types()
            .iter()
            .filter(|format_type| format_type.needs_no_section());
        let names: Vec<_> = bare.map(|format_type| format_type.name).collect();
        assert_eq!(names, ["native", "json", "cloudevents", "debezium"]);
    }
}

//! Events without a table: the content of `pg_logical_emit_message`, decoded as Debezium's transform
//! `DecodeLogicalDecodingMessageContent` does, and then routed like a row.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::options::{Field, Kind};

use super::connect::{Datum, Schema};
use super::expand::Inference;
use super::json::Json;
use super::row::Fields;
use super::texts::{Checked, Texts};
use super::{Problem, Routed, Router};

/// What can be configured of the transform.
pub const MESSAGE_FIELDS: &[Field] = &[Field {
    name: "fields.null.include",
    kind: Kind::Flag,
    default: Some("false"),
    required: false,
    doc: "Whether members that are null are kept in the content of a message.",
}];

/// Decodes messages.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    inference: Inference,
}

impl Messages {
    /// With the transform's own options ([`MESSAGE_FIELDS`]).
    ///
    /// # Errors
    /// Names the option, what was found, and what is expected.
    pub fn new(texts: &Texts) -> Result<Self, String> {
        let nulls_as_bytes = Checked::new(texts, "", MESSAGE_FIELDS)?.flag("fields.null.include");
        Ok(Self {
            inference: Inference {
                nulls_as_bytes,
                empty_arrays_of_text: false,
            },
        })
    }

    /// The record of a message's content. Debezium does not look at the message's prefix here: which messages are events
    /// is for the source to tell.
    ///
    /// # Errors
    /// [`Problem::Failed`]: the content is no JSON object, or what [`Router::route`] says.
    pub fn route(&self, router: &Router, content: &Bytes, committed: Timestamp) -> Result<Routed, Problem> {
        let (schema, data) = self.decode(content).map_err(|words| {
            let beginning = String::from_utf8_lossy(&content[..content.len().min(40)]);
            Problem::Failed(format!(
                "the message that begins with {beginning:?} is no event: {words}"
            ))
        })?;
        router.routed(Fields::Message(&schema, &data), committed)
    }

    fn decode(&self, content: &Bytes) -> Result<(Arc<Schema>, Vec<Datum>), String> {
        let text = String::from_utf8_lossy(content);
        let json = Json::read(&text)?;
        let schema = self.inference.schema(None, &json)?;
        match Inference::datum(&json, schema.as_ref())? {
            Datum::Struct(schema, data) => Ok((schema, data)),
            other => Err(format!("it is a {}", other.kind_name())),
        }
    }
}

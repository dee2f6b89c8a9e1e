//! `onewrite parked edit`: mends an event before it is retried.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use onewrite::event::{InvalidEvent, check_headers, check_line, check_payload, check_topic};
use onewrite::limits::CONTENT_TYPE_BYTES_MAX;
use onewrite_core::Operations;
use onewrite_core::store::{ParkedEdit, ParkedEvent};
use serde_json::{Map, Value, json};

use super::{missing, one};
use crate::configuration::Settings;
use crate::failure::Failure;
use crate::output;

/// Changes a parked event before it is retried
///
/// Without any option, and on a terminal, the payload opens in $VISUAL or $EDITOR. The id, the key and the type stay as they
/// are: consumers know the event by them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite parked edit 12                                 the payload in your editor
  onewrite parked edit 12 --topic shop.orders.v2
  onewrite parked edit 12 --payload-file mended.json
  onewrite parked edit 12 --header tenant=eu --remove-header debug")]
pub struct Arguments {
    /// The event's number in the list
    id: i64,
    /// The new topic
    #[arg(long)]
    topic: Option<String>,
    /// The new payload
    #[arg(long, value_name = "TEXT", conflicts_with = "payload_file")]
    payload: Option<String>,
    /// A file with the new payload; `-` is standard input
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// The new content type
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A header to set; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A header to remove; may be given several times
    #[arg(long = "remove-header", value_name = "NAME")]
    removed_headers: Vec<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub async fn edit(arguments: &Arguments, settings: &Settings, operations: &dyn Operations) -> Result<(), Failure> {
    let event = one(operations, settings, arguments.id).await?;
    let edit = if arguments.changes_something() {
        arguments.edit(&event)?
    } else if io::stdin().is_terminal() && io::stdout().is_terminal() {
        let payload = in_editor(&event)?;
        if payload == event.payload {
            return Ok(output::text("nothing was changed")?);
        }
        ParkedEdit {
            payload: Some(payload),
            ..ParkedEdit::default()
        }
    } else {
        return Err(Failure::usage(
            "what to change is missing, and without a terminal no editor can be opened",
            "give --topic, --payload, --payload-file, --content-type, --header or --remove-header",
        ));
    };
    check(&edit).map_err(|invalid| {
        Failure::usage(
            format!("the event cannot be changed so: {invalid}"),
            "nothing was changed",
        )
    })?;
    if !operations.edit(arguments.id, &edit).await? {
        return Err(missing(arguments.id));
    }
    if arguments.json {
        return Ok(output::json(&json!({"edited": arguments.id}))?);
    }
    let id = arguments.id;
    Ok(output::text(&format!(
        "event {id} is changed; `onewrite parked retry {id}` delivers it"
    ))?)
}

impl Arguments {
    fn changes_something(&self) -> bool {
        self.topic.is_some()
            || self.payload.is_some()
            || self.payload_file.is_some()
            || self.content_type.is_some()
            || !self.headers.is_empty()
            || !self.removed_headers.is_empty()
    }

    fn edit(&self, event: &ParkedEvent) -> Result<ParkedEdit, Failure> {
        let payload = match (&self.payload, &self.payload_file) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(path)) => Some(read(path)?),
            (None, None) => None,
        };
        Ok(ParkedEdit {
            topic: self.topic.clone(),
            payload,
            content_type: self.content_type.clone(),
            headers: self.new_headers(event)?,
        })
    }

    fn new_headers(&self, event: &ParkedEvent) -> Result<Option<Value>, Failure> {
        if self.headers.is_empty() && self.removed_headers.is_empty() {
            return Ok(None);
        }
        // Headers that are no object are among the things for which an event is parked: then they are written anew.
        let mut headers = event.headers.as_object().cloned().unwrap_or_else(Map::new);
        for name in &self.removed_headers {
            if headers.remove(name).is_none() {
                return Err(Failure::usage(
                    format!("the event has no header {name:?}"),
                    "nothing was changed",
                ));
            }
        }
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().into())),
        );
        Ok(Some(Value::Object(headers)))
    }
}

fn check(edit: &ParkedEdit) -> Result<(), InvalidEvent> {
    if let Some(topic) = &edit.topic {
        check_topic(topic)?;
    }
    if let Some(content_type) = &edit.content_type {
        check_line("content_type", content_type, CONTENT_TYPE_BYTES_MAX)?;
    }
    if let Some(headers) = &edit.headers {
        let headers = onewrite_core::event::headers_from_json(headers)?;
        check_headers(headers.iter().map(|(name, value)| (&**name, &**value)))?;
    }
    check_payload(edit.payload.as_ref().map_or(0, Vec::len))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let done = match path.to_str() {
        Some("-") => io::stdin().read_to_end(&mut content).map(drop),
        _ => std::fs::read(path).map(|read| content = read),
    };
    done.map_err(|error| {
        let what = format!("the new payload cannot be read from {}", path.display());
        Failure::configuration(anyhow::Error::new(error).context(what))
    })?;
    Ok(content)
}

/// The payload as the person's editor leaves it.
fn in_editor(event: &ParkedEvent) -> Result<Vec<u8>, Failure> {
    let name = |variable| std::env::var(variable).ok().filter(|text| !text.trim().is_empty());
    let editor = name("VISUAL")
        .or_else(|| name("EDITOR"))
        .unwrap_or_else(|| "vi".to_owned());
    // Editors choose colours by the ending; the file is readable for its owner alone.
    let suffix = if onewrite_core::envelope::is_json(&event.content_type) {
        ".json"
    } else {
        ".txt"
    };
    let mut file = tempfile::Builder::new().prefix("onewrite-").suffix(suffix).tempfile()?;
    file.write_all(&event.payload)?;
    // By the shell, since the variable may hold options as well.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .status()
        .map_err(|error| {
            Failure::failed(anyhow::Error::new(error).context(format!("the editor {editor:?} could not be started")))
        })?;
    if !status.success() {
        return Err(Failure::failed(anyhow::anyhow!(
            "the editor {editor:?} ended with {status}; nothing was changed"
        )));
    }
    Ok(std::fs::read(file.path())?)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as tenant=eu")?;
    Ok((name.to_owned(), value.to_owned()))
}

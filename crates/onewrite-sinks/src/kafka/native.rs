//! The calls into librdkafka that its Rust wrapper does not offer: producing without an allocation for each record,
//! asking brokers alone for metadata, and describing configurations without a second client. All unsafe code of the sink.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use onewrite_core::Event;
use onewrite_core::wire::native_headers;
use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;

use super::client::Context;
use super::connector::Link;
use super::flight::Tag;
use super::limits::HELD_BYTES;
use super::record::Record;

/// A topic as the client knows it. Keeps the link alive, since a client must outlive its topics.
pub(super) struct TopicHandle {
    topic: NonNull<c::rd_kafka_topic_t>,
    link: Arc<Link>,
}

// SAFETY: librdkafka's topics are reference-counted and may be used from any thread.
unsafe impl Send for TopicHandle {}
// SAFETY: as above.
unsafe impl Sync for TopicHandle {}

impl TopicHandle {
    /// The topic of this name; `None` when the client takes no such name.
    pub fn new(link: Arc<Link>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client lives as long as the link, the name for the call; no configuration is handed over.
        let topic = unsafe { c::rd_kafka_topic_new(link.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        NonNull::new(topic).map(|topic| Self { topic, link })
    }

    /// Hands a record for a partition to the client, which copies its key and a small value; hold of a larger one is kept
    /// until its batch is reported. `tag` comes back with the report.
    pub fn produce(
        &self,
        record: &Record<'_>,
        partition: i32,
        headers: Headers,
        tag: Tag,
    ) -> Result<(), RDKafkaErrorCode> {
        let held = record.value.filter(|value| value.len() >= HELD_BYTES);
        if let Some(value) = held {
            self.link.flight().hold(tag, value.clone());
        }
        let copy = if held.is_some() { 0 } else { c::RD_KAFKA_MSG_F_COPY };
        // SAFETY: every tag of the list is followed by an argument of its own C type; key and value live for the call,
        // in which they are copied (`F_COPY`); a value that is not lives until its record is reported, since its bytes do not
        // move when the handle on them is copied; an empty one is a pointer to nothing but not null, so that it is empty and not
        // missing; the headers become the client's if it takes the record.
        let error = unsafe {
            c::rd_kafka_producev(
                self.link.client().native_ptr(),
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                self.topic.as_ptr(),
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                partition,
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                copy,
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                record
                    .value
                    .map_or(ptr::null(), |value| value.as_ptr())
                    .cast::<c_void>(),
                record.value_bytes(),
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                record.key.map_or(ptr::null(), <[u8]>::as_ptr).cast::<c_void>(),
                record.key_bytes(),
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
                tag.0 as *mut c_void,
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp,
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                headers.list.as_ptr(),
                c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            )
        };
        match error {
            c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                std::mem::forget(headers);
                Ok(())
            }
            error => Err(error.into()),
        }
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the handle owns one reference; the link, and so the client, is dropped after this.
        unsafe { c::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

/// The headers of one record.
pub(super) struct Headers {
    list: NonNull<c::rd_kafka_headers_t>,
    /// Names and values, in bytes.
    pub bytes: usize,
    /// How many there are.
    pub count: usize,
}

impl Headers {
    /// The headers that the source's contract lays down, else those of the format `native`.
    pub fn of(event: &Event) -> Self {
        // SAFETY: takes a count, which is a hint; memory exhaustion aborts inside.
        let list = unsafe { c::rd_kafka_headers_new(event.headers.len() + 5) };
        let list = NonNull::new(list).expect("librdkafka aborts rather than return no headers");
        let mut headers = Self {
            list,
            bytes: 0,
            count: 0,
        };
        match &event.verbatim {
            Some(verbatim) => (verbatim.headers.iter()).for_each(|(name, value)| headers.add(name, value.as_deref())),
            None => native_headers(event, |name, value| headers.add(name, Some(value.as_bytes()))),
        }
        headers
    }

    fn add(&mut self, name: &str, value: Option<&[u8]>) {
        let length = value.map_or(0, <[u8]>::len);
        self.bytes += name.len() + length;
        self.count += 1;
        // SAFETY: name and value live for the call, which copies them, and carry their lengths (neither exceeds isize); a null
        // pointer makes a header without a value.
        unsafe {
            c::rd_kafka_header_add(
                self.list.as_ptr(),
                name.as_ptr().cast(),
                name.len() as isize,
                value.map_or(ptr::null(), <[u8]>::as_ptr).cast(),
                length as isize,
            );
        }
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: the list is owned here; one that the client took was forgotten.
        unsafe { c::rd_kafka_headers_destroy(self.list.as_ptr()) }
    }
}

/// What the broker said about a failed record, where it said more than a code.
pub(super) fn broker_words(message: &BorrowedMessage<'_>) -> Option<String> {
    // SAFETY: the message is alive; the text belongs to it and is copied here.
    unsafe {
        let words = c::rd_kafka_message_produce_errstr(message.ptr());
        (!words.is_null()).then(|| CStr::from_ptr(words).to_string_lossy().into_owned())
    }
}

/// How many brokers the cluster has, and the id of the one that answered, without asking about topics: a cluster may
/// have many thousands, and asking about a missing one may create it.
pub(super) fn brokers(client: &Client<Context>, limit: Duration) -> Result<(usize, i32), RDKafkaErrorCode> {
    let mut metadata: *const c::rd_kafka_metadata = ptr::null();
    // SAFETY: the client is alive; no topic is given, which asks about those this client uses; the answer is freed below.
    let error = unsafe {
        c::rd_kafka_metadata(
            client.native_ptr(),
            0,
            ptr::null_mut(),
            &mut metadata,
            milliseconds(limit),
        )
    };
    if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(error.into());
    }
    // SAFETY: without an error there is an answer, which is read before it is freed.
    unsafe {
        let answer = ((*metadata).broker_cnt as usize, (*metadata).orig_broker_id);
        c::rd_kafka_metadata_destroy(metadata);
        Ok(answer)
    }
}

/// Whose configuration is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource<'a> {
    /// A topic's.
    Topic(&'a str),
    /// A broker's, by its id.
    Broker(i32),
}

/// The configuration of a topic or broker, by name. Asked through the producer's own client: a second one would cost
/// connections and threads, and could not renew tokens.
pub(super) fn configuration(
    client: &Client<Context>,
    resource: Resource<'_>,
    limit: Duration,
) -> Result<HashMap<String, String>, ConfigurationError> {
    let failed = |code| ConfigurationError { code, words: None };
    let (kind, name) = match resource {
        Resource::Topic(name) => (c::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.to_owned()),
        Resource::Broker(id) => (c::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER, id.to_string()),
    };
    let name = CString::new(name).map_err(|_| failed(RDKafkaErrorCode::InvalidArgument))?;
    // SAFETY: every object made here is destroyed before the block ends, the event last, since the result and its texts
    // belong to it; texts are copied. The client is alive throughout.
    unsafe {
        let queue = c::rd_kafka_queue_new(client.native_ptr());
        let options = c::rd_kafka_AdminOptions_new(
            client.native_ptr(),
            c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
        );
        c::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(limit), ptr::null_mut(), 0);
        let mut wanted = c::rd_kafka_ConfigResource_new(kind, name.as_ptr());
        c::rd_kafka_DescribeConfigs(client.native_ptr(), &mut wanted, 1, options, queue);
        c::rd_kafka_ConfigResource_destroy(wanted);
        c::rd_kafka_AdminOptions_destroy(options);
        let event = c::rd_kafka_queue_poll(queue, milliseconds(limit + Duration::from_millis(500)));
        c::rd_kafka_queue_destroy(queue);
        if event.is_null() {
            return Err(failed(RDKafkaErrorCode::OperationTimedOut));
        }
        let answer = read_configuration(event);
        c::rd_kafka_event_destroy(event);
        answer
    }
}

/// Why a configuration could not be had.
#[derive(Debug)]
pub(super) struct ConfigurationError {
    /// The code.
    pub code: RDKafkaErrorCode,
    /// The broker's words, where it said any.
    pub words: Option<String>,
}

/// Copies the answer out of an event.
///
/// # Safety
/// `event` is alive and came from a queue that DescribeConfigs answers to.
unsafe fn read_configuration(event: *mut c::rd_kafka_event_t) -> Result<HashMap<String, String>, ConfigurationError> {
    // SAFETY: all that is read belongs to the event; arrays have the length that the call before tells.
    unsafe {
        let no_error = c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        let code = c::rd_kafka_event_error(event);
        if code != no_error {
            return Err(ConfigurationError {
                code: code.into(),
                words: text(c::rd_kafka_event_error_string(event)),
            });
        }
        let result = c::rd_kafka_event_DescribeConfigs_result(event);
        let mut count = 0;
        let resources = match NonNull::new(result.cast_mut()) {
            Some(result) => c::rd_kafka_DescribeConfigs_result_resources(result.as_ptr(), &mut count),
            None => ptr::null_mut(),
        };
        if count == 0 {
            return Err(ConfigurationError {
                code: RDKafkaErrorCode::Fail,
                words: None,
            });
        }
        let resource = *resources;
        let code = c::rd_kafka_ConfigResource_error(resource);
        if code != no_error {
            return Err(ConfigurationError {
                code: code.into(),
                words: text(c::rd_kafka_ConfigResource_error_string(resource)),
            });
        }
        let entries = c::rd_kafka_ConfigResource_configs(resource, &mut count);
        Ok((0..count)
            .filter_map(|at| {
                let entry = *entries.add(at);
                let name = text(c::rd_kafka_ConfigEntry_name(entry))?;
                Some((name, text(c::rd_kafka_ConfigEntry_value(entry))?))
            })
            .collect())
    }
}

/// Copies a C text; `None` for a null pointer.
///
/// # Safety
/// `pointer` is null or points to a text that ends with a NUL.
unsafe fn text(pointer: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

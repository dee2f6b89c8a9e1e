//! A connection to a queue manager, which one thread makes, uses and ends.

use std::collections::HashMap;
use std::ptr::from_mut;
use std::sync::Arc;

use libmqm_sys::{
    MQCC_FAILED, MQCC_OK, MQCNO_CLIENT_BINDING, MQCNO_HANDLE_SHARE_NONE, MQCNO_RECONNECT_DISABLED, MQCO_NONE,
    MQCSP_AUTH_USER_ID_AND_PWD, MQHC_UNUSABLE_HCONN, MQHCONN, MQHM_NONE, MQHMSG, MQHO_UNUSABLE_HOBJ, MQHOBJ, MQLONG,
    MQMD, MQOO_FAIL_IF_QUIESCING, MQOO_OUTPUT, MQOT_Q, MQOT_TOPIC, MQPER_NOT_PERSISTENT, MQPER_PERSISTENT,
    MQPMO_FAIL_IF_QUIESCING, MQPMO_NEW_MSG_ID, MQPMO_SYNC_RESPONSE, MQPMO_SYNCPOINT, MQTYPE_STRING,
};

use super::library::Library;
use super::message::Message;
use super::reason::Failure;
use super::settings::{MqiSettings, Server};
use super::structures::{self, fill, length, text};
use crate::ibmmq::settings::Destination;
use crate::limits::IBMMQ_OBJECTS_OPEN_MAX;

/// A connection. What was put and not committed is backed out when it ends.
pub(super) struct Connection {
    library: Arc<Library>,
    settings: Arc<MqiSettings>,
    handle: MQHCONN,
    /// Queues and topics that are open, by their names.
    objects: HashMap<String, MQHOBJ>,
    /// Whether something was put since the last commit.
    unit_is_open: bool,
}

impl Connection {
    /// Connects to `server`. All other calls must be made by the same thread.
    pub(super) fn open(library: Arc<Library>, settings: Arc<MqiSettings>, server: &Server) -> Result<Self, Failure> {
        let mut channel = structures::channel();
        fill(&mut channel.ChannelName, settings.channel.as_bytes());
        fill(&mut channel.ConnectionName, server.connection_name.as_bytes());
        let mut security = structures::security();
        let mut credentials = structures::credentials();
        let mut options = structures::connecting();
        // A client that connects again by itself would hide that a unit of work is gone.
        options.Options = MQCNO_CLIENT_BINDING | MQCNO_RECONNECT_DISABLED | MQCNO_HANDLE_SHARE_NONE;
        if let Some(tls) = &settings.tls {
            fill(&mut channel.SSLCipherSpec, tls.cipher_spec.as_bytes());
            fill(&mut security.KeyRepository, tls.key_repository.as_bytes());
            options.SSLConfigPtr = from_mut(&mut security);
        }
        if let Some((user, password)) = &settings.credentials {
            credentials.AuthenticationType = MQCSP_AUTH_USER_ID_AND_PWD;
            credentials.CSPUserIdPtr = user.as_ptr().cast_mut().cast();
            credentials.CSPUserIdLength = length(user.len());
            credentials.CSPPasswordPtr = password.expose().as_ptr().cast_mut().cast();
            credentials.CSPPasswordLength = length(password.expose().len());
            options.SecurityParmsPtr = from_mut(&mut credentials);
        }
        options.ClientConnPtr = from_mut(&mut channel).cast();
        let mut name = [0; 48];
        fill(&mut name, settings.queue_manager.as_bytes());
        let mut handle = MQHC_UNUSABLE_HCONN;
        // SAFETY: everything that `options` points to lives until the call has returned; the texts are read only.
        call("MQCONNX", |completion, reason| unsafe {
            (library.MQCONNX)(&name, &mut options, &mut handle, completion, reason);
        })?;
        Ok(Self {
            library,
            settings,
            handle,
            objects: HashMap::new(),
            unit_is_open: false,
        })
    }

    /// Puts a message into the unit of work. It has not arrived before [`commit`](Self::commit) said so.
    pub(super) fn put(&mut self, message: &Message) -> Result<(), Failure> {
        let object = self.object(&message.address)?;
        let mut handle = self.properties(&message.properties)?;
        let mut options = structures::putting();
        // Without the synchronous response, a queue's DEFPRESP could have the client say yes before the queue manager has.
        options.Options = MQPMO_SYNCPOINT | MQPMO_SYNC_RESPONSE | MQPMO_NEW_MSG_ID | MQPMO_FAIL_IF_QUIESCING;
        options.OriginalMsgHandle = handle;
        let mut descriptor = self.descriptor(message);
        // An answer that is lost leaves the message in the unit.
        self.unit_is_open = true;
        let body = &message.body;
        // SAFETY: structures and body live until the call has returned.
        let result = call("MQPUT", |completion, reason| unsafe {
            (self.library.MQPUT)(
                self.handle,
                object,
                &mut descriptor,
                &mut options,
                length(body.len()),
                body.as_ptr(),
                completion,
                reason,
            );
        });
        self.delete_properties(&mut handle);
        if result.is_err() {
            // A handle of an object that was changed or deleted is of no further use.
            self.close(&message.address);
        }
        result
    }

    /// Commits what was put. An error tells whether that is known not to have arrived.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        let (mut completion, mut reason) = (MQCC_FAILED, 0);
        // SAFETY: numbers alone.
        unsafe { (self.library.MQCMIT)(self.handle, &mut completion, &mut reason) };
        // A warning says that the outcome is mixed or pending.
        if completion != MQCC_OK {
            let call = "MQCMIT";
            return Err(Failure { call, reason });
        }
        self.unit_is_open = false;
        Ok(())
    }

    /// Takes back what was put and not committed.
    pub(super) fn back_out(&mut self) -> Result<(), Failure> {
        if !self.unit_is_open {
            return Ok(());
        }
        // SAFETY: numbers alone.
        call("MQBACK", |completion, reason| unsafe {
            (self.library.MQBACK)(self.handle, completion, reason);
        })?;
        self.unit_is_open = false;
        Ok(())
    }

    /// The handle of a queue or a topic, which is opened for putting unless it is.
    pub(super) fn object(&mut self, name: &str) -> Result<MQHOBJ, Failure> {
        if let Some(object) = self.objects.get(name) {
            return Ok(*object);
        }
        if self.objects.len() >= IBMMQ_OBJECTS_OPEN_MAX {
            let open: Vec<_> = self.objects.keys().cloned().collect();
            open.iter().for_each(|name| self.close(name));
        }
        let mut descriptor = structures::object();
        match self.settings.destination {
            Destination::Queue(_) => {
                descriptor.ObjectType = MQOT_Q;
                fill(&mut descriptor.ObjectName, name.as_bytes());
            }
            Destination::Topic(_) => {
                descriptor.ObjectType = MQOT_TOPIC;
                descriptor.ObjectString = text(name);
            }
        }
        let mut object = MQHO_UNUSABLE_HOBJ;
        let options = MQOO_OUTPUT | MQOO_FAIL_IF_QUIESCING;
        // SAFETY: the descriptor and the name live until the call has returned.
        call("MQOPEN", |completion, reason| unsafe {
            (self.library.MQOPEN)(self.handle, &mut descriptor, options, &mut object, completion, reason);
        })?;
        self.objects.insert(name.to_owned(), object);
        Ok(object)
    }

    fn close(&mut self, name: &str) {
        if let Some(mut object) = self.objects.remove(name) {
            let (mut completion, mut reason) = (0, 0);
            // SAFETY: the handle is one that was opened. Whatever the answer is, it is not used any more.
            unsafe { (self.library.MQCLOSE)(self.handle, &mut object, MQCO_NONE, &mut completion, &mut reason) };
        }
    }

    fn descriptor(&self, message: &Message) -> MQMD {
        let settings = &self.settings;
        let mut descriptor = structures::descriptor();
        if message.text {
            fill(&mut descriptor.Format, b"MQSTR   ");
        }
        descriptor.Persistence = if settings.persistent {
            MQPER_PERSISTENT
        } else {
            MQPER_NOT_PERSISTENT
        };
        if let Some(expiry) = settings.expiry {
            // In tenths of a second, and never less than asked for.
            let tenths = expiry.as_millis().div_ceil(100);
            descriptor.Expiry = MQLONG::try_from(tenths).unwrap_or(MQLONG::MAX);
        }
        if let Some(priority) = settings.priority {
            descriptor.Priority = MQLONG::try_from(priority).expect("it is one digit");
        }
        descriptor.CorrelId = message.correlation;
        descriptor
    }

    /// A message handle with these properties.
    fn properties(&self, all: &[(String, String)]) -> Result<MQHMSG, Failure> {
        let mut handle = MQHM_NONE;
        let options = structures::making_handle();
        // SAFETY: the options live until the call has returned.
        call("MQCRTMH", |completion, reason| unsafe {
            (self.library.MQCRTMH)(self.handle, &options, &mut handle, completion, reason);
        })?;
        for (name, value) in all {
            let options = structures::setting_property();
            let mut descriptor = structures::property();
            let name = text(name);
            // SAFETY: structures, name and value live until the call has returned, which copies them.
            let set = call("MQSETMP", |completion, reason| unsafe {
                (self.library.MQSETMP)(
                    self.handle,
                    handle,
                    &options,
                    &name,
                    &mut descriptor,
                    MQTYPE_STRING,
                    length(value.len()),
                    value.as_ptr(),
                    completion,
                    reason,
                );
            });
            if let Err(failure) = set {
                self.delete_properties(&mut handle);
                return Err(failure);
            }
        }
        Ok(handle)
    }

    fn delete_properties(&self, handle: &mut MQHMSG) {
        let options = structures::deleting_handle();
        let (mut completion, mut reason) = (0, 0);
        // SAFETY: the handle is one that was made. Whatever the answer is, it is not used any more.
        unsafe { (self.library.MQDLTMH)(self.handle, handle, &options, &mut completion, &mut reason) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Disconnecting commits what is in the unit of work, so that is taken back before.
        let _ = self.back_out();
        let (mut completion, mut reason) = (0, 0);
        // SAFETY: the handle is one that was connected, and is not used any more. It closes what is open.
        unsafe { (self.library.MQDISC)(&mut self.handle, &mut completion, &mut reason) };
    }
}

/// Makes a call that may warn: a warning is a yes with a remark.
fn call(name: &'static str, make: impl FnOnce(*mut MQLONG, *mut MQLONG)) -> Result<(), Failure> {
    let (mut completion, mut reason) = (MQCC_FAILED, 0);
    make(&mut completion, &mut reason);
    if completion == MQCC_FAILED {
        return Err(Failure { call: name, reason });
    }
    Ok(())
}

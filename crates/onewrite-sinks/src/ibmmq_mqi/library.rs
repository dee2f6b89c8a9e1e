//! IBM's client library, opened when the program runs.

use libmqm_sys::{
    MQCHAR48, MQCHARV, MQCMHO, MQCNO, MQDMHO, MQHCONN, MQHMSG, MQHOBJ, MQLONG, MQMD, MQOD, MQPD, MQPMO, MQSMPO,
};
use onewrite_core::error::SinkError;

/// Where the library is looked for: wherever the machine looks for libraries, and where IBM's packages put it.
const USUAL: &[&str] = &["libmqic_r.so", "/opt/mqm/lib64/libmqic_r.so"];

/// What every call answers: completion code and reason.
type Answer = *mut MQLONG;

macro_rules! calls {
    ($($name:ident($($argument:ty),*);)*) => {
        /// The calls of the MQI that a program that puts messages needs.
        #[allow(non_snake_case, reason = "IBM's own names")]
        pub(super) struct Library {
            $(pub $name: unsafe extern "C" fn($($argument,)* Answer, Answer),)*
        }

        impl Library {
            fn find(opened: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of IBM's header `cmqc.h`, and the pointers live as long as the library, which is
                // never closed.
                unsafe { Ok(Self { $($name: *opened.get(concat!(stringify!($name), "\0").as_bytes())?,)* }) }
            }
        }
    };
}

calls! {
    MQCONNX(*const MQCHAR48, *mut MQCNO, *mut MQHCONN);
    MQDISC(*mut MQHCONN);
    MQOPEN(MQHCONN, *mut MQOD, MQLONG, *mut MQHOBJ);
    MQCLOSE(MQHCONN, *mut MQHOBJ, MQLONG);
    MQPUT(MQHCONN, MQHOBJ, *mut MQMD, *mut MQPMO, MQLONG, *const u8);
    MQCMIT(MQHCONN);
    MQBACK(MQHCONN);
    MQCRTMH(MQHCONN, *const MQCMHO, *mut MQHMSG);
    MQSETMP(MQHCONN, MQHMSG, *const MQSMPO, *const MQCHARV, *mut MQPD, MQLONG, MQLONG, *const u8);
    MQDLTMH(MQHCONN, *mut MQHMSG, *const MQDMHO);
}

impl Library {
    /// Opens the library at `path`, or where it usually is. It stays open until the program ends, since it starts threads of its own.
    ///
    /// # Errors
    /// To try again, with what to install: whoever installs it need not tell the program.
    pub(super) fn open(path: Option<&str>) -> Result<Self, SinkError> {
        let tried = path.map_or(USUAL.to_vec(), |path| vec![path]);
        let mut failures = Vec::new();
        for path in tried {
            // SAFETY: opening a library runs what it does at its start; the person who installed it, or named it, trusts it.
            let found = unsafe { libloading::Library::new(path) }.and_then(|opened| {
                let found = Self::find(&opened);
                std::mem::forget(opened);
                found
            });
            match found {
                Ok(library) => return Ok(library),
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(SinkError::reconnect(format!(
            "IBM's MQ client library cannot be loaded ({}); install the IBM MQ client, such as the package MQSeriesClient or the \
             redistributable client, whose libmqic_r.so usually is in /opt/mqm/lib64, or name the file in library, \
             or use transport \"rest\"",
            failures.join("; ")
        )))
    }
}

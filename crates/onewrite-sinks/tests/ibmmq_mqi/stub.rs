//! The library that stands in for IBM's: built by the C compiler, and a copy of it for each test, so that each has its own memory.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use libloading::{Library, Symbol};
use onewrite_testkit::conformance::sink::Arrived;
use percent_encoding::percent_decode_str;
use tempfile::TempDir;
use uuid::Uuid;

/// A message as the stand-in keeps it.
#[derive(Debug)]
pub struct Message {
    pub body: Vec<u8>,
    pub correlation: Vec<u8>,
    pub format: String,
    pub persistence: i32,
    pub expiry: i32,
    pub priority: i32,
    pub properties: BTreeMap<String, String>,
}

pub struct Stub {
    library: Library,
    path: PathBuf,
    _home: TempDir,
}

impl Stub {
    /// A queue manager with these queues.
    pub fn with(queues: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("libmqic_r.so");
        std::fs::copy(built(), &path).unwrap();
        // SAFETY: the library is the one that was just built, and does nothing when it is opened.
        let library = unsafe { Library::new(&path) }.unwrap();
        let stub = Self {
            library,
            path,
            _home: home,
        };
        queues.iter().for_each(|queue| stub.queue(queue, true));
        stub
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Makes or deletes a queue.
    pub fn queue(&self, name: &str, there: bool) {
        let name = CString::new(name).unwrap();
        let call: Symbol<unsafe extern "C" fn(*const c_char, c_int)> = self.find("stub_queue");
        // SAFETY: the type is that of the source beside this file, and the text lives until the call has returned; so below.
        unsafe { call(name.as_ptr(), c_int::from(there)) };
    }

    /// Lets a call fail with `reason`, for one queue or (with an empty name) all, past the first `after`; `times` below zero: always.
    pub fn fail(&self, call: &str, queue: &str, reason: i32, after: c_int, times: c_int) {
        let (name, queue) = (CString::new(call).unwrap(), CString::new(queue).unwrap());
        let call: Symbol<unsafe extern "C" fn(*const c_char, *const c_char, i32, c_int, c_int)> =
            self.find("stub_fault");
        // SAFETY: as above.
        unsafe { call(name.as_ptr(), queue.as_ptr(), reason, after, times) };
    }

    /// Sets `down`, `lose` (0 or 1), `slow` (milliseconds of each call), `limit` (bytes) or `unit` (messages).
    pub fn set(&self, what: &str, value: c_long) {
        let what = CString::new(what).unwrap();
        let call: Symbol<unsafe extern "C" fn(*const c_char, c_long)> = self.find("stub_set");
        // SAFETY: as above.
        unsafe { call(what.as_ptr(), value) };
    }

    /// Counts `commits`, messages that were `discarded`, `connections` or message `handles`.
    pub fn count(&self, what: &str) -> c_long {
        let what = CString::new(what).unwrap();
        let call: Symbol<unsafe extern "C" fn(*const c_char) -> c_long> = self.find("stub_get");
        // SAFETY: as above.
        unsafe { call(what.as_ptr()) }
    }

    pub fn credentials(&self, user: &str, password: &str) {
        let (user, password) = (CString::new(user).unwrap(), CString::new(password).unwrap());
        let call: Symbol<unsafe extern "C" fn(*const c_char, *const c_char)> = self.find("stub_credentials");
        // SAFETY: as above.
        unsafe { call(user.as_ptr(), password.as_ptr()) };
    }

    /// What was given as `connection_name`, `cipher_spec` or `key_repository`, or which `rules` were broken.
    pub fn text(&self, what: &str) -> String {
        let what = CString::new(what).unwrap();
        let call: Symbol<unsafe extern "C" fn(*const c_char) -> *const c_char> = self.find("stub_text");
        // SAFETY: as above; what is returned is a text that lives as long as the library.
        unsafe { CStr::from_ptr(call(what.as_ptr())) }
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// What a queue holds, in its order.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        let queue = CString::new(queue).unwrap();
        let call: Symbol<unsafe extern "C" fn(*const c_char, c_int, *mut usize) -> *const u8> = self.find("stub_read");
        let read = |place| {
            let mut length = 0;
            // SAFETY: as above; what has arrived is kept as long as the library.
            let bytes = unsafe { call(queue.as_ptr(), place, &mut length) };
            // SAFETY: the bytes are as many as was said.
            (!bytes.is_null()).then(|| message(unsafe { std::slice::from_raw_parts(bytes, length) }))
        };
        (0..).map_while(read).collect()
    }

    fn find<T>(&self, name: &str) -> Symbol<'_, T> {
        // SAFETY: each caller names the type that the source beside this file has.
        unsafe { self.library.get(name.as_bytes()) }.unwrap()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.text("rules"), "", "what IBM's reference does not allow");
        }
    }
}

/// The event in a message, read as the sink's page says that readers should.
pub fn arrived(message: &Message) -> Arrived {
    let mut headers: BTreeMap<String, String> = message
        .properties
        .iter()
        .map(|(name, value)| {
            let name = decoded(&name.replace('_', "-").replace('$', "%"));
            (name.to_ascii_lowercase(), decoded(value))
        })
        .collect();
    let id: Uuid = headers["onewrite-id"].parse().unwrap();
    assert_eq!(
        (&message.correlation[..16], &message.correlation[16..]),
        (&id.as_bytes()[..], &[0; 8][..])
    );
    Arrived {
        id,
        key: headers.remove("onewrite-key"),
        payload: message.body.clone(),
        headers,
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

fn message(bytes: &[u8]) -> Message {
    let fields = fields(bytes);
    let [body, correlation, format, numbers, properties] = &fields[..] else {
        panic!("{} fields", fields.len())
    };
    let number = |at: usize| i32::from_ne_bytes(numbers[at * 4..at * 4 + 4].try_into().unwrap());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let properties = self::fields(properties);
    Message {
        body: body.to_vec(),
        correlation: correlation.to_vec(),
        format: text(format),
        persistence: number(0),
        expiry: number(1),
        priority: number(2),
        properties: properties
            .chunks(2)
            .map(|pair| (text(pair[0]), text(pair[1])))
            .collect(),
    }
}

fn fields(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (field, rest) = rest.split_at(i32::from_ne_bytes(*length) as usize);
        fields.push(field);
        bytes = rest;
    }
    fields
}

/// The library, built once for all tests of this process.
fn built() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("libmqic_r.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ibmmq_mqi/stub.c");
        let compiled = Command::new("cc")
            .args([
                "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-o",
            ])
            .arg(&path)
            .arg(source)
            .output()
            .expect("cc must be installed (package gcc)");
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        (home, path)
    });
    path
}

//! Where the servers' files are: a cache directory that `./x up` fills.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The one list of servers and versions; `./x up` reads the same.
const LIST: &str = include_str!("../../../../xtask/servers/pom.xml");

/// The version of a server, by its property in the list, such as `postgres.16`.
pub fn version(property: &str) -> &'static str {
    let open = format!("<{property}>");
    let found = LIST.split_once(&open).and_then(|(_, rest)| rest.split_once('<'));
    found
        .unwrap_or_else(|| panic!("xtask/servers/pom.xml has no property {property}; it names every server there is"))
        .0
}

/// The directory of an unpacked server, such as `postgres-16.11.0`.
pub fn server(name: &str, package: &str) -> PathBuf {
    let directory = root().join("servers").join(name);
    assert!(
        directory.is_dir(),
        "{} is missing: the files of {package}. `./x up` fetches them",
        directory.display()
    );
    directory
}

/// A prepared data directory that tests copy. It is made once; other processes that want it meanwhile wait.
pub fn template(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let templates = root().join("templates");
    create(&templates);
    let whole = templates.join(name);
    let lock = File::create(templates.join(".lock")).expect("create the lock of the templates");
    lock.lock().expect("lock the templates");
    if !whole.is_dir() {
        let partial = templates.join(format!(".partial-{name}"));
        if partial.is_dir() {
            fs::remove_dir_all(&partial).expect("remove an unfinished template");
        }
        create(&partial);
        make(&partial);
        fs::rename(&partial, &whole).expect("put a finished template in its place");
    }
    whole
}

fn create(directory: &Path) {
    fs::create_dir_all(directory).unwrap_or_else(|error| {
        panic!(
            "cannot create {}: {error}. ONEWRITE_CACHE names another cache directory",
            directory.display()
        )
    });
}

/// Where `./x` keeps what it fetches. The same rule as in `xtask/servers/fetching.sh`. PostgreSQL refuses to run as root,
/// and its substitute, an unprivileged user, cannot look into `/root`: there the cache is a directory that all may read.
pub fn root() -> PathBuf {
    let named = |variable| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(directory) = named("ONEWRITE_CACHE") {
        return directory;
    }
    if let Some(directory) = named("XDG_CACHE_HOME") {
        return directory.join("onewrite");
    }
    if rustix::process::getuid().is_root() {
        return PathBuf::from("/var/cache/onewrite");
    }
    let home = named("HOME").expect("HOME, ONEWRITE_CACHE or XDG_CACHE_HOME says where the cache directory is");
    home.join(".cache/onewrite")
}

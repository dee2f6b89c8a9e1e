//! `./x audit`, with databases of advisories made here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where the database is said to be; cargo-deny takes no URL of a file, and git goes to another place instead.
const DATABASE: &str = "https://advisories.localhost/database";

/// An advisory that nobody gave out.
const ADVISORY: &str = "RUSTSEC-2026-9999";

/// A folder with a database and a configuration for it.
struct Audit {
    folder: TempDir,
}

impl Audit {
    /// With one advisory, about every version of this crate.
    fn of_advisory_about(package: &str) -> Self {
        let audit = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let place = audit.path("database/crates").join(package);
        fs::create_dir_all(&place).expect("a folder");
        let text = format!(
            "```toml\n[advisory]\nid = \"{ADVISORY}\"\npackage = \"{package}\"\ndate = \"2026-01-01\"\n\
             [versions]\npatched = []\n```\n\n# It does harm\n\nNobody knows how.\n"
        );
        fs::write(place.join(format!("{ADVISORY}.md")), text).expect("it can be written");
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(audit.path("database"));
            git.args(["-c", "user.name=tests", "-c", "user.email=tests@localhost"])
                .args(arguments);
            let said = git.output().expect("git can be run");
            assert!(said.status.success(), "{said:?}");
        };
        git(&["init", "--quiet", "--initial-branch", "main"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "An advisory"]);
        audit
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> String {
        format!("file://{}", self.path("database").display())
    }

    /// The exit code and the words, where these advisories are ignored and the database is where `instead` says.
    fn run(&self, instead: &str, ignored: &str) -> (i32, String) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the workspace holds this crate");
        let mut configuration: toml_edit::DocumentMut = fs::read_to_string(root.join("deny.toml"))
            .expect("it is there")
            .parse()
            .expect("TOML");
        let advisories = &mut configuration["advisories"];
        advisories["db-path"] = toml_edit::value(self.path("fetched").display().to_string());
        advisories["db-urls"] = toml_edit::value(toml_edit::Array::from_iter([DATABASE]));
        advisories["ignore"] = ignored.parse::<toml_edit::Value>().expect("a list").into();
        let path = self.path("deny.toml");
        fs::write(&path, configuration.to_string()).expect("it can be written");
        let mut audit = Command::new(root.join("xtask/audit"));
        audit.arg(path).env("GIT_CONFIG_COUNT", "1");
        audit.env("GIT_CONFIG_KEY_0", format!("url.{instead}.insteadOf"));
        audit.env("GIT_CONFIG_VALUE_0", DATABASE);
        let said = audit.output().expect("it can be run");
        let code = said.status.code().expect("it ends by itself");
        (code, String::from_utf8_lossy(&said.stderr).into_owned())
    }
}

#[test]
fn an_advisory_about_what_we_use_is_found_unless_it_is_ignored() {
    let audit = Audit::of_advisory_about("bytes");
    let (code, words) = audit.run(&audit.database(), "[]");
    assert!(code == 1 && words.contains(ADVISORY), "{code}: {words}");
    let ignored = format!("[{{ id = \"{ADVISORY}\", reason = \"nobody gave it out\" }}]");
    let (code, words) = audit.run(&audit.database(), &ignored);
    assert!(code == 0, "{code}: {words}");
}

#[test]
fn an_advisory_about_something_else_is_nothing() {
    let audit = Audit::of_advisory_about("left-pad");
    let (code, words) = audit.run(&audit.database(), "[]");
    assert!(code == 0, "{code}: {words}");
}

#[test]
fn a_database_that_cannot_be_reached_is_told() {
    let audit = Audit::of_advisory_about("bytes");
    let (code, words) = audit.run("https://localhost:1/database", "[]");
    assert!(code == 3 && words.contains("cannot be reached"), "{code}: {words}");
}

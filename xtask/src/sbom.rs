//! The software bill of materials of the released program, in CycloneDX's JSON form.
//!
//! Own code, since what the tools for it (cargo-cyclonedx, cargo-sbom) list is what `cargo metadata` resolves for the whole workspace:
//! the features that tests ask for are in it, and with them crates that the program does not hold. `cargo tree` resolves as a build
//! of the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use toml_edit::DocumentMut;

/// The package whose program is released.
pub const PACKAGE: &str = "onewrite-cli";

/// What licence, repository and name of a crate are parted by; none of them holds it.
const BETWEEN: char = '\t';

/// A crate at one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
}

/// What is known of a crate.
#[derive(Debug, Default)]
struct Known {
    licence: String,
    repository: String,
    depends_on: BTreeSet<Crate>,
}

type Tree = BTreeMap<Crate, Known>;

/// Writes the bill for the program as it is built by default for `target` (as `rustc` names it) into `target/sbom` below `root`, and
/// returns its place.
///
/// # Errors
/// What went wrong, in words.
pub fn write(root: &Path, target: &str) -> Result<PathBuf, String> {
    let bill = bill(root, target)?;
    let version = bill["metadata"]["component"]["version"].as_str().unwrap_or_default();
    let folder = root.join("target/sbom");
    let path = folder.join(format!("onewrite-{version}-{target}.cdx.json"));
    let text = serde_json::to_string_pretty(&bill).map_err(|error| error.to_string())?;
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&path, text + "\n"))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(path)
}

/// The bill (CycloneDX 1.5, <https://cyclonedx.org/docs/1.5/json/>). It holds no time and no place, so that one state of the project has one.
///
/// # Errors
/// What went wrong, in words.
pub fn bill(root: &Path, target: &str) -> Result<Value, String> {
    let all = tree(root, target, "normal,build")?;
    let linked = tree(root, target, "normal,no-proc-macro")?;
    let checksums = checksums(root)?;
    let (program, others): (Vec<_>, Vec<_>) = all.iter().partition(|(found, _)| found.name == PACKAGE);
    let [(program, known)] = program[..] else {
        return Err(format!("cargo tree does not tell of {PACKAGE}"));
    };
    let components: Vec<Value> = others
        .into_iter()
        .map(|(found, known)| {
            // What only builds the program, such as macros and compilers of C, is not in it.
            let scope = if linked.contains_key(found) {
                "required"
            } else {
                "excluded"
            };
            let mut component = component("library", found, known, checksums.get(found));
            component["scope"] = scope.into();
            component
        })
        .collect();
    let dependencies = all.iter().map(|(found, known)| {
        let depends_on: Vec<String> = known.depends_on.iter().map(reference).collect();
        json!({"ref": reference(found), "dependsOn": depends_on})
    });
    let mut described = component("application", program, known, None);
    described["name"] = "onewrite".into();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": described,
            "properties": [{"name": "cargo:target", "value": target}, {"name": "cargo:features", "value": "default"}],
        },
        "components": components,
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

fn component(kind: &str, found: &Crate, known: &Known, checksum: Option<&String>) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(found),
        "name": found.name,
        "version": found.version,
    });
    if !known.licence.is_empty() {
        // SPDX has the word where older manifests have a slash.
        let either: Vec<&str> = known.licence.split('/').map(str::trim).collect();
        component["licenses"] = json!([{"expression": either.join(" OR ")}]);
    }
    if !known.repository.is_empty() {
        component["externalReferences"] = json!([{"type": "vcs", "url": known.repository}]);
    }
    // Only what comes from the registry has one; the project's own crates are not there.
    if let Some(checksum) = checksum {
        component["purl"] = reference(found).into();
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// The package URL, in which a plus stands for something else.
fn reference(found: &Crate) -> String {
    format!("pkg:cargo/{}@{}", found.name, found.version.replace('+', "%2B"))
}

/// What a build of the program takes, by these kinds of edges.
fn tree(root: &Path, target: &str, edges: &str) -> Result<Tree, String> {
    let format = format!("{BETWEEN}{{p}}{BETWEEN}{{l}}{BETWEEN}{{r}}{BETWEEN}");
    let said = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(root)
        .args(["tree", "--locked", "--package", PACKAGE, "--target", target])
        .args(["--edges", edges, "--prefix", "depth", "--format", &format])
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into_owned());
    }
    let mut tree = Tree::new();
    let mut above: Vec<Crate> = Vec::new();
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let unreadable = || format!("cargo tree said what cannot be read: {line}");
        let parts: Vec<&str> = line.split(BETWEEN).collect();
        let [depth, package, licence, repository, ..] = parts[..] else {
            return Err(unreadable());
        };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next().and_then(|word| word.strip_prefix('v'))) else {
            return Err(unreadable());
        };
        let found = Crate {
            name: name.to_owned(),
            version: version.to_owned(),
        };
        above.truncate(depth.parse().map_err(|_| unreadable())?);
        if let Some(parent) = above.last() {
            tree.entry(parent.clone()).or_default().depends_on.insert(found.clone());
        }
        above.push(found.clone());
        let known = tree.entry(found).or_default();
        (known.licence, known.repository) = (licence.to_owned(), repository.to_owned());
    }
    Ok(tree)
}

/// The checksums of the lock file.
fn checksums(root: &Path) -> Result<BTreeMap<Crate, String>, String> {
    let text = fs::read_to_string(root.join("Cargo.lock")).map_err(|error| format!("Cargo.lock: {error}"))?;
    let lock: DocumentMut = text.parse().map_err(|error| format!("Cargo.lock: {error}"))?;
    let packages = lock["package"]
        .as_array_of_tables()
        .ok_or("Cargo.lock holds no packages")?;
    let text = |table: &toml_edit::Table, key: &str| Some(table.get(key)?.as_str()?.to_owned());
    let found = packages.iter().filter_map(|table| {
        let (name, version) = (text(table, "name")?, text(table, "version")?);
        Some((Crate { name, version }, text(table, "checksum")?))
    });
    Ok(found.collect())
}

//! What types of a thing there are: sources, sinks, formats. The name that a configuration gives is looked up here.

use crate::options::{Field, nearest};

/// A type that a configuration can name.
pub trait Named {
    /// What the configuration's `type` says.
    fn name(&self) -> &'static str;

    /// What can be configured.
    fn fields(&self) -> &'static [Field];
}

/// The types of one thing.
#[derive(Debug)]
pub struct Catalogue<T: 'static> {
    /// What they are types of, in the singular: `sink`.
    pub what: &'static str,
    /// Those that are built into this program, in the order in which lists show them.
    pub built_in: &'static [T],
    /// The names of all that there are, built in or not, each with the Cargo feature that brings it. What nothing need bring
    /// has no feature.
    pub known: &'static [(&'static str, Option<&'static str>)],
}

impl<T: Named> Catalogue<T> {
    /// The type of this name.
    ///
    /// # Errors
    /// [`UnknownType::NotBuiltIn`] where Onewrite knows the name but this program was built without it, and otherwise
    /// [`UnknownType::Unknown`] with the name that was probably meant.
    pub fn find(&self, name: &str) -> Result<&'static T, UnknownType> {
        if let Some(found) = self.built_in.iter().find(|found| found.name() == name) {
            return Ok(found);
        }
        let what = self.what;
        if let Some((name, Some(feature))) = self.known.iter().find(|(known, _)| *known == name) {
            return Err(UnknownType::NotBuiltIn { what, name, feature });
        }
        let known = self.known.iter().map(|(known, _)| *known);
        Err(UnknownType::Unknown {
            what,
            name: name.to_owned(),
            nearest: nearest(&name.to_ascii_lowercase(), known.clone()),
            known: known.collect(),
        })
    }

    /// What is wrong with the catalogue itself, for the test of whoever declares one: a type that is not among the known ones, a
    /// default that does not fit its kind, a field without documentation or two of one name.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws = Vec::new();
        for found in self.built_in {
            let name = found.name();
            if !self.known.iter().any(|(known, _)| *known == name) {
                flaws.push(format!("{name} is not among the known"));
            }
            for (at, field) in found.fields().iter().enumerate() {
                let key = format!("{name}.{}", field.name);
                if let Some(default) = field.default
                    && let Err(expected) = field.kind.parse(default)
                {
                    flaws.push(format!("{key}: {default:?} is not {expected}"));
                }
                if field.doc.is_empty() {
                    flaws.push(format!("{key} has no doc"));
                }
                if found.fields()[..at].iter().any(|other| other.name == field.name) {
                    flaws.push(format!("{key} is there twice"));
                }
            }
        }
        flaws
    }
}

/// Why there is no type of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownType {
    /// Nothing of this name exists.
    #[error("there is no {what} of type {name:?};{} the types are \"{}\"", meant(*nearest), known.join("\", \""))]
    Unknown {
        /// What was asked for, such as `sink`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
        /// All names that there are.
        known: Vec<&'static str>,
    },
    /// It exists, but this program was built without it.
    #[error(
        "the {what} type {name:?} is not built into this program; use one that was built with the Cargo feature {feature:?}"
    )]
    NotBuiltIn {
        /// What was asked for, such as `sink`.
        what: &'static str,
        /// The type.
        name: &'static str,
        /// The Cargo feature that brings it.
        feature: &'static str,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!(" did you mean {name:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Kind, defaulted, field};

    #[derive(Debug)]
    struct Bird(&'static str, &'static [Field]);

    impl Named for Bird {
        fn name(&self) -> &'static str {
            self.0
        }

        fn fields(&self) -> &'static [Field] {
            self.1
        }
    }

    const BIRDS: Catalogue<Bird> = Catalogue {
        what: "bird",
        built_in: &[Bird("pigeon", &[])],
        known: &[("pigeon", None), ("swift", Some("fast"))],
    };

    #[test]
    fn a_name_is_found_or_what_it_lacks_is_told() {
        assert_eq!(BIRDS.find("pigeon").unwrap().name(), "pigeon");
        let told = |name| BIRDS.find(name).unwrap_err().to_string();
        assert_eq!(
            told("Pidgeon"),
            "there is no bird of type \"Pidgeon\"; did you mean \"pigeon\"? the types are \"pigeon\", \"swift\""
        );
        assert_eq!(
            told("xx"),
            "there is no bird of type \"xx\"; the types are \"pigeon\", \"swift\""
        );
        assert_eq!(
            told("swift"),
            "the bird type \"swift\" is not built into this program; use one that was built with the Cargo feature \"fast\""
        );
    }

    #[test]
    fn flaws_are_found() {
        assert!(BIRDS.flaws().is_empty());
        const FIELDS: &[Field] = &[
            defaulted("wings", Kind::Flag, "two", "How many."),
            field("wings", Kind::Text, ""),
        ];
        let flawed = Catalogue {
            built_in: &[Bird("auk", FIELDS)],
            ..BIRDS
        };
        assert_eq!(
            flawed.flaws(),
            [
                "auk is not among the known",
                "auk.wings: \"two\" is not true or false",
                "auk.wings has no doc",
                "auk.wings is there twice"
            ]
        );
    }
}

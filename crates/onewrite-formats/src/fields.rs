//! Short forms of declarations.

use onewrite_core::options::{Field, Kind};

/// A field that may be left out and has no default.
pub const fn field(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field {
        name,
        kind,
        default: None,
        required: false,
        doc,
    }
}

/// A field with a default.
pub const fn defaulted(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Field {
    Field {
        default: Some(default),
        ..field(name, kind, doc)
    }
}

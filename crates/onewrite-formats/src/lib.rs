//! What an event looks like on the wire.

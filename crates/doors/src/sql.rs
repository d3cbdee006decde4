//! SQL connections.

//! What a move does not do.

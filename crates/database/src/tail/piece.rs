//! Row events of one schema, put together so that a target can apply them.
//!
//! A statement's events belong together: its table maps, then its rows, of which the last
//! one says that it is the last. Where a statement is divided, by schema or because it is
//! long, each part begins with its maps and its last rows are marked as last: to the target
//! they are several statements of one transaction.

use super::event::{FLAGS, STATEMENT_END};

/// Bytes after which events are passed on before their transaction ends.
pub(super) const PIECE: usize = 256 * 1024;

/// Events of one schema that wait to be passed on.
#[derive(Debug, Default)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    /// Place of the flags of the last rows event, while its statement is open.
    open: Option<usize>,
}

impl Piece {
    /// Adds rows of the current statement; `maps` are that statement's, of this schema.
    pub(super) fn add<'a>(&mut self, maps: impl Iterator<Item = &'a [u8]>, rows: &[u8]) {
        if self.open.is_none() {
            maps.for_each(|map| self.bytes.extend_from_slice(map));
        }
        let flags = self.bytes.len() + FLAGS;
        self.bytes.extend_from_slice(rows);
        self.bytes[flags] &= !STATEMENT_END;
        self.open = Some(flags);
    }

    /// Ends the statement, if one is open.
    pub(super) fn end_statement(&mut self) {
        if let Some(flags) = self.open.take() {
            self.bytes[flags] |= STATEMENT_END;
        }
    }

    /// Returns whether it should be passed on before rows of this length are added: a long
    /// event travels alone.
    pub(super) fn is_full(&self, next: usize) -> bool {
        !self.bytes.is_empty() && self.bytes.len() + next > PIECE
    }

    /// Takes what has come together; empty if nothing has.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.end_statement();
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(filled: u8) -> Vec<u8> {
        let mut event = vec![filled; 40];
        event[FLAGS] = 0b100 | STATEMENT_END;
        event
    }

    #[test]
    fn a_divided_statement_begins_with_its_maps_and_ends_with_its_mark() {
        let maps = || [&b"map"[..]].into_iter();
        let mut piece = Piece::default();
        piece.add(maps(), &rows(1));
        piece.add(maps(), &rows(2));
        let first = piece.take();
        assert_eq!(first.len(), 3 + 40 + 40, "the maps once");
        assert_eq!(first[3 + FLAGS], 0b100, "not the last");
        assert_eq!(first[43 + FLAGS], 0b100 | STATEMENT_END);
        piece.add(maps(), &rows(3));
        piece.end_statement();
        piece.add(maps(), &rows(4));
        let second = piece.take();
        assert_eq!(second.len(), 2 * 43, "a statement each, each with its maps");
        assert_eq!(second[3 + FLAGS], second[46 + FLAGS]);
        assert!(piece.take().is_empty());
    }

    #[test]
    fn a_long_event_travels_alone() {
        let mut piece = Piece::default();
        assert!(!piece.is_full(PIECE * 9), "nothing to pass on");
        piece.add([&b"map"[..]].into_iter(), &rows(1));
        assert!(!piece.is_full(40));
        assert!(piece.is_full(PIECE));
    }
}

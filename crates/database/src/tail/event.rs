//! What stands in the events that are looked into: as much of each as is needed to know
//! whose it is, and no row's value.

use segue_doors::sql::Literal;
use segue_doors::sql::log::HEADER;

/// Numbers of event types.
pub(super) mod kind {
    pub(in crate::tail) const QUERY: u8 = 2;
    pub(in crate::tail) const STOP: u8 = 3;
    pub(in crate::tail) const ROTATE: u8 = 4;
    pub(in crate::tail) const FORMAT: u8 = 15;
    pub(in crate::tail) const XID: u8 = 16;
    pub(in crate::tail) const TABLE_MAP: u8 = 19;
    pub(in crate::tail) const WRITE_ROWS: u8 = 23;
    pub(in crate::tail) const UPDATE_ROWS: u8 = 24;
    pub(in crate::tail) const DELETE_ROWS: u8 = 25;
    pub(in crate::tail) const INCIDENT: u8 = 26;
    pub(in crate::tail) const HEARTBEAT: u8 = 27;
    pub(in crate::tail) const XA_PREPARE: u8 = 38;
    pub(in crate::tail) const ANNOTATE: u8 = 160;
    pub(in crate::tail) const CHECKPOINT: u8 = 161;
    pub(in crate::tail) const GTID: u8 = 162;
    pub(in crate::tail) const GTID_LIST: u8 = 163;
    /// Events that go before a statement, or carry a file that one loads.
    pub(in crate::tail) const OF_STATEMENTS: [u8; 8] = [5, 9, 10, 11, 13, 14, 17, 18];
    /// Queries and rows under `log_bin_compress`.
    pub(in crate::tail) const COMPRESSED: std::ops::RangeInclusive<u8> = 165..=171;
}

/// Place of a rows event's flags in its bytes.
pub(super) const FLAGS: usize = HEADER + 6;

/// Flag of a statement's last rows event.
pub(super) const STATEMENT_END: u8 = 1;

/// Reads little-endian numbers and texts; `None` where the bytes end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, width: usize) -> Option<u64> {
        let taken = self.take(width)?;
        Some(taken.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// Reads a number that takes as many bytes as it needs.
    fn packed(&mut self) -> Option<u64> {
        match self.number(1)? {
            small @ 0..=250 => Some(small),
            252 => self.number(2),
            253 => self.number(3),
            254 => self.number(8),
            _ => None,
        }
    }

    fn sized(&mut self, count: u64) -> Option<&'a [u8]> {
        self.take(usize::try_from(count).ok()?)
    }
}

fn body(event: &[u8]) -> Bytes<'_> {
    Bytes(event.get(HEADER..).unwrap_or_default())
}

/// The begin of a transaction or of a statement that is one by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gtid {
    pub(super) domain: u32,
    pub(super) sequence: u64,
    /// One statement, without a commit behind it.
    pub(super) alone: bool,
    /// It only prepares the distributed transaction `xid`.
    pub(super) prepares: bool,
    /// It ends the distributed transaction `xid`.
    pub(super) completes: bool,
    pub(super) xid: Vec<u8>,
}

impl Gtid {
    const ALONE: u64 = 1;
    const GROUP_COMMIT: u64 = 2;
    const PREPARES: u64 = 64;
    const COMPLETES: u64 = 128;

    pub(super) fn read(event: &[u8]) -> Option<Self> {
        let mut bytes = body(event);
        let sequence = bytes.number(8)?;
        let domain = u32::try_from(bytes.number(4)?).ok()?;
        let flags = bytes.number(1)?;
        let has = |flag: u64| flags & flag != 0;
        if has(Self::GROUP_COMMIT) {
            bytes.number(8)?;
        }
        let mut xid = Vec::new();
        if has(Self::PREPARES) || has(Self::COMPLETES) {
            let lengths = *bytes.0.get(4)? as usize + *bytes.0.get(5)? as usize;
            xid.extend_from_slice(bytes.take(6 + lengths)?);
        }
        Some(Self {
            domain,
            sequence,
            alone: has(Self::ALONE),
            prepares: has(Self::PREPARES),
            completes: has(Self::COMPLETES),
            xid,
        })
    }
}

/// Which table a number means until the statement ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableMap<'a> {
    pub(super) id: u64,
    pub(super) schema: &'a [u8],
    pub(super) table: &'a [u8],
}

impl<'a> TableMap<'a> {
    pub(super) fn read(event: &'a [u8]) -> Option<Self> {
        let mut bytes = body(event);
        let id = bytes.number(6)?;
        bytes.number(2)?;
        let mut name = || {
            let length = bytes.number(1)?;
            let name = bytes.sized(length)?;
            bytes.number(1)?;
            Some(name)
        };
        Some(Self { id, schema: name()?, table: name()? })
    }
}

/// Changes of rows of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    /// The number that a table map explained.
    pub(super) table: u64,
    /// The statement ends with it.
    pub(super) last: bool,
    /// Every row is there with every column.
    pub(super) whole: bool,
}

impl Rows {
    pub(super) fn read(event: &[u8], kind: u8) -> Option<Self> {
        let mut bytes = body(event);
        let table = bytes.number(6)?;
        let last = bytes.number(2)? & u64::from(STATEMENT_END) != 0;
        let columns = bytes.packed()?;
        let mut whole = true;
        // An update has two sets of columns: those before it and those after it.
        let sets = if kind == self::kind::UPDATE_ROWS { 2 } else { 1 };
        for _ in 0..sets {
            let set = bytes.sized(columns.div_ceil(8))?;
            // Bits beyond the last column may be set or not.
            whole &= set.iter().zip((0..columns).step_by(8)).all(|(byte, first)| {
                let wanted = u8::MAX >> 8_u64.saturating_sub(columns - first);
                byte & wanted == wanted
            });
        }
        Some(Self { table, last, whole })
    }

    /// Whether it stands for no table: an end of a statement whose rows were left out.
    pub(super) fn is_dummy(self) -> bool {
        matches!(self.table, 0x00ff_ffff | 0xffff_ffff | 0xffff_ffff_ffff)
    }
}

/// A statement in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// The session's default schema.
    pub(super) schema: &'a [u8],
    pub(super) text: &'a [u8],
    /// The server's number of the error in which it ended there; 0 for none.
    pub(super) error: u64,
    /// When it began, seconds since 1970.
    seconds: u64,
    variables: &'a [u8],
}

impl<'a> Query<'a> {
    pub(super) fn read(event: &'a [u8]) -> Option<Self> {
        let seconds = Bytes(event).number(4)?;
        let mut bytes = body(event);
        bytes.number(8)?;
        let schema = bytes.number(1)?;
        let error = bytes.number(2)?;
        let variables = bytes.number(2)?;
        let variables = bytes.sized(variables)?;
        let schema = bytes.sized(schema)?;
        bytes.number(1)?;
        Some(Self { schema, text: bytes.0, error, seconds, variables })
    }

    /// Returns the settings under which it ran, as assignments of a `SET`; `None` if there is
    /// one that cannot be carried over.
    ///
    /// Codes of MariaDB's `log_event.h`; the same as MySQL's below 128.
    pub(super) fn settings(&self) -> Option<String> {
        let mut bytes = Bytes(self.variables);
        let mut all = Vec::new();
        let (mut micros, mut newer) = (0, String::new());
        while let Some(code) = bytes.number(1) {
            match code {
                0 => {
                    let set = bytes.number(4)?;
                    all.extend(flags(set));
                    newer = self::newer(set);
                }
                1 => {
                    let mode = bytes.number(8)?;
                    // Without escapes its text would be read in another way than it was meant.
                    if has(mode, 20) && self.text.contains(&b'\\') {
                        return None;
                    }
                    all.push(format!("sql_mode = {mode}"));
                }
                // What counts up belongs to rows.
                3 => drop(bytes.number(4)?),
                4 => {
                    // A number is taken for the character set of a default collation alone.
                    all.push(format!(
                        "character_set_client = (SELECT CHARACTER_SET_NAME \
                         FROM information_schema.COLLATIONS WHERE ID = {})",
                        bytes.number(2)?
                    ));
                    for name in ["collation_connection", "collation_server"] {
                        all.push(format!("{name} = {}", bytes.number(2)?));
                    }
                }
                5 => {
                    let length = bytes.number(1)?;
                    let zone = std::str::from_utf8(bytes.sized(length)?).ok()?;
                    all.push(format!("time_zone = {}", Literal::new(zone)));
                }
                // There is one catalog.
                6 => {
                    let length = bytes.number(1)?;
                    (bytes.sized(length)? == b"std").then_some(())?;
                }
                7 => all.push(format!("lc_time_names = {}", bytes.number(2)?)),
                8 => all.push(format!("collation_database = {}", bytes.number(2)?)),
                // Tables of an update, and what a replica's own relay log is told.
                9 => drop(bytes.number(8)?),
                10 => drop(bytes.number(4)?),
                // Who called: the definer stands in the statement.
                11 => {
                    for _ in 0..2 {
                        let length = bytes.number(1)?;
                        bytes.sized(length)?;
                    }
                }
                128 => micros = bytes.number(3)?,
                129 => drop(bytes.number(8)?),
                _ => return None,
            }
        }
        all.push(format!("timestamp = {}.{micros:06}", self.seconds));
        Some(all.join(", ") + &newer)
    }
}

/// Returns what a statement's flags say of its session.
fn flags(flags: u64) -> impl Iterator<Item = String> {
    [("check_constraint_checks", 15), ("foreign_key_checks", 26), ("unique_checks", 27)]
        .into_iter()
        .map(move |(name, bit)| format!("{name} = {}", u8::from(!has(flags, bit))))
}

/// As [`flags`], of settings that older servers do not have, which leave such a comment alone.
fn newer(flags: u64) -> String {
    format!(
        "/*M!100502 , sql_if_exists = {} *//*M!100804 , explicit_defaults_for_timestamp = {} */",
        u8::from(has(flags, 28)),
        u8::from(has(flags, 24))
    )
}

fn has(flags: u64, bit: u32) -> bool {
    (flags >> bit) & 1 == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(body: &[u8]) -> Vec<u8> {
        [&[0; HEADER][..], body].concat()
    }

    #[test]
    fn a_transaction_id_is_read_behind_a_group_commit() {
        let plain = event(&[9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let gtid = Gtid::read(&plain).unwrap();
        assert_eq!((gtid.domain, gtid.sequence, gtid.alone, gtid.prepares), (3, 9, true, false));
        let mut grouped = vec![9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2 | 64];
        grouped.extend([0xee; 8]);
        grouped.extend([1, 0, 0, 0, 2, 1, b'a', b'b', b'c', 0xff]);
        let gtid = Gtid::read(&event(&grouped)).unwrap();
        assert!(gtid.prepares && !gtid.completes && !gtid.alone);
        assert_eq!(gtid.xid, [1, 0, 0, 0, 2, 1, b'a', b'b', b'c']);
    }

    #[test]
    fn rows_with_a_column_left_out_are_not_whole() {
        let write = |columns: u8, set: &[u8]| {
            let head = [7, 0, 0, 0, 0, 0, 1, 0, columns];
            let rows = Rows::read(&event(&[&head[..], set].concat()), kind::WRITE_ROWS).unwrap();
            assert_eq!((rows.table, rows.last), (7, true));
            rows.whole
        };
        assert!(write(3, &[0b111]));
        assert!(write(3, &[0b1111_1111]), "what is beyond the columns does not count");
        assert!(!write(3, &[0b101]));
        assert!(!write(3, &[0b1111_1101]), "nor stand for one that is left out");
        assert!(write(9, &[0xff, 1]));
        assert!(!write(9, &[0xfe, 1]));
        let update = event(&[7, 0, 0, 0, 0, 0, 0, 0, 2, 0b11, 0b01]);
        assert!(!Rows::read(&update, kind::UPDATE_ROWS).unwrap().whole, "the image after it");
        assert_eq!(Rows::read(&event(&[7, 0, 0]), kind::WRITE_ROWS), None);
    }

    fn query(variables: &[u8]) -> Vec<u8> {
        let length = u8::try_from(variables.len()).unwrap();
        let mut bytes =
            event(&[&[0; 8][..], &[4, 0, 0, length, 0], variables, b"shop\0DROP"].concat());
        bytes[0] = 60;
        bytes
    }

    #[test]
    fn a_statements_settings_become_assignments() {
        let variables = [
            &[0, 0, 0, 0, 5][..],
            &[1, 32, 0, 0, 0, 0, 0, 0, 0],
            b"\x06\x03std",
            &[4, 45, 0, 33, 0, 8, 0],
            b"\x05\x06+01:00",
            &[128, 5, 0, 0, 129, 1, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let event = query(&variables);
        let query = Query::read(&event).unwrap();
        assert_eq!((query.schema, query.text, query.error), (&b"shop"[..], &b"DROP"[..], 0));
        assert_eq!(
            query.settings().unwrap(),
            "check_constraint_checks = 1, foreign_key_checks = 0, unique_checks = 1, \
             sql_mode = 32, character_set_client = (SELECT CHARACTER_SET_NAME \
             FROM information_schema.COLLATIONS WHERE ID = 45), collation_connection = 33, \
             collation_server = 8, time_zone = '+01:00', timestamp = 60.000005\
             /*M!100502 , sql_if_exists = 0 *//*M!100804 , explicit_defaults_for_timestamp = 1 */"
        );
    }

    #[test]
    fn a_setting_that_is_not_known_is_not_passed_over() {
        for variables in [&[130, 0][..], &[200], &[0, 1], b"\x06\x03abc"] {
            let event = query(variables);
            assert_eq!(Query::read(&event).unwrap().settings(), None, "{variables:?}");
        }
        // No escapes, and a text in which they would count.
        let mut event = query(&[1, 0, 0, 16, 0, 0, 0, 0, 0]);
        assert!(Query::read(&event).unwrap().settings().is_some());
        event.push(b'\\');
        assert_eq!(Query::read(&event).unwrap().settings(), None);
    }
}

//! Entries to records: directives, owners, TTLs, classes.

use super::generate::{self, Range as Numbers};
use super::lexer::{Entry, Lexer, Token};
use super::problem::{Remark, Wrong};
use super::{rdata, scan, ttl};
use crate::sets::{self, Data, Owner, RecordSet, SetKey};
use domain::base::Rtype;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::str::FromStr;

/// Files within files.
const DEPTH_MAX: usize = 16;
/// Faults that are told; a file that is none at all has thousands.
const FAULTS_MAX: usize = 20;
/// Highest TTL (RFC 2181 section 8); BIND takes a higher one for 0.
const TTL_MAX: u32 = i32::MAX as u32;

/// Loads an included file by the name that the zone file gives it.
pub(super) type Load<'r> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'r;

/// Where the reader is.
struct Place {
    file: String,
    depth: usize,
    origin: Owner,
    /// Owner of the entry before.
    owner: Option<Owner>,
}

/// An entry of the first file, for whoever wants to edit it.
#[derive(Debug)]
pub(super) struct Line {
    /// Its octets, from the beginning of its first line to behind its last.
    pub(super) span: Range<usize>,
    /// Whether it takes its owner from the entry before.
    pub(super) blank: bool,
    /// Its owner.
    pub(super) owner: Owner,
    /// The set to which its record belongs; none for a directive and the SOA.
    pub(super) key: Option<SetKey>,
}

/// What has been read so far.
pub(super) struct Reader<'r> {
    apex: &'r Owner,
    load: &'r mut Load<'r>,
    /// Of the last `$TTL`.
    default_ttl: Option<u32>,
    /// Of the last record.
    last_ttl: Option<u32>,
    /// The owner that is being read, and what stands together there.
    block: Option<(Owner, BTreeMap<Rtype, Together>)>,
    pub(super) start: Option<(u32, Data)>,
    pub(super) sets: BTreeMap<SetKey, RecordSet>,
    pub(super) faults: Vec<Remark>,
    pub(super) notes: Vec<Remark>,
    /// The entries of the first file, if they are wanted.
    pub(super) lines: Option<Vec<Line>>,
    /// Where the serial stands in the first file.
    pub(super) serial_at: Option<Range<usize>>,
    /// Where the SOA's minimum stands there.
    pub(super) minimum_at: Option<Range<usize>>,
    /// The set of the record that was read last.
    latest: Option<SetKey>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(apex: &'r Owner, load: &'r mut Load<'r>) -> Self {
        Self {
            apex,
            load,
            default_ttl: None,
            last_ttl: None,
            block: None,
            start: None,
            sets: BTreeMap::new(),
            faults: Vec::new(),
            notes: Vec::new(),
            lines: None,
            serial_at: None,
            minimum_at: None,
            latest: None,
        }
    }

    /// Wants the entries of the first file.
    pub(super) fn with_lines(mut self) -> Self {
        self.lines = Some(Vec::new());
        self
    }

    /// Reads a whole file. Faults of entries are kept, and reading goes on behind them.
    pub(super) fn read(&mut self, file: &str, text: &[u8]) {
        let origin = self.apex.clone();
        let mut place = Place { file: file.to_owned(), depth: 0, origin, owner: None };
        self.entries(&mut place, text);
    }

    fn entries(&mut self, place: &mut Place, text: &[u8]) {
        let mut lexer = Lexer::new(text);
        let mut entry = Entry::default();
        while self.faults.len() < FAULTS_MAX {
            match lexer.next(&mut entry) {
                Ok(false) => return,
                Ok(true) => {
                    self.latest = None;
                    if let Err(wrong) = self.entry(place, &entry) {
                        self.fault(place, entry.line, wrong);
                    }
                    self.keep_line(place, text, &entry, lexer.at());
                }
                // What follows cannot be told apart any more.
                Err(wrong) => return self.fault(place, lexer.line(), wrong),
            }
        }
    }

    /// Remembers where an entry of the first file stands, if that is wanted.
    fn keep_line(&mut self, place: &Place, text: &[u8], entry: &Entry<'_>, end: usize) {
        let (Some(lines), 0, Some(first)) = (&mut self.lines, place.depth, entry.tokens.first())
        else {
            return;
        };
        let at = |token: &Token<'_>| token.raw.as_ptr() as usize - text.as_ptr() as usize;
        let line_start = text[..at(first)].iter().rposition(|octet| matches!(octet, b'\n' | b'\r'));
        let directive = !entry.blank && first.raw.first() == Some(&b'$');
        let key = self.latest.take().filter(|_| !directive);
        if key.as_ref().is_some_and(|key| key.rtype == Rtype::SOA) {
            // Data of an SOA ends with its serial and four times.
            let place = |behind: usize| {
                let token = entry.tokens.get(entry.tokens.len().checked_sub(behind)?)?;
                Some(at(token)..at(token) + token.raw.len())
            };
            (self.serial_at, self.minimum_at) = (place(5), place(1));
        }
        let Some(owner) = place.owner.clone() else { return };
        lines.push(Line {
            span: line_start.map_or(0, |at| at + 1)..end,
            blank: entry.blank,
            owner,
            key: key.filter(|key| key.rtype != Rtype::SOA),
        });
    }

    fn fault(&mut self, place: &Place, line: u32, wrong: Wrong) {
        self.faults.push(Remark { file: place.file.clone(), line, what: wrong.0 });
    }

    fn note(&mut self, place: &Place, line: u32, what: String) {
        self.notes.push(Remark { file: place.file.clone(), line, what });
    }

    fn entry(&mut self, place: &mut Place, entry: &Entry<'_>) -> Result<(), Wrong> {
        let tokens = entry.tokens.as_slice();
        let Some((first, rest)) = tokens.split_first() else { return Ok(()) };
        if !entry.blank && first.raw.first() == Some(&b'$') {
            return self.directive(place, entry.line, first, rest);
        }
        let (owner, rest) = if entry.blank {
            let owner = place.owner.clone().ok_or("no owner stands here or before")?;
            (owner, tokens)
        } else {
            (scan::name(first.raw, &place.origin)?, rest)
        };
        place.owner = Some(owner.clone());
        let head = Head::read(rest)?;
        let rtype = head.rtype()?;
        self.record(place, entry.line, owner, head.ttl, rtype, head.rest)
    }

    fn directive(
        &mut self,
        place: &mut Place,
        line: u32,
        first: &Token<'_>,
        rest: &[Token<'_>],
    ) -> Result<(), Wrong> {
        let words = |least: usize, most: usize| match rest.len() {
            n if n < least => Err(Wrong(format!("`{}` wants more", first.text()))),
            n if n > most => Err(Wrong(format!("`{}` is too much", rest[most].text()))),
            _ => Ok(()),
        };
        // BIND knows them in quotes, too.
        let is = |word: &str| first.raw.eq_ignore_ascii_case(word.as_bytes());
        if is("$ORIGIN") {
            words(1, 1)?;
            place.origin = scan::name(rest[0].raw, &place.origin)?;
        } else if is("$TTL") {
            words(1, 1)?;
            let bad = || Wrong(format!("`{}` is no TTL", rest[0].text()));
            let value = ttl::seconds(rest[0].raw).ok_or_else(bad)?;
            self.default_ttl = Some(self.limited(place, line, value));
        } else if is("$INCLUDE") {
            words(1, 2)?;
            self.include(place, rest)?;
        } else if is("$GENERATE") {
            self.generate(place, line, rest)?;
        } else {
            return Err(format!("`{}` is no directive that is known here", first.text()).into());
        }
        Ok(())
    }

    /// Reads a file in the place of its directive; origin and owner are as before after it.
    fn include(&mut self, place: &Place, rest: &[Token<'_>]) -> Result<(), Wrong> {
        // A backslash in a file's name is one, but before a quote.
        let named = std::str::from_utf8(rest[0].raw).map_err(|_| "the file's name is not UTF-8")?;
        let named = named.replace("\\\"", "\"");
        if place.depth == DEPTH_MAX {
            return Err(format!("`{named}` is the {DEPTH_MAX}th file within files").into());
        }
        let origin = match rest.get(1) {
            Some(token) => scan::name(token.raw, &place.origin)?,
            None => place.origin.clone(),
        };
        let text = (self.load)(&named).map_err(|cause| format!("read `{named}`: {cause}"))?;
        let (depth, owner) = (place.depth + 1, place.owner.clone());
        self.entries(&mut Place { file: named, depth, origin, owner }, &text);
        Ok(())
    }

    fn generate(&mut self, place: &Place, line: u32, rest: &[Token<'_>]) -> Result<(), Wrong> {
        let [range, left, rest @ ..] = rest else {
            return Err("`$GENERATE` wants a range and an owner".into());
        };
        let range = Numbers::read(&range.text())?;
        let head = Head::read(rest)?;
        let rtype = head.rtype()?;
        let [right] = head.rest else {
            return Err("`$GENERATE` wants its data as one word, or in quotes".into());
        };
        // What it makes stands apart: the group of records around it goes on behind it.
        let around = self.block.take();
        for number in range.numbers() {
            let owner = scan::name(&generate::fill(left.raw, number)?, &place.origin)?;
            let data = generate::fill(right.raw, number)?;
            let mut made = Entry::default();
            Lexer::new(&data).next(&mut made)?;
            self.record(place, line, owner, head.ttl, rtype, &made.tokens)?;
        }
        self.block = around;
        Ok(())
    }

    fn record(
        &mut self,
        place: &Place,
        line: u32,
        owner: Owner,
        ttl: Option<u32>,
        rtype: Rtype,
        tokens: &[Token<'_>],
    ) -> Result<(), Wrong> {
        let data = rdata::read(rtype, tokens, &place.origin)?;
        let ttl = self.ttl(place, line, ttl, rtype, &data)?;
        let written = owner;
        let owner = sets::lower_case(&written);
        if !owner.ends_with(self.apex) {
            self.block = None;
            let what = format!("`{owner}` is not in zone `{}`: left out", self.apex);
            self.note(place, line, what);
            return Ok(());
        }
        if owner.as_slice().starts_with(b"\x01*") && matches!(rtype, Rtype::NS | Rtype::NSEC3) {
            return Err(format!("{rtype} at a wildcard (RFC 4592 section 4.2)").into());
        }
        if rtype == Rtype::NSEC3 && owner == *self.apex {
            // BIND takes it and shows it nowhere.
            return Err(
                "NSEC3 stands at a hashed name below the zone's (RFC 5155 section 3)".into()
            );
        }
        if rtype == Rtype::DS && owner == *self.apex {
            return Err("DS at the zone's top: it belongs to the zone above (RFC 4035 2.4)".into());
        }
        let ttl = self.ttl_of_set(place, line, &written, rtype, ttl);
        if rtype == Rtype::SOA {
            self.latest = Some(SetKey { name: owner.clone(), rtype });
            return self.begin(&owner, ttl, data);
        }
        let key = SetKey { name: owner, rtype };
        if self.lines.is_some() {
            self.latest = Some(key.clone());
        }
        let set = self.sets.entry(key).or_insert_with_key(|key| RecordSet::absent(key.clone()));
        let former = set.exists().then_some(set.ttl).filter(|former| *former != ttl);
        // Of the same record in another case the last one of those that stand together stays,
        // and of several such groups the first one's, as BIND has it.
        let group = self.block.as_mut().and_then(|(_, types)| types.get_mut(&rtype));
        if let Some(group) = group
            && (group.data.contains(&data) || !set.data.contains(&data))
        {
            group.data.insert(data.clone());
            set.data.replace(data);
        }
        set.ttl = ttl;
        if let Some(former) = former {
            let what = format!("`{}` has TTLs {former} and {ttl}: {ttl} counts", set.key);
            self.note(place, line, what);
        }
        Ok(())
    }

    fn begin(&mut self, owner: &Owner, ttl: u32, data: Data) -> Result<(), Wrong> {
        if owner != self.apex {
            return Err(format!("an SOA at `{owner}`, not at the zone's top").into());
        }
        match &self.start {
            Some((_, first)) if *first != data => Err("a second SOA".into()),
            Some(_) => Ok(()),
            None => {
                self.start = Some((ttl, data));
                Ok(())
            }
        }
    }

    /// Returns the TTL of a record: its own, else that of `$TTL`, else that of the record
    /// before (RFC 1035), else the minimum of the SOA that this is.
    fn ttl(
        &mut self,
        place: &Place,
        line: u32,
        own: Option<u32>,
        rtype: Rtype,
        data: &Data,
    ) -> Result<u32, Wrong> {
        let value = match (own, self.default_ttl, self.last_ttl) {
            (Some(own), ..) => self.limited(place, line, own),
            (None, Some(default), _) => default,
            (None, None, Some(last)) => last,
            (None, None, None) if rtype == Rtype::SOA => {
                let minimum = data.wire.last_chunk().copied().map(u32::from_be_bytes);
                let minimum = self.limited(place, line, minimum.ok_or("an SOA without minimum")?);
                self.default_ttl = Some(minimum);
                minimum
            }
            _ => return Err("no TTL stands here or before, and no `$TTL`".into()),
        };
        self.last_ttl = Some(value);
        Ok(value)
    }

    fn limited(&mut self, place: &Place, line: u32, value: u32) -> u32 {
        if value <= TTL_MAX {
            return value;
        }
        self.note(place, line, format!("a TTL of {value} is too high and counts as 0 (RFC 2181)"));
        0
    }

    /// Records of a set have one TTL (RFC 2181 section 5.2): the one of the first record of
    /// those that stand together. Of several such groups the last one's counts.
    fn ttl_of_set(
        &mut self,
        place: &Place,
        line: u32,
        owner: &Owner,
        rtype: Rtype,
        ttl: u32,
    ) -> u32 {
        // To BIND a name in another case begins another group.
        let same = |current: &Owner| current.as_slice() == owner.as_slice();
        if self.block.as_ref().is_none_or(|(current, _)| !same(current)) {
            self.block = Some((owner.clone(), BTreeMap::new()));
        }
        let first = self.block.as_mut().map_or(ttl, |(_, types)| {
            types.entry(rtype).or_insert_with(|| Together { ttl, data: BTreeSet::new() }).ttl
        });
        if first != ttl {
            let what = format!("`{owner} {rtype}` has TTLs {first} and {ttl}: {first} counts");
            self.note(place, line, what);
            self.last_ttl = Some(first);
        }
        first
    }
}

/// Records of a set that stand together.
struct Together {
    /// TTL of the first one.
    ttl: u32,
    /// What no group before had.
    data: BTreeSet<Data>,
}

/// What stands between owner and data.
struct Head<'s, 't> {
    ttl: Option<u32>,
    word: &'s Token<'t>,
    /// The data.
    rest: &'s [Token<'t>],
}

impl<'s, 't> Head<'s, 't> {
    /// Reads TTL and class, in either order, and the type.
    fn read(mut rest: &'s [Token<'t>]) -> Result<Self, Wrong> {
        let (mut own, mut class) = (None, None);
        for _ in 0..2 {
            let Some(token) = rest.first().filter(|token| !token.quoted) else { break };
            if class.is_none()
                && let Some(found) = class_of(token)
            {
                class = Some(found);
            } else if own.is_none()
                && let Some(seconds) = ttl::seconds(token.raw)
            {
                own = Some(seconds);
            } else {
                break;
            }
            rest = &rest[1..];
        }
        if class.is_some_and(|class| class != 1) {
            return Err("a class other than IN".into());
        }
        let (word, rest) = rest.split_first().ok_or("the line ends before its type")?;
        Ok(Self { ttl: own, word, rest })
    }

    fn rtype(&self) -> Result<Rtype, Wrong> {
        let text = self.word.text();
        let generic = text.to_ascii_uppercase();
        let written = generic.strip_prefix("TYPE").is_none_or(is_number);
        let known = (!self.word.quoted && written).then(|| Rtype::from_str(&text).ok()).flatten();
        let rtype = known.ok_or_else(|| format!("`{text}` is no record type"))?;
        // OPT, and what RFC 6895 section 3.1 keeps for questions.
        if matches!(rtype.to_int(), 0 | 41 | 128..=255) {
            return Err(format!("records of type {rtype} stand in no zone").into());
        }
        Ok(rtype)
    }
}

/// Returns the number of a class (RFC 1035 section 3.2.4, RFC 3597 section 5).
fn class_of(token: &Token<'_>) -> Option<u16> {
    for (word, number) in
        [("IN", 1), ("CH", 3), ("CHAOS", 3), ("HS", 4), ("HESIOD", 4), ("NONE", 254), ("ANY", 255)]
    {
        if token.is(word) {
            return Some(number);
        }
    }
    let text = token.text().to_ascii_uppercase();
    text.strip_prefix("CLASS").filter(|number| is_number(number))?.parse().ok()
}

/// Whether a type or class is numbered as RFC 3597 section 5 and BIND have it: five digits at most.
fn is_number(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit())
}

//! Positions in MariaDB's binary logs: one global transaction id for each domain.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The last transaction of each domain: `1-11-402,7-3-90`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<u32, (u32, u64)>);

impl Position {
    /// Returns whether a server at this position has everything up to `other`.
    ///
    /// Domains that `other` does not name do not count: on a shared server other tenants
    /// move them all the time.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(domain, (_, wanted))| {
            *wanted == 0 || self.0.get(domain).is_some_and(|(_, reached)| reached >= wanted)
        })
    }

    /// Returns this position with the domains of `other` set to those of `other`.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(other.0.iter().map(|(domain, rest)| (*domain, *rest)));
        Self(all)
    }

    /// Returns this position without the domains that `other` does not name.
    pub(crate) fn only(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(domain, _)| other.0.contains_key(domain))
                .map(|(domain, rest)| (*domain, *rest))
                .collect(),
        )
    }

    /// Returns this position without the domains that `other` names.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut all = self.0.clone();
        all.retain(|domain, _| !other.0.contains_key(domain));
        Self(all)
    }

    /// Returns the sequence number of the last transaction of a domain; `None` before the first.
    pub(crate) fn sequence(&self, domain: u32) -> Option<u64> {
        self.0.get(&domain).map(|(_, sequence)| *sequence)
    }

    /// Returns the later of both in each domain.
    pub(crate) fn latest(&self, other: &Self) -> Self {
        let mut all = self.0.clone();
        for (domain, theirs) in &other.0 {
            let at = all.entry(*domain).or_insert(*theirs);
            if at.1 < theirs.1 {
                *at = *theirs;
            }
        }
        Self(all)
    }

    /// Moves one domain to a transaction.
    pub(crate) fn advance(&mut self, domain: u32, server: u32, sequence: u64) {
        self.0.insert(domain, (server, sequence));
    }

    /// Returns the latest position that is behind none of these; before everything for none.
    ///
    /// A domain that one of them does not name is read from its beginning.
    pub(crate) fn earliest<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = all.into_iter();
        let Some(mut earliest) = all.next().cloned() else { return Self::default() };
        for other in all {
            earliest.0.retain(|domain, _| other.0.contains_key(domain));
            for (domain, at) in &mut earliest.0 {
                if let Some(theirs) = other.0.get(domain)
                    && theirs.1 < at.1
                {
                    *at = *theirs;
                }
            }
        }
        earliest
    }

    /// Returns how many transactions of `other` are missing here, over all its domains.
    pub(crate) fn missing(&self, other: &Self) -> u64 {
        other
            .0
            .iter()
            .map(|(domain, (_, wanted))| {
                wanted.saturating_sub(self.0.get(domain).map_or(0, |(_, reached)| *reached))
            })
            .sum()
    }
}

impl FromStr for Position {
    type Err = String;

    /// Reads the server's form; an empty text is the position before everything.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || format!("`{part}` is no global transaction id");
            let mut numbers = part.splitn(3, '-');
            let domain = numbers.next().and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
            let server = numbers.next().and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
            let sequence: u64 = numbers.next().and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
            let entry = all.entry(domain).or_insert((server, sequence));
            if entry.1 < sequence {
                *entry = (server, sequence);
            }
        }
        Ok(Self(all))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domain, (server, sequence))) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn covers_needs_every_named_domain() {
        assert!(at("1-1-7,2-2-3").covers(&at("1-1-7")));
        assert!(!at("1-1-6,2-2-9").covers(&at("1-1-7")));
        assert!(!at("").covers(&at("1-1-1")));
        assert!(at("").covers(&at("")));
    }

    #[test]
    fn setting_one_domain_keeps_the_others() {
        assert_eq!(at("1-1-7,5-9-2").with(&at("1-1-4")).to_string(), "1-1-4,5-9-2");
        assert_eq!(at("1-1-7,5-9-2").only(&at("1-3-1")).to_string(), "1-1-7");
        assert_eq!(at("1-1-7,5-9-2").without(&at("1-3-1")).to_string(), "5-9-2");
    }

    #[test]
    fn the_earliest_position_is_behind_none() {
        let all = [at("1-1-7,2-2-3"), at("1-9-5,2-2-4,3-3-1")];
        assert_eq!(Position::earliest(&all), at("1-9-5,2-2-3"));
        assert_eq!(Position::earliest(&all[..1]), all[0]);
        assert_eq!(Position::earliest([]), at(""));
    }

    #[test]
    fn counts_what_is_missing() {
        assert_eq!(at("1-1-7").missing(&at("1-1-9,2-2-1")), 3);
        assert_eq!(at("1-1-9").missing(&at("1-1-7")), 0);
    }

    #[test]
    fn refuses_other_texts() {
        assert!("1-2".parse::<Position>().is_err());
        assert!("a-b-c".parse::<Position>().is_err());
    }
}

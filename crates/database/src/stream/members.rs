//! Which units a stream carries, as the server that reads it notes them.
//!
//! The notes are the truth: filters are forgotten in a restart and are made from them. They
//! also say how far a unit is that the others wait for, so that a crash at any point
//! leaves no doubt about whose position the server's `gtid_slave_pos` is.

use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::settings::own;
use segue_doors::sql::Literal;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::collections::BTreeSet;

/// How far a unit is on its way into the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not carried; its copy stands at its own position.
    Waiting,
    /// The server's position is about to be set to the unit's; nothing runs.
    Rewinding,
    /// The stream carries this unit alone, from its position to where the others stand.
    Catching,
    /// The server's position is about to be set to the others' again; nothing runs.
    Returning,
    /// Carried with the others.
    Following,
    /// Left out: what it carried could not be applied, and the others go on.
    Out,
}

impl Stage {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Waiting, "waiting"),
        (Self::Rewinding, "rewinding"),
        (Self::Catching, "catching"),
        (Self::Returning, "returning"),
        (Self::Following, "following"),
        (Self::Out, "out"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(stage, _)| *stage)
    }

    /// Returns whether the stream was changed for the unit and not yet back.
    pub(crate) fn is_pending(self) -> bool {
        matches!(self, Self::Rewinding | Self::Catching | Self::Returning)
    }
}

/// A unit with regard to the stream.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) unit: String,
    /// Where its copy stands in the origin's binary log, unless it follows.
    pub(crate) gtid: String,
    pub(crate) stage: Stage,
    /// Where the others wait meanwhile; empty if there are none.
    pub(crate) others: String,
    /// Why it was left out.
    pub(crate) why: String,
    filters: Filters,
}

impl Member {
    /// Returns the unit's schema.
    pub(crate) fn schema(&self) -> &str {
        self.filters
            .schemas
            .iter()
            .find(|name| *name != crate::settings::OWN_SCHEMA)
            .map_or("", |name| name)
    }

    /// Returns the unit's tables in Segue's own schema.
    pub(crate) fn own_tables(&self) -> impl Iterator<Item = String> {
        let beginning = format!("{}.", crate::settings::OWN_SCHEMA);
        self.filters
            .patterns
            .iter()
            .filter(move |pattern| pattern.starts_with(&beginning))
            .map(|pattern| pattern.replace('\\', ""))
    }
}

/// What a stream lets through: statements by their schema, rows by their table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    pub(crate) schemas: BTreeSet<String>,
    pub(crate) patterns: BTreeSet<String>,
}

impl Filters {
    /// Returns the filters of one unit.
    pub(crate) fn of(link: &Link) -> Self {
        Self {
            schemas: link.names.schemas().into_iter().collect(),
            patterns: link.names.table_patterns().into_iter().collect(),
        }
    }

    /// Returns the filters that let everything of the members through.
    pub(crate) fn all<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut all = Self::default();
        for member in members {
            all.schemas.extend(member.filters.schemas.iter().cloned());
            all.patterns.extend(member.filters.patterns.iter().cloned());
        }
        all
    }

    /// Returns whether these let everything through that `other` does.
    pub(crate) fn include(&self, other: &Self) -> bool {
        self.schemas.is_superset(&other.schemas) && self.patterns.is_superset(&other.patterns)
    }
}

/// Returns a list in the form in which the server takes and shows it.
pub(crate) fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// Reads such a list.
pub(crate) fn unlisted(text: &str) -> BTreeSet<String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Returns the name of the stream that this server reads.
fn name(link: &Link, wire: &Wire) -> Literal {
    Literal::new(link.names.connection(wire.side()))
}

/// Returns the members of the stream that this server reads, in order of their names.
pub(crate) async fn all(link: &Link, wire: &mut Wire) -> Outcome<Vec<Member>> {
    noted(link, wire, "").await
}

/// Reads the notes that fit.
async fn noted(link: &Link, wire: &mut Wire, fits: &str) -> Outcome<Vec<Member>> {
    let op = format!("read which units the stream at the {} carries", wire.side());
    let stream = name(link, wire);
    let found = wire
        .rows::<(String, String, String, String, String, String, String)>(format!(
            "SELECT unit, gtid, stage, others, why, `schemas`, patterns FROM {} \
             WHERE stream = {}{fits} ORDER BY unit",
            own("stream"),
            stream,
        ))
        .await;
    let rows = match found {
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => return Ok(Vec::new()),
        other => other.reading(&op)?,
    };
    rows.into_iter()
        .map(|(unit, gtid, stage, others, why, schemas, patterns)| {
            let stage = Stage::of(&stage).ok_or_else(|| {
                Fault::new(
                    "SG0204",
                    FaultKind::Invalid,
                    op.clone(),
                    format!("unit `{unit}` is at the unknown stage `{stage}`"),
                )
            })?;
            let filters = Filters { schemas: unlisted(&schemas), patterns: unlisted(&patterns) };
            Ok(Member { unit, gtid, stage, others, why, filters })
        })
        .collect()
}

/// Returns the link's unit in the stream that this server reads, if it was ever put there.
pub(crate) async fn of(link: &Link, wire: &mut Wire) -> Outcome<Option<Member>> {
    let own = format!(" AND unit = {}", link.names.unit_literal());
    Ok(noted(link, wire, &own).await?.pop())
}

/// Notes a unit that is to come into the stream; a note that is there stays.
pub(crate) async fn add(link: &Link, wire: &mut Wire, gtid: &str, op: &str) -> Outcome<()> {
    let filters = Filters::of(link);
    let stream = name(link, wire);
    wire.run(format!(
        "INSERT IGNORE INTO {} (stream, unit, gtid, stage, others, why, `schemas`, patterns) \
         VALUES ({}, {}, {}, '{}', '', '', {}, {})",
        own("stream"),
        stream,
        link.names.unit_literal(),
        Literal::new(gtid),
        Stage::Waiting.word(),
        Literal::new(listed(&filters.schemas)),
        Literal::new(listed(&filters.patterns)),
    ))
    .await
    .changing(op)
}

/// Writes a member's stage, and what belongs to it.
pub(crate) async fn set(link: &Link, wire: &mut Wire, member: &Member, op: &str) -> Outcome<()> {
    let stream = name(link, wire);
    wire.run(format!(
        "UPDATE {} SET stage = '{}', gtid = {}, others = {}, why = {} WHERE stream = {} AND unit = {}",
        own("stream"),
        member.stage.word(),
        Literal::new(member.gtid.as_str()),
        Literal::new(member.others.as_str()),
        Literal::new(member.why.as_str()),
        stream,
        Literal::new(member.unit.as_str()),
    ))
    .await
    .changing(op)
}

/// Forgets the link's unit.
pub(crate) async fn remove(link: &Link, wire: &mut Wire, op: &str) -> Outcome<()> {
    let stream = name(link, wire);
    let gone = wire
        .run(format!(
            "DELETE FROM {} WHERE stream = {} AND unit = {}",
            own("stream"),
            stream,
            link.names.unit_literal()
        ))
        .await;
    match gone {
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Ok(()),
        other => other.changing(op),
    }
}

/// Returns those that follow.
pub(crate) fn following(members: &[Member]) -> impl Iterator<Item = &Member> {
    members.iter().filter(|member| member.stage == Stage::Following)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_read_back_from_its_word() {
        for (stage, word) in Stage::ALL {
            assert_eq!((stage.word(), Stage::of(word)), (word, Some(stage)));
        }
        assert_eq!(Stage::of("gone"), None);
    }

    #[test]
    fn filters_include_those_of_each_unit_they_are_made_of() {
        let one = Filters { schemas: unlisted("a,segue"), patterns: unlisted("a.%,segue.x") };
        let both =
            Filters { schemas: unlisted("b,a,segue"), patterns: unlisted("a.%,segue.x,b.%") };
        assert!(both.include(&one) && !one.include(&both));
        assert!(!Filters::default().include(&one));
        assert_eq!(listed(&both.schemas), "a,b,segue");
    }
}

//! A change of definitions, as it is carried out at a target.
//!
//! It commits by itself, so it cannot go with its checkpoint. What is about to be carried out is
//! noted beside the checkpoint before it is ([`Noted`]), with its object as it was. Whoever comes
//! after a crash finds the change in the log again, for the checkpoint is behind it, and sees by
//! the note whether it has to be carried out once more. It runs on a session of its own, under
//! the settings of the one at the source; a lock that goes with that session tells whether a former
//! one still runs.

use super::event::{Gtid, Query};
use super::faults;
use super::statement::{Again, Definition, Object};
use crate::fault::Explain;
use crate::gtid::Position;
use segue_doors::sql::{Endpoint, Ident, Literal, Row, Session};
use segue_port::Outcome;
use std::time::Duration;

/// Time limit of a change: tables are made anew by some.
const LIMIT: Duration = Duration::from_secs(6 * 3_600);

/// Errors of a server that says that something is not there.
const ABSENT: [u16; 6] = [1146, 1305, 1360, 1347, 4091, 1049];

/// A change of one object of one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The transaction that it is, as the source's log has it.
    pub(super) gtid: String,
    /// Its kind and object, to be shown.
    pub(super) shown: String,
    schema: String,
    object: Object,
    again: Again,
    /// The statement in the character set of its session.
    text: Vec<u8>,
    settings: String,
}

/// What is noted of a change before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    gtid: String,
    /// What its object was, as a hash.
    before: String,
}

impl Noted {
    /// Reads a note; none if there is no change under way.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (gtid, before) = text.split_once(' ')?;
        Some(Self { gtid: gtid.to_owned(), before: before.to_owned() })
    }

    /// Returns whether who is at a position has the change behind it.
    pub(super) fn is_before(&self, at: &Position) -> bool {
        self.gtid.parse().is_ok_and(|gtid| at.covers(&gtid))
    }

    /// Returns it as it is written.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.gtid, self.before)
    }
}

/// What is to be done about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Todo {
    Run,
    /// A part of it may be done.
    RunWhatIsThere,
    Nothing,
}

impl Change {
    /// Makes it of a statement in the log.
    ///
    /// # Errors
    /// Why it cannot be carried out at another server.
    pub(super) fn of(
        definition: &Definition,
        query: &Query<'_>,
        schema: &str,
        gtid: &Gtid,
        server: u32,
    ) -> Result<Self, &'static str> {
        let default = String::from_utf8_lossy(query.schema);
        let (object, again) = definition.portable(&default, schema)?;
        // Of several objects those that were there are gone; nothing else ends in an error in part.
        if query.error != 0 && again != Again::IfThere {
            return Err("it ended in an error there");
        }
        let settings =
            query.settings().ok_or("its session has a setting that is not carried over")?;
        Ok(Self {
            gtid: format!("{}-{server}-{}", gtid.domain, gtid.sequence),
            shown: definition.shown(),
            schema: schema.to_owned(),
            object,
            again: if query.error == 0 { again } else { Again::IfThere },
            text: query.text.to_vec(),
            settings,
        })
    }

    /// Opens the session that carries it out, once no former one does so any more.
    ///
    /// # Errors
    /// `SG0279` while one does.
    pub(super) async fn open(&self, target: &Endpoint, lock: &Literal) -> Outcome<Session> {
        let op = faults::following(&self.schema);
        let mut session = super::target::connect(target, &op).await?;
        let patience = super::checkpoint::PATIENCE;
        session.set_limit(Duration::from_secs(u64::from(patience) + 5));
        let got: Option<i64> =
            session.one(format!("SELECT GET_LOCK({lock}, {patience})")).await.reading(&op)?;
        if got != Some(1) {
            return Err(faults::taken(&self.schema));
        }
        Ok(session)
    }

    /// Returns what is noted before it is carried out. A note of the same change stays.
    pub(super) async fn note(
        &self,
        session: &mut Session,
        former: Option<&Noted>,
    ) -> Outcome<Noted> {
        match former {
            Some(former) if former.gtid == self.gtid => Ok(former.clone()),
            _ => Ok(Noted { gtid: self.gtid.clone(), before: self.look(session).await? }),
        }
    }

    /// Carries it out, if that is still to be done.
    ///
    /// # Errors
    /// `SG0278` with what the target has against it.
    pub(super) async fn run(
        &self,
        mut session: Session,
        noted: &Noted,
        fresh: bool,
    ) -> Outcome<()> {
        let todo =
            if fresh { Todo::Run } else { self.todo(noted, &self.look(&mut session).await?) };
        if todo != Todo::Nothing {
            let there = if todo == Todo::RunWhatIsThere || self.again == Again::IfThere {
                "; SET sql_if_exists = 1"
            } else {
                ""
            };
            let prepared =
                format!("USE {}; SET {}{there}", Ident::new(self.schema.as_str()), self.settings);
            let refused = |error| faults::refused_change(&self.schema, &self.shown, &error);
            session.run(prepared).await.map_err(refused)?;
            session.run_within(&self.text, LIMIT).await.map_err(refused)?;
        }
        session.close().await;
        Ok(())
    }

    /// Decides what is left to be done of a change that a former session may have carried out.
    fn todo(&self, noted: &Noted, now: &str) -> Todo {
        match self.again {
            Again::Always => Todo::Run,
            Again::IfThere => Todo::RunWhatIsThere,
            Again::IfUnchanged if noted.before == now => Todo::Run,
            Again::IfUnchanged => Todo::Nothing,
        }
    }

    /// Returns what the object is now, as a hash.
    async fn look(&self, session: &mut Session) -> Outcome<String> {
        let Object { kind, name } = &self.object;
        let (schema, name) = (Ident::new(self.schema.as_str()), Ident::new(name.as_str()));
        let found: Result<Option<Row>, _> =
            session.first(format!("SHOW CREATE {kind} {schema}.{name}")).await;
        let row = match found {
            Err(error) if error.code().is_some_and(|code| ABSENT.contains(&code)) => None,
            other => other.reading(&faults::following(&self.schema))?,
        };
        // As literals, so that none of it is left out: what is shown of a row is abridged.
        let text = row.map_or_else(
            || "absent".to_owned(),
            |row| (0..row.len()).map(|at| row[at].as_sql(false)).collect::<Vec<_>>().join(","),
        );
        Ok(blake3::hash(text.as_bytes()).to_hex()[..32].to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn change(again: Again) -> Change {
        Change {
            gtid: "1-1-9".into(),
            shown: String::new(),
            schema: "s".into(),
            object: Object { kind: "TABLE", name: "t".into() },
            again,
            text: Vec::new(),
            settings: String::new(),
        }
    }

    #[test]
    fn a_change_that_may_be_done_is_judged_by_what_its_object_was() {
        let noted = Noted { gtid: "1-1-9".into(), before: "was".into() };
        for (again, now, todo) in [
            (Again::IfUnchanged, "was", Todo::Run),
            (Again::IfUnchanged, "is", Todo::Nothing),
            (Again::Always, "is", Todo::Run),
            (Again::IfThere, "is", Todo::RunWhatIsThere),
            (Again::IfThere, "was", Todo::RunWhatIsThere),
        ] {
            assert_eq!(change(again).todo(&noted, now), todo, "{again:?} {now}");
        }
        for (at, before) in
            [("1-1-8,2-2-20", false), ("1-3-9", true), ("1-1-10", true), ("", false)]
        {
            assert_eq!(noted.is_before(&at.parse().unwrap()), before, "{at}");
        }
        assert_eq!(Noted::read(&noted.text()), Some(noted));
        assert_eq!(Noted::read(""), None);
    }
}

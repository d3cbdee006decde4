//! Logins that several databases of one unit have in common.
//!
//! Each of them locks and opens the login as its own, which does no harm twice. But a login
//! is created once, by whichever copies first, and goes with the last copy that has it.

use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::logins::{self, Account, Definition};
use crate::settings::own;
use segue_doors::sql::Literal;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::collections::BTreeSet;

/// Whose marks count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Those of this run.
    ThisRun,
    /// Those of any run: for whoever only looks.
    AnyRun,
}

/// Returns the logins that other copies at the target have noted as theirs.
pub(crate) async fn noted(link: &Link, wire: &mut Wire, of: Of) -> Outcome<BTreeSet<Account>> {
    let op = "read whose the logins at the target are";
    let mut query =
        format!("SELECT logins FROM {} WHERE unit <> {}", own("seed"), link.names.unit_literal());
    if of == Of::ThisRun {
        query += &format!(" AND run = {}", Literal::new(link.settings.run.as_str()));
    }
    let found = wire.rows::<String>(query).await;
    let rows = match found {
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Vec::new(),
        other => other.reading(op)?,
    };
    let mut all = BTreeSet::new();
    for row in rows {
        let accounts: Vec<Account> = serde_json::from_str(&row)
            .map_err(|e| Fault::new("SG0204", FaultKind::Invalid, op, e))?;
        all.extend(accounts);
    }
    Ok(all)
}

/// Returns the plan's logins that are at the target and that no other copy of this run made.
pub(crate) async fn strangers(link: &Link, wire: &mut Wire, of: Of) -> Outcome<Vec<Account>> {
    let noted = noted(link, wire, of).await?;
    let there = logins::planned(link, wire).await?.into_iter().map(|(account, _)| account);
    Ok(there.filter(|account| !noted.contains(account)).collect())
}

/// Makes the logins that are not there, all of them without use yet. The caller has the pair's
/// turn.
pub(crate) async fn create(wire: &mut Wire, definitions: &[Definition]) -> Outcome<()> {
    let accounts: Vec<Account> = definitions.iter().map(|d| d.account.clone()).collect();
    let there = logins::of_users(wire, &logins::users(&accounts)).await?;
    for definition in definitions {
        if !there.iter().any(|(account, _)| *account == definition.account) {
            logins::create_locked(wire, definition).await?;
        }
    }
    Ok(())
}

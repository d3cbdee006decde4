//! End: the reverse stream and everything left at the resources goes. There is no way
//! back from here.

use super::BOTH;
use crate::fault::Explain;
use crate::link::Link;
use crate::replica::MariaReplica;
use crate::stream::members;
use crate::{epoch, logins, own, stream};
use async_trait::async_trait;
use segue_doors::sql::Literal;
use segue_model::{Fault, FaultKind, Side};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;

/// Takes the unit out of both streams, and removes its claims and logins; the source stays
/// locked. The last unit between two servers takes the streams along.
pub(crate) struct End(pub(crate) Arc<MariaReplica>);

impl End {
    async fn clear(&self, side: Side) -> Outcome<()> {
        let link = &self.0.link;
        // The administrator's session: the last thing that goes is the epoch's own login.
        let mut admin = link.admin(side).await?;
        stream::remove(link, &mut admin).await?;
        own::release(link, &mut admin).await?;
        admin.close().await;
        Ok(())
    }
}

/// Returns what is left of the unit at a server.
async fn left(link: &Link, side: Side) -> Outcome<Vec<String>> {
    let op = format!("see what is left at the {side}");
    let mut admin = link.admin(side).await?;
    let mut found = Vec::new();
    let members = members::all(link, &mut admin).await?;
    if members.iter().any(|member| member.unit == link.names.unit) {
        found.push(format!("the unit in stream `{}`", link.names.connection(side)));
    }
    if members.is_empty() && stream::status(link, &mut admin).await?.is_some() {
        found.push(format!("stream `{}`", link.names.connection(side)));
    }
    if own::claimed(link, &mut admin).await?.is_some() {
        found.push("the claim".to_owned());
    }
    let prefix = link.names.login_prefix();
    let beginning = prefix.strip_suffix('e').unwrap_or(&prefix).replace('_', "\\_");
    let users: Vec<String> = admin
        .rows(format!(
            "SELECT DISTINCT User FROM mysql.global_priv WHERE User LIKE {}",
            Literal::new(format!("{beginning}%"))
        ))
        .await
        .reading(&op)?;
    found.extend(users.into_iter().map(|user| format!("login `{user}`")));
    admin.close().await;
    Ok(found)
}

#[async_trait]
impl Effect for End {
    fn what(&self) -> String {
        format!(
            "end both streams of schema `{}` and remove Segue's schema and logins from both servers",
            self.0.link.names.schema
        )
    }

    fn by_hand(&self) -> String {
        "cannot be undone: a way back needs a new seed in the other direction".into()
    }

    async fn prepare(&self, _call: &Call) -> Outcome<Value> {
        let mut wire = self.0.link.admin(Side::Source).await?;
        let locked: Vec<String> = logins::planned(&self.0.link, &mut wire)
            .await?
            .into_iter()
            .filter(|(_, locked)| *locked)
            .map(|(account, _)| account.to_string())
            .collect();
        wire.close().await;
        Ok(json!({ "stay_locked_at_source": locked }))
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        self.0.close().await;
        // Both streams stop before either server forgets what is replicated.
        for side in BOTH {
            self.clear(side).await?;
        }
        self.0.link.forget();
        for side in BOTH {
            let mut admin = self.0.link.admin(side).await?;
            epoch::end_logins(&self.0.link, &mut admin, None).await?;
            admin.close().await;
        }
        Ok(json!({
            "effect": "database.end",
            "stay_locked_at_source": call.prepared.get("stay_locked_at_source"),
        }))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let mut all = Vec::new();
        for side in BOTH {
            all.extend(left(&self.0.link, side).await?);
        }
        Ok(if all.is_empty() {
            Observed::Applied(json!({
                "effect": "database.end",
                "stay_locked_at_source": call.prepared.get("stay_locked_at_source"),
            }))
        } else {
            Observed::NotApplied
        })
    }

    async fn undo(&self, _call: &Call) -> Outcome<()> {
        Err(Fault::new(
            "SG0220",
            FaultKind::Unsupported,
            format!("undo the end of schema `{}`", self.0.link.names.schema),
            "the streams are gone, and with them the way back",
        )
        .hint("move the schema back as a migration of its own"))
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        // Everything it sends is sent again by `run`, and nothing of it waits for a lock
        // but the removal of its own tables.
        Ok(())
    }
}

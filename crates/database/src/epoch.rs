//! One login an epoch: whoever acts under a former epoch is shut out by the servers.

use crate::fault::{Deadline, Explain};
use crate::link::{EpochLogin, Link, Wire};
use crate::stream;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use segue_doors::sql::{Ident, Literal};
use segue_model::{EffectLeft, Epoch, Fault, FaultKind, Side};
use segue_port::Outcome;
use sha1::{Digest, Sha1};
use std::time::Duration;

/// How long ended sessions may take to be gone.
const ENDING: Duration = Duration::from_secs(10);

/// Rights on everything that an epoch's login needs.
const GLOBAL_RIGHTS: &str = "PROCESS, CREATE USER, BINLOG MONITOR, BINLOG ADMIN, \
     REPLICATION SLAVE ADMIN, REPLICA MONITOR, CONNECTION ADMIN, SET USER";

/// Rights on everything that the administrator of the plan needs, to do and to pass on.
pub(crate) const ADMIN_RIGHTS: [&str; 10] = [
    "SUPER",
    "PROCESS",
    "CREATE USER",
    "BINLOG MONITOR",
    "BINLOG ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION SLAVE",
    "SLAVE MONITOR",
    "CONNECTION ADMIN",
    "SET USER",
];

/// Makes a password that exists nowhere else.
pub fn random_password() -> SecretString {
    let mut bytes = [0u8; 24];
    rand::rng().fill_bytes(&mut bytes);
    SecretString::from(hex(&bytes))
}

/// Writes bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Returns the stored form of a password under `mysql_native_password`, so that neither
/// the server's query log nor its process list ever shows the password itself.
pub fn stored_form(password: &SecretString) -> String {
    let once = Sha1::digest(password.expose_secret().as_bytes());
    format!("*{}", hex(&Sha1::digest(once)))
}

/// Makes this process the one that acts at both servers.
///
/// # Errors
/// `SG0206` if a higher epoch acts there; else what the servers answer.
pub(crate) async fn take(link: &Link, epoch: Epoch) -> Outcome<()> {
    let (mut source, mut target) =
        tokio::try_join!(link.admin(Side::Source), link.admin(Side::Target))?;
    for admin in [&mut source, &mut target] {
        refuse_if_higher(link, admin, epoch).await?;
    }
    let login = EpochLogin { epoch, password: random_password() };
    for admin in [&mut source, &mut target] {
        end_logins(link, admin, Some(epoch)).await?;
        create(link, admin, &login).await?;
    }
    stream::shut_left_door(link, &mut source, &mut target).await?;
    stream::shut_left_door(link, &mut target, &mut source).await?;
    link.adopt(login);
    source.close().await;
    target.close().await;
    Ok(())
}

async fn refuse_if_higher(link: &Link, admin: &mut Wire, epoch: Epoch) -> Outcome<()> {
    let op = format!("take epoch {epoch} of unit `{}` at the {}", link.names.unit, admin.side());
    let locked: Option<i64> =
        admin.one(format!("SELECT GET_LOCK({}, 5)", link.names.epoch_lock())).await.reading(&op)?;
    if locked != Some(1) {
        return Err(Fault::new(
            "SG0206",
            FaultKind::Busy,
            op,
            "another controller is taking its epoch",
        )
        .hint("only one controller may run for a unit; see which others run"));
    }
    let highest =
        logins(link, admin).await?.iter().filter_map(|login| link.names.epoch_of(login)).max();
    match highest {
        Some(other) if other > epoch => Err(Fault::new(
            "SG0206",
            FaultKind::LeaseLost,
            op,
            format!("epoch {other} acts there already"),
        )
        .hint("another controller took over; stop this one")),
        _ => Ok(()),
    }
}

async fn logins(link: &Link, wire: &mut Wire) -> Outcome<Vec<String>> {
    let prefix = Literal::new(format!("{}%", link.names.login_prefix().replace('_', "\\_")));
    wire.rows(format!("SELECT DISTINCT User FROM mysql.global_priv WHERE User LIKE {prefix}"))
        .await
        .reading(&format!("list the epochs at the {}", wire.side()))
}

/// Ends every session of the unit's epoch logins up to `upto` and drops the logins.
pub(crate) async fn end_logins(link: &Link, admin: &mut Wire, upto: Option<Epoch>) -> Outcome<()> {
    let op = format!("end former epochs of unit `{}` at the {}", link.names.unit, admin.side());
    for login in logins(link, admin).await? {
        let Some(epoch) = link.names.epoch_of(&login) else { continue };
        if upto.is_some_and(|last| epoch > last) {
            continue;
        }
        let name = Literal::new(login.as_str());
        let hosts: Vec<String> = admin
            .rows(format!("SELECT Host FROM mysql.global_priv WHERE User = {name}"))
            .await
            .reading(&op)?;
        let accounts: Vec<String> =
            hosts.iter().map(|host| format!("{name}@{}", Literal::new(host.as_str()))).collect();
        let accounts = accounts.join(", ");
        // First no new session, then no former one, only then the name.
        admin.run(format!("ALTER USER {accounts} ACCOUNT LOCK")).await.changing(&op)?;
        end_sessions(admin, &[login], Deadline::after(ENDING), &op).await?;
        admin.run(format!("DROP USER {accounts}")).await.changing(&op)?;
    }
    Ok(())
}

/// Kills every session of the logins and waits until none is left.
pub(crate) async fn end_sessions(
    wire: &mut Wire,
    logins: &[String],
    deadline: Deadline,
    op: &str,
) -> Outcome<()> {
    if logins.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = logins.iter().map(|login| Literal::new(login).to_string()).collect();
    let own = wire.id();
    let list = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE USER IN ({}) AND ID <> {own}",
        names.join(", ")
    );
    kill_until_gone(wire, &list, deadline, op).await
}

/// Kills what `list` returns until it returns nothing.
pub(crate) async fn kill_until_gone(
    wire: &mut Wire,
    list: &str,
    deadline: Deadline,
    op: &str,
) -> Outcome<()> {
    loop {
        let ids: Vec<u64> = wire.rows(list).await.reading(op)?;
        if ids.is_empty() {
            return Ok(());
        }
        if deadline.over() {
            return Err(Fault::new(
                "SG0218",
                FaultKind::Timeout,
                op,
                format!("sessions {ids:?} do not end"),
            )
            .leaving(EffectLeft::Maybe)
            .hint("see SHOW PROCESSLIST: a session may be rolling back"));
        }
        for id in ids {
            match wire.run(format!("KILL HARD CONNECTION {id}")).await {
                // 1094: it is gone already.
                Err(error) if error.code() == Some(1094) => {}
                other => other.changing(op)?,
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn create(link: &Link, admin: &mut Wire, login: &EpochLogin) -> Outcome<()> {
    let names = &link.names;
    let op = format!("create the login of epoch {} at the {}", login.epoch, admin.side());
    let name = Literal::new(names.login(login.epoch));
    let stored = Literal::new(stored_form(&login.password));
    // Seen from the server this process has a host of its own; an anonymous login of that
    // host would come before `%`.
    let seen: String = admin.one("SELECT SUBSTRING_INDEX(USER(), '@', -1)").await.reading(&op)?;
    let mut hosts = vec!["%".to_owned()];
    if seen != "%" && !seen.is_empty() {
        hosts.push(seen);
    }
    // A server that writes a binary log lets nobody else create triggers and functions.
    let creating = if admin.side() == Side::Target { ", SUPER" } else { "" };
    for host in hosts {
        let account = format!("{name}@{}", Literal::new(host));
        let mut statements = vec![
            format!("CREATE USER {account} IDENTIFIED VIA mysql_native_password USING {stored}"),
            format!("GRANT {GLOBAL_RIGHTS}{creating} ON *.* TO {account}"),
            format!("GRANT SELECT ON mysql.* TO {account}"),
            format!("GRANT ALL PRIVILEGES ON segue.* TO {account}"),
        ];
        for form in grant_forms(&names.schema) {
            statements
                .push(format!("GRANT ALL PRIVILEGES ON {form}.* TO {account} WITH GRANT OPTION"));
        }
        for statement in statements {
            admin.run(statement).await.changing(&op)?;
        }
    }
    Ok(())
}

/// Returns the forms in which a right on the schema may be granted, quoted.
///
/// `_` is a wildcard there unless escaped. Many logins hold the unescaped form all the
/// same, and only who holds a form may pass it on.
fn grant_forms(schema: &str) -> Vec<Ident> {
    let exact = schema.replace('_', "\\_");
    if exact == schema {
        return vec![Ident::new(schema)];
    }
    vec![Ident::new(exact), Ident::new(schema)]
}

/// Ends what former attempts left running at both servers: sessions of other epochs, and
/// statements of this epoch whose caller gave up.
pub(crate) async fn quench(link: &Link, sides: &[Side]) -> Outcome<()> {
    for side in sides {
        let op = format!("end what former attempts left running at the {side}");
        let mut wire = link.open(*side).await?;
        let prefix = Literal::new(format!("{}%", link.names.login_prefix().replace('_', "\\_")));
        let own = link.epoch().map(|epoch| link.names.login(epoch)).unwrap_or_default();
        let own = Literal::new(own);
        let sessions: Vec<(u64, String)> = wire
            .rows(format!(
                "SELECT ID, USER FROM information_schema.PROCESSLIST WHERE USER LIKE {prefix}"
            ))
            .await
            .reading(&op)?;
        let former: Vec<String> = sessions
            .iter()
            .filter(|(id, user)| {
                Literal::new(user.as_str()) != own
                    || u32::try_from(*id).is_ok_and(|id| !link.listens(*side, id))
            })
            .map(|(id, _)| id.to_string())
            .collect();
        if !former.is_empty() {
            let list = format!(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE ID IN ({})",
                former.join(", ")
            );
            kill_until_gone(&mut wire, &list, Deadline::after(ENDING), &op).await?;
        }
        wire.close().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_the_servers_own() {
        // The value that SELECT PASSWORD('pw') returns.
        assert_eq!(
            stored_form(&SecretString::from("pw".to_owned())),
            "*D821809F681A40A6E379B50D0463EFAE20BDD122"
        );
    }
}

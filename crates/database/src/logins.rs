//! The unit's logins: which there are, which may write, locking and copying them.

use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::schema::{Kind, Object};
use crate::settings::Names;
use segue_doors::sql::Literal;
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// A login with its host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Account {
    /// User part.
    pub(crate) user: String,
    /// Host part.
    pub(crate) host: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", Literal::new(self.user.as_str()), Literal::new(self.host.as_str()))
    }
}

/// Joins accounts for a statement.
pub(crate) fn joined(accounts: &[Account]) -> String {
    accounts.iter().map(Account::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the user parts, each once.
pub(crate) fn users(accounts: &[Account]) -> Vec<String> {
    let users: BTreeSet<&str> = accounts.iter().map(|account| account.user.as_str()).collect();
    users.into_iter().map(str::to_owned).collect()
}

/// Returns the accounts of the plan's logins at the server, and whether each is locked.
pub(crate) async fn planned(link: &Link, wire: &mut Wire) -> Outcome<Vec<(Account, bool)>> {
    let users: Vec<String> = link.settings.plan.logins.clone();
    of_users(wire, &users).await
}

/// Returns every account with one of these user parts, and whether it is locked.
pub(crate) async fn of_users(wire: &mut Wire, users: &[String]) -> Outcome<Vec<(Account, bool)>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = users.iter().map(|user| Literal::new(user).to_string()).collect();
    let rows: Vec<(String, String, bool)> = wire
        .rows(format!(
            "SELECT User, Host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) \
             FROM mysql.global_priv WHERE User IN ({}) \
             AND COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) = 0 ORDER BY User, Host",
            names.join(", ")
        ))
        .await
        .reading(&format!("read the logins at the {}", wire.side()))?;
    Ok(rows.into_iter().map(|(user, host, locked)| (Account { user, host }, locked)).collect())
}

/// Returns every account that may write to the schema by a right on the schema itself,
/// directly or through a role; Segue's own logins left out.
pub(crate) async fn writers(link: &Link, wire: &mut Wire) -> Outcome<Vec<Account>> {
    let op = format!(
        "list the logins with rights on schema `{}` at the {}",
        link.names.schema,
        wire.side()
    );
    let schema = link.names.schema_literal();
    let mut found: BTreeSet<(String, String)> = wire
        .rows(format!(
            "SELECT User, Host FROM mysql.db WHERE {schema} LIKE Db AND 'Y' IN \
               (Insert_priv, Update_priv, Delete_priv, Create_priv, Drop_priv, Alter_priv, Index_priv, \
                Execute_priv, Create_routine_priv, Alter_routine_priv, Create_view_priv, Event_priv, Trigger_priv) \
             UNION SELECT User, Host FROM mysql.tables_priv WHERE Db = {schema} \
               AND Table_priv REGEXP 'Insert|Update|Delete|Create|Drop|Alter|Index|Trigger' \
             UNION SELECT User, Host FROM mysql.columns_priv WHERE Db = {schema} \
               AND Column_priv REGEXP 'Insert|Update' \
             UNION SELECT User, Host FROM mysql.procs_priv WHERE Db = {schema} \
               AND Proc_priv REGEXP 'Execute|Alter'"
        ))
        .await
        .reading(&op)?
        .into_iter()
        .collect();
    // A role's rights are its members' rights, through any number of roles.
    let members: Vec<(String, String, String)> =
        wire.rows("SELECT Role, User, Host FROM mysql.roles_mapping").await.reading(&op)?;
    loop {
        let before = found.len();
        for (role, user, host) in &members {
            if found.iter().any(|(name, at)| name == role && at.is_empty()) {
                found.insert((user.clone(), host.clone()));
            }
        }
        if found.len() == before {
            break;
        }
    }
    let roles: Vec<String> = wire
        .rows("SELECT User FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role')")
        .await
        .reading(&op)?;
    // Other units' too: what is granted on `my_shop` is granted on `my1shop` as well.
    Ok(found
        .into_iter()
        .filter(|(user, host)| {
            !Names::is_epoch_login(user)
                && *user != link.names.reader()
                && !(host.is_empty() && (roles.contains(user) || user == "PUBLIC"))
        })
        .map(|(user, host)| Account { user, host })
        .collect())
}

/// Returns the accounts that may write everywhere without being administrators.
pub(crate) async fn global_writers(wire: &mut Wire) -> Outcome<Vec<Account>> {
    let rows: Vec<(String, String)> = wire
        .rows(
            "SELECT User, Host FROM mysql.user WHERE Super_priv = 'N' AND is_role = 'N' AND 'Y' IN \
             (Insert_priv, Update_priv, Delete_priv, Create_priv, Drop_priv, Alter_priv) \
             ORDER BY User, Host",
        )
        .await
        .reading(&format!("list logins with rights on everything at the {}", wire.side()))?;
    Ok(rows.into_iter().map(|(user, host)| Account { user, host }).collect())
}

/// Locks or unlocks accounts in one statement.
pub(crate) async fn set_locked(wire: &mut Wire, accounts: &[Account], locked: bool) -> Outcome<()> {
    if accounts.is_empty() {
        return Ok(());
    }
    let word = if locked { "LOCK" } else { "UNLOCK" };
    let op = format!("{} the logins at the {}", word.to_lowercase(), wire.side());
    wire.run(format!("ALTER USER {} ACCOUNT {word}", joined(accounts))).await.changing(&op)
}

/// What it takes to make an account anew.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Whose.
    pub(crate) account: Account,
    /// `CREATE USER`, with the password's stored form.
    create: String,
    /// Its `GRANT`s that are about the schema.
    grants: Vec<String>,
    /// Its rights that are about something else; not copied.
    pub(crate) wider: Vec<String>,
}

impl Definition {
    /// Returns it as an object to compare: without whether it is locked, and without the
    /// password's stored form, of which only a digest is shown.
    fn object(&self) -> Object {
        let mut grants = self.grants.clone();
        grants.sort();
        let lines = [vec![veiled(&self.create).replace(" ACCOUNT LOCK", "")], grants].concat();
        Object::plain(Kind::Login, self.account.to_string(), lines.join("\n").into_bytes())
    }

    /// Its rights on the schema.
    pub(crate) fn grants(&self) -> &[String] {
        &self.grants
    }
}

/// Reads how an account was made.
pub(crate) async fn define(link: &Link, wire: &mut Wire, account: &Account) -> Outcome<Definition> {
    let op = format!("read login {account} at the {}", wire.side());
    let create: String = wire.one(format!("SHOW CREATE USER {account}")).await.reading(&op)?;
    let lines: Vec<String> = wire.rows(format!("SHOW GRANTS FOR {account}")).await.reading(&op)?;
    let (grants, wider) = sort_grants(&link.names.schema, lines);
    Ok(Definition { account: account.clone(), create, grants, wider })
}

/// Returns the plan's logins at the server as objects to compare.
pub(crate) async fn objects(link: &Link, wire: &mut Wire) -> Outcome<Vec<Object>> {
    let mut all = Vec::new();
    for (account, _) in planned(link, wire).await? {
        all.push(define(link, wire, &account).await?.object());
    }
    Ok(all)
}

/// Puts a digest in the place of each stored form of a password.
fn veiled(create: &str) -> String {
    let mut shown = String::new();
    let mut secret = false;
    let mut rest = create;
    while let Some(at) = rest.find('\'') {
        let (before, quoted) = rest.split_at(at);
        // A doubled quote within a text looks like the next text.
        secret = (secret && before.is_empty())
            || ["PASSWORD ", "USING "].iter().any(|word| before.ends_with(word));
        let end = quoted[1..].find('\'').map_or(quoted.len(), |end| end + 2);
        shown += before;
        if secret {
            shown += &format!("<{}>", &blake3::hash(&quoted.as_bytes()[..end]).to_hex()[..8]);
        } else {
            shown += &quoted[..end];
        }
        rest = &quoted[end..];
    }
    shown + rest
}

/// Parts grants into those about the schema and those about anything else. The line that
/// says that the account exists (`USAGE ON *.*`) belongs to neither.
fn sort_grants(schema: &str, lines: Vec<String>) -> (Vec<String>, Vec<String>) {
    let quoted = |name: &str| format!(" ON `{}`.", name.replace('`', "``"));
    let routine = |word: &str| format!(" ON {word} `{}`.", schema.replace('`', "``"));
    let ours = [
        quoted(schema),
        quoted(&schema.replace('_', "\\_")),
        routine("PROCEDURE"),
        routine("FUNCTION"),
    ];
    let mut grants = Vec::new();
    let mut wider = Vec::new();
    for line in lines {
        if ours.iter().any(|ours| line.contains(ours.as_str())) {
            grants.push(line);
        } else if !line.starts_with("GRANT USAGE ON *.*") {
            // The password's stored form stands in a global grant: it goes no further.
            let shown = line.split(" IDENTIFIED ").next().unwrap_or_default();
            wider.push(shown.to_owned());
        }
    }
    (grants, wider)
}

/// Makes an account that nobody can use yet, and that has no right yet.
pub(crate) async fn create_locked(wire: &mut Wire, definition: &Definition) -> Outcome<()> {
    let op = format!("create login {} at the {}", definition.account, wire.side());
    wire.run(&definition.create).await.changing(&op)?;
    set_locked(wire, std::slice::from_ref(&definition.account), true).await
}

/// Gives an account its rights on the schema. What it has a right on must be there: the server
/// refuses rights on a table or a routine that is not.
pub(crate) async fn grant(wire: &mut Wire, definition: &Definition) -> Outcome<()> {
    let op = format!("grant login {} its rights at the {}", definition.account, wire.side());
    for grant in &definition.grants {
        wire.run(grant).await.changing(&op)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_of_a_login_shows_no_password() {
        let definition = |create: &str| Definition {
            account: Account { user: "shop".into(), host: "%".into() },
            create: create.into(),
            grants: vec!["GRANT B".into(), "GRANT A".into()],
            wider: vec!["GRANT C".into()],
        };
        let shown = |create: &str| {
            String::from_utf8_lossy(&definition(create).object().create).into_owned()
        };
        let one = shown(
            "CREATE USER `s`@`%` IDENTIFIED BY PASSWORD '*AB' REQUIRE SUBJECT 'x' ACCOUNT LOCK",
        );
        assert!(one.starts_with("CREATE USER `s`@`%` IDENTIFIED BY PASSWORD <"), "{one}");
        assert!(one.ends_with("> REQUIRE SUBJECT 'x'\nGRANT A\nGRANT B"), "{one}");
        let other = shown("CREATE USER `s`@`%` IDENTIFIED BY PASSWORD '*AC' REQUIRE SUBJECT 'x'");
        assert_ne!(one, other);
        let two = shown("CREATE USER `s`@`%` IDENTIFIED VIA a USING 'AB''CD' OR b USING 'EF'");
        assert!(!["AB", "CD", "EF"].iter().any(|part| two.contains(part)), "{two}");
    }

    #[test]
    fn only_grants_about_the_schema_are_copied() {
        let lines = [
            "GRANT USAGE ON *.* TO `shop`@`%` IDENTIFIED BY PASSWORD '*AA'",
            "GRANT ALL PRIVILEGES ON `my\\_shop`.* TO `shop`@`%`",
            "GRANT EXECUTE ON PROCEDURE `my_shop`.`p` TO `shop`@`%`",
            "GRANT SELECT ON `tenant`.* TO `shop`@`%`",
            "GRANT RELOAD ON *.* TO `shop`@`%` IDENTIFIED BY PASSWORD '*AA'",
        ];
        let (ours, wider) =
            sort_grants("my_shop", lines.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(ours, [lines[1], lines[2]]);
        assert_eq!(wider, [lines[3], "GRANT RELOAD ON *.* TO `shop`@`%`"]);
    }
}

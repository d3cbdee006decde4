//! Whether those who are logged in stay so: where sites keep sessions, whether that place comes
//! along, and one login that is tried all the while.
//!
//! Where they are is said by the plan, else by PHP's configuration that the plan names, else by
//! the application's own in the site's tree.

mod apps;
mod login;
mod php;
mod place;

pub use login::{LoginSampler, LoginTried};

use php::Php;
use place::Meaning;
use segue_model::plan::{SessionStore, SessionsPlan, SitePlan, UnitPlan};
use segue_model::{Finding, Side, Sides};
use std::path::Path;

/// What becomes of those who are logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logins {
    /// They stay logged in.
    Survive,
    /// They log in again.
    Again,
    /// Nobody can tell.
    Unknown,
}

/// What becomes of the logins of a site, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginsOf {
    /// The site.
    pub site: String,
    /// What becomes of them.
    pub logins: Logins,
    /// Why, in words.
    pub because: String,
    /// The fronts at which one is tried through the switch.
    pub tried: Vec<String>,
    /// The fronts at which the plan's login cannot be tried: no port of theirs speaks HTTP that
    /// ends there.
    pub untried: Vec<String>,
}

impl Logins {
    /// Returns it as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Survive => "survive",
            Self::Again => "again",
            Self::Unknown => "unknown",
        }
    }
}

impl LoginsOf {
    /// Returns one sentence.
    pub fn sentence(&self) -> String {
        let Self { site, because, .. } = self;
        match self.logins {
            Logins::Survive => format!("users of `{site}` stay logged in: {because}"),
            Logins::Again => format!("users of `{site}` log in again: {because}"),
            Logins::Unknown => {
                format!("users of `{site}` may have to log in again, as nobody can tell: {because}")
            }
        }
    }

    /// Says what is tried, if the plan names a login.
    pub fn trial(&self) -> Option<String> {
        let names = |fronts: &[String]| {
            fronts.iter().map(|front| format!("`{front}`")).collect::<Vec<_>>().join(", ")
        };
        let untried = names(&self.untried);
        match (self.tried.as_slice(), self.untried.as_slice()) {
            ([], []) => None,
            ([], _) => Some(format!(
                "its login is tried nowhere: no HTTP ends at front {untried}, in clear or over TLS"
            )),
            (_, []) => Some("one login is tried through the switch".to_owned()),
            (tried, _) => Some(format!(
                "one login is tried through the switch at front {}, and none at {untried}, where \
                 no HTTP ends",
                names(tried)
            )),
        }
    }
}

/// Says what becomes of the logins of each site; reads configuration, changes nothing. Blocks.
pub fn logins(unit: &UnitPlan) -> Vec<LoginsOf> {
    unit.sites.iter().map(|site| of_site(unit, site)).collect()
}

/// Returns what a person should know before anything is touched. Blocks.
pub(crate) fn findings(unit: &UnitPlan) -> Vec<Finding> {
    let warn = |one: LoginsOf| {
        let remedy = match one.logins {
            Logins::Survive => return None,
            Logins::Again => {
                "tell users, or keep sessions in a moved tree or the database, at the same place on \
                 both sides"
            }
            Logins::Unknown => "say in [measure.sessions] where they are",
        };
        Some(Finding::warn("SG0533", one.sentence(), remedy))
    };
    logins(unit).into_iter().filter_map(warn).collect()
}

fn of_site(unit: &UnitPlan, site: &SitePlan) -> LoginsOf {
    let plan = unit.measures.sessions.iter().find(|sessions| sessions.name == site.name);
    let silent =
        |plan: &&SessionsPlan| plan.store == Sides::default() && plan.config == Sides::default();
    let (logins, because) = match plan.filter(|plan| !silent(plan)).map(stores) {
        None => by_itself(unit, site.name.as_str()),
        Some(Err(cause)) => (Logins::Unknown, cause),
        // Whoever does it in a way of its own may say how.
        Some(Ok(Sides { source: SessionStore::Own, .. })) => by_itself(unit, site.name.as_str()),
        Some(Ok(stores)) => judge(unit, &stores),
    };
    let login = plan.is_some_and(|plan| plan.login.is_some());
    let (tried, untried) = if login { login::fronts(unit, site) } else { Default::default() };
    LoginsOf { site: site.name.to_string(), logins, because, tried, untried }
}

fn stores(plan: &SessionsPlan) -> Result<Sides<SessionStore>, String> {
    let at = |side| {
        if let Some(store) = plan.store.get(side) {
            return Ok(store.clone());
        }
        let files = plan.config.get(side);
        if files.is_empty() {
            return Err(format!("nothing is said about sessions at the {side}"));
        }
        let mut php = Php::default();
        for file in files {
            let text = std::fs::read(file).map_err(|e| format!("`{}`: {e}", file.display()))?;
            php.read(&String::from_utf8_lossy(&text));
        }
        Ok(php.store())
    };
    Ok(Sides { source: at(Side::Source)?, target: at(Side::Target)? })
}

/// What the application's own configuration says, if there is one that is known.
fn by_itself(unit: &UnitPlan, site: &str) -> (Logins, String) {
    let Some(found) = apps::find(unit, site) else {
        let text = "where sessions are kept is unknown: the plan does not say, and no application \
                    that is known was found in its tree";
        return (Logins::Unknown, text.to_owned());
    };
    let (name, said) = (found.app.name, &found.app.said);
    if let Some(pattern) = found.left_behind() {
        let text =
            format!("{name}'s configuration ({said}) does not move: `{pattern}` excludes it");
        return (Logins::Unknown, text);
    }
    let (logins, because) = of_app(unit, &found);
    (logins, format!("{because} ({name}: {said})"))
}

fn of_app(unit: &UnitPlan, found: &apps::Found<'_>) -> (Logins, String) {
    use apps::Kept;
    match &found.app.kept {
        Kept::Database { schema: Some(schema), table } => {
            match unit.databases.iter().any(|database| database.schema == *schema) {
                true => (
                    Logins::Survive,
                    format!("sessions are in `{table}` of database `{schema}`, which moves"),
                ),
                false => (
                    Logins::Again,
                    format!("sessions are in `{table}` of database `{schema}`, which is not moved"),
                ),
            }
        }
        Kept::Database { schema: None, table } => match unit.databases.as_slice() {
            [] => (Logins::Again, format!("sessions are in `{table}`, and no database is moved")),
            _ => (
                Logins::Unknown,
                format!("sessions are in `{table}` of a database that is not named there"),
            ),
        },
        Kept::Cookie => {
            let tree = &found.tree.name;
            let text = format!("sessions are in the cookie, and its key moves with tree `{tree}`");
            (Logins::Survive, text)
        }
        Kept::Sealed => (
            Logins::Unknown,
            "sessions are in the cookie, whose key may stand in the environment or elsewhere"
                .into(),
        ),
        Kept::Files(below) => {
            files(unit, &found.folder.source.join(below), &found.folder.target.join(below))
        }
        // Its configuration moves, so both sides ask for the same address.
        Kept::Redis(address) => same(&SessionStore::Redis(address.clone())),
        Kept::Memcached(addresses) => same(&SessionStore::Memcached(addresses.clone())),
        Kept::Php => (
            Logins::Unknown,
            "sessions are where PHP's configuration says, which the plan does not name".to_owned(),
        ),
        Kept::Other => {
            (Logins::Unknown, "sessions are kept in a way that is not known here".to_owned())
        }
    }
}

/// A server that both sides ask for by one address.
fn same(store: &SessionStore) -> (Logins, String) {
    let (SessionStore::Redis(addresses) | SessionStore::Memcached(addresses)) = store else {
        return (Logins::Unknown, format!("{store} is no server"));
    };
    let means = |meaning| addresses.split(',').any(|address| place::meaning(address) == meaning);
    if means(Meaning::Here) {
        (Logins::Again, format!("{store} is another one on each machine, and does not move"))
    } else if means(Meaning::Local) {
        let text = format!(
            "{store} has a name that each machine may know for itself; write an address, or a name \
             with its domain, if both mean one server"
        );
        (Logins::Unknown, text)
    } else {
        (Logins::Survive, format!("both sides use {store}"))
    }
}

/// Sessions in a table come along with the database that holds it.
fn table(unit: &UnitPlan, from: &str, to: &str) -> (Logins, String) {
    let parts = |name: &str| match name.split_once('.') {
        Some((schema, table)) => (Some(schema.to_owned()), table.to_owned()),
        None => (None, name.to_owned()),
    };
    let (store, (schema, name)) = (SessionStore::Database(from.to_owned()), parts(from));
    if from != to {
        let there = SessionStore::Database(to.to_owned());
        return (Logins::Again, format!("{store} at the source, {there} at the target"));
    }
    match (&schema, unit.databases.as_slice()) {
        (_, []) => (Logins::Again, format!("{store}, and no database is moved")),
        (Some(schema), all) if all.iter().any(|one| one.schema == *schema) => {
            (Logins::Survive, format!("table `{name}` moves with database `{schema}`"))
        }
        (Some(schema), _) => {
            (Logins::Again, format!("table `{name}` is in database `{schema}`, which is not moved"))
        }
        (None, [only]) => (
            Logins::Survive,
            format!("{store} moves with it, if that is `{}`, the only one that moves", only.schema),
        ),
        (None, _) => (
            Logins::Unknown,
            format!(
                "{store}, and several move: write `database:SCHEMA.{name}` with the one that holds it"
            ),
        ),
    }
}

fn judge(unit: &UnitPlan, stores: &Sides<SessionStore>) -> (Logins, String) {
    use SessionStore::{Database, Files, Memcached, Own, Redis};
    let Sides { source, target } = stores;
    match (source, target) {
        (Files(from), Files(to)) => files(unit, from, to),
        (Database(from), Database(to)) => table(unit, from, to),
        (Redis(from), Redis(to)) | (Memcached(from), Memcached(to)) if from == to => same(source),
        (Own, _) | (_, Own) => {
            (Logins::Unknown, "the application keeps sessions in a way of its own".to_owned())
        }
        _ => (Logins::Again, format!("{source} at the source, {target} at the target")),
    }
}

/// Files come along if they lie in a moved tree, and the target looks where they come to.
fn files(unit: &UnitPlan, from: &Path, to: &Path) -> (Logins, String) {
    let tree = unit.trees.iter().find_map(|tree| {
        let below = from.strip_prefix(&tree.roots.source).ok()?;
        Some((tree, below))
    });
    let Some((tree, below)) = tree else {
        let text = format!("sessions are files in `{}`, which lies in no tree", from.display());
        return (Logins::Again, text);
    };
    let there = tree.roots.target.join(below);
    // Patterns are rsync's: whether one means this folder is not judged here.
    let named = below.components().next_back().map(|last| last.as_os_str().to_string_lossy());
    let out = tree.exclude.iter().any(|pattern| {
        named.as_ref().is_some_and(|named| pattern.trim_matches('/').ends_with(named.as_ref()))
    });
    if out {
        let text =
            format!("sessions in `{}` are excluded from tree `{}`", from.display(), tree.name);
        return (Logins::Again, text);
    }
    // Joining an empty path adds a slash that means nothing.
    if there.components().ne(to.components()) {
        let text = format!(
            "sessions come to `{}`, and the target looks in `{}`",
            there.display(),
            to.display()
        );
        return (Logins::Again, text);
    }
    (Logins::Survive, format!("sessions in `{}` move with tree `{}`", from.display(), tree.name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

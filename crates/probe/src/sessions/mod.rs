//! Whether those who are logged in stay so: where sites keep sessions, whether that place comes
//! along, and one login that is tried all the while.

mod login;
mod php;

pub use login::LoginSampler;

use php::Php;
use segue_model::plan::{SessionStore, SessionsPlan, SitePlan, UnitPlan};
use segue_model::{Finding, Side, Sides};
use std::net::SocketAddr;
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
    /// Whether one is tried through the switch.
    pub tried: bool,
}

impl LoginsOf {
    /// Returns one sentence.
    pub fn sentence(&self) -> String {
        let Self { site, because, .. } = self;
        match self.logins {
            Logins::Survive => format!("users of `{site}` stay logged in: {because}"),
            Logins::Again => format!("users of `{site}` log in again: {because}"),
            Logins::Unknown => {
                format!("whether users of `{site}` stay logged in is unknown: {because}")
            }
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
    let (logins, because) = match plan.map(stores) {
        None => (Logins::Unknown, "the plan does not say where sessions are".to_owned()),
        Some(Err(cause)) => (Logins::Unknown, cause),
        Some(Ok(stores)) => judge(unit, &stores),
    };
    let tried = plan.is_some_and(|plan| plan.login.is_some());
    LoginsOf { site: site.name.to_string(), logins, because, tried }
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

fn judge(unit: &UnitPlan, stores: &Sides<SessionStore>) -> (Logins, String) {
    use SessionStore::{Database, Files, Memcached, Own, Redis};
    let Sides { source, target } = stores;
    match (source, target) {
        (Files(from), Files(to)) => files(unit, from, to),
        (Database(from), Database(to)) if from == to && !unit.databases.is_empty() => {
            (Logins::Survive, format!("{source} moves with it"))
        }
        (Database(_), Database(_)) if unit.databases.is_empty() => {
            (Logins::Again, format!("{source}, and no database is moved"))
        }
        (Redis(from), Redis(to)) | (Memcached(from), Memcached(to)) if from == to => {
            if from.split(',').any(is_local) {
                let text = format!("{source} is another one on each machine, and does not move");
                (Logins::Again, text)
            } else {
                (Logins::Survive, format!("both sides use {source}"))
            }
        }
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

/// Returns whether an address means another server on each machine.
fn is_local(address: &str) -> bool {
    let address = address.trim();
    let ip = address.parse::<SocketAddr>().map(|address| address.ip()).ok();
    let ip = ip.or_else(|| address.parse().ok());
    ip.is_some_and(|ip: std::net::IpAddr| ip.is_loopback())
        || address.starts_with("localhost")
        || address.starts_with('/')
        || address.is_empty()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

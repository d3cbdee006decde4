//! What the login that verifies may see. What it may not, the server would leave out of its
//! lists without a word, and nothing would differ.

use crate::fault::Explain;
use crate::link::{Link, Wire};
use segue_model::{Fault, FaultKind, Side};
use segue_port::Outcome;

/// What is needed on the schema.
const ON_SCHEMA: [&str; 4] = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"];

/// Refuses a login that does not see everything.
///
/// # Errors
/// `SG0290`, naming what is missing.
pub(super) async fn check(link: &Link, wire: &mut Wire) -> Outcome<()> {
    let side = wire.side();
    let op = format!("verify schema `{}` at the {side}", link.names.schema);
    let lines: Vec<String> = wire.rows("SHOW GRANTS").await.reading(&op)?;
    let missing = missing(&lines, &link.names.schema);
    if missing.is_empty() {
        return Ok(());
    }
    let admin = &link.settings.plan.servers.get(side).admin;
    Err(Fault::new(
        "SG0290",
        FaultKind::Denied,
        op,
        format!("login `{admin}` lacks: {}", missing.join(", ")),
    )
    .hint(hint(side, &link.names.schema)))
}

fn hint(side: Side, schema: &str) -> String {
    format!(
        "at the {side}: GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `{schema}`.*, SELECT ON \
         mysql.*, PROCESS ON *.* to it; the plan's administrator has them"
    )
}

fn missing(lines: &[String], schema: &str) -> Vec<String> {
    let escaped = schema.replace('_', "\\_");
    let objects = [format!("`{schema}`.*"), format!("`{escaped}`.*")];
    let on_schema = |object: &str| objects.iter().any(|ours| ours == object);
    let mut missing: Vec<String> = ON_SCHEMA
        .iter()
        .filter(|right| !holds(lines, right, on_schema))
        .map(|right| format!("{right} on `{schema}`"))
        .collect();
    if !holds(lines, "SELECT", |object| object == "`mysql`.*") {
        missing.push("SELECT on `mysql`".into());
    }
    if !holds(lines, "PROCESS", |_| false) {
        missing.push("PROCESS".into());
    }
    missing
}

/// Says whether a right is held everywhere, or on an object of these.
fn holds(lines: &[String], right: &str, of: impl Fn(&str) -> bool) -> bool {
    lines.iter().any(|line| {
        let Some((rights, rest)) =
            line.strip_prefix("GRANT ").and_then(|line| line.split_once(" ON "))
        else {
            return false;
        };
        let object = rest.split(" TO ").next().unwrap_or_default();
        (object == "*.*" || of(object))
            && rights.split(", ").any(|held| held == right || held == "ALL PRIVILEGES")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(all: &[&str]) -> Vec<String> {
        all.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn rights_count_where_they_are_held() {
        let all = lines(&["GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION"]);
        assert_eq!(missing(&all, "my_shop"), [""; 0]);
        let exact = lines(&[
            "GRANT PROCESS ON *.* TO `r`@`%`",
            "GRANT SELECT, SHOW VIEW, EVENT ON `my\\_shop`.* TO `r`@`%`",
            "GRANT SELECT ON `mysql`.* TO `r`@`%`",
            "GRANT TRIGGER ON `other`.* TO `r`@`%`",
        ]);
        assert_eq!(missing(&exact, "my_shop"), ["TRIGGER on `my_shop`"]);
        assert_eq!(missing(&lines(&["GRANT USAGE ON *.* TO `r`@`%`"]), "s").len(), 6);
    }
}

//! Whether HAProxy is set up as Segue needs it; changes nothing.

use super::{Haproxy, MAPS, SCRIPT};
use segue_model::Finding;

/// What a request needs that meets a connection which its server closes in this moment. Without
/// them a switch lost up to 44 of 18,000 POSTs (HAProxy 2.6, servers that reload their workers).
const NEEDED: [(&str, &str); 3] =
    [("retry-on", "conn-failure"), ("retry-on", "empty-response"), ("option", "http-server-close")];

/// What would send a request twice that is not safe to be, or to another server.
const REFUSED: [(&str, &str); 2] =
    [("retry-on", "all-retryable-errors"), ("option", "transparent")];

impl Haproxy {
    pub(super) async fn findings(&self) -> Vec<Finding> {
        let refuse = |text: String| {
            Finding::refuse(
                "SG0168",
                text,
                "put what `segue fragments PLAN` prints into HAProxy's configuration, and reload it",
            )
        };
        let mut findings = Vec::new();
        match self.runtime.ask("show map").await {
            Err(fault) => return vec![refuse(fault.to_string())],
            Ok(maps) => {
                for name in MAPS {
                    let path = self.map(name).display().to_string();
                    if !maps.contains(&format!("({path})")) {
                        findings.push(refuse(format!("HAProxy has no map `{path}`")));
                    }
                }
            }
        }
        match self.runtime.ask("show segue -").await {
            Ok(answer) if answer.starts_with("id ") => {}
            Ok(_) => findings.push(refuse("HAProxy has not loaded Segue's script".to_owned())),
            Err(fault) => findings.push(refuse(fault.to_string())),
        }
        let script = self.plan.folder.join("segue.lua");
        let expected = SCRIPT.replace("@FOLDER@", &self.plan.folder.display().to_string());
        if std::fs::read_to_string(&script).is_ok_and(|text| text != expected) {
            findings.push(refuse(format!("`{}` is of another version", script.display())));
        }
        match std::fs::read_to_string(&self.plan.config) {
            Ok(text) => findings.extend(config(&text).into_iter().map(refuse)),
            Err(e) => findings.push(refuse(format!("`{}`: {e}", self.plan.config.display()))),
        }
        findings
    }
}

/// What tells a server with the PROXY protocol, version 2, who the client is.
pub(in crate::proxy) const INTRODUCES: &str = "send-proxy-v2";

/// Returns whether every server of a backend is told who the client is.
pub(super) fn introduces(text: &str, backend: &str) -> bool {
    let (mut here, mut all) = (false, Vec::new());
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some(first) if !line.starts_with([' ', '\t']) => {
                here = first == "backend" && words.next() == Some(backend);
            }
            Some("server") if here => all.push(words.any(|word| word == INTRODUCES)),
            _ => {}
        }
    }
    !all.is_empty() && all.iter().all(|told| *told)
}

/// Returns what is wrong with the retry settings of Segue's backends.
fn config(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut defaults, mut own): (Vec<&str>, Option<(&str, Vec<&str>)>) = Default::default();
    let mut in_defaults = false;
    let mut judge = |defaults: &[&str], own: Option<(&str, Vec<&str>)>| {
        let Some((name, own)) = own else { return };
        let has = |(word, value): (&str, &str)| {
            let fits = |line: &&&str| line.split_whitespace().next() == Some(word);
            // The last one counts, and one of the backend before those of `defaults`.
            let last = own.iter().rfind(fits);
            let one = |line: &str| line.split_whitespace().any(|part| part == value);
            match word {
                "retry-on" => last.or(defaults.iter().rfind(fits)).is_some_and(|line| one(line)),
                _ => own.iter().chain(defaults).filter(fits).any(|line| one(line)),
            }
        };
        for needed in NEEDED.into_iter().filter(|needed| !has(*needed)) {
            problems.push(format!("backend `{name}` is without `{} {}`", needed.0, needed.1));
        }
        for bad in REFUSED.into_iter().filter(|bad| has(*bad)) {
            problems.push(format!("backend `{name}` has `{} {}`", bad.0, bad.1));
        }
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if line.starts_with([' ', '\t']) {
            match &mut own {
                Some((_, lines)) => lines.push(line),
                None if in_defaults => defaults.push(line),
                None => {}
            }
            continue;
        }
        judge(&defaults, own.take());
        in_defaults = first == "defaults";
        if in_defaults {
            defaults.clear();
        }
        own = words
            .next()
            .filter(|name| first == "backend" && name.starts_with("segue_"))
            .map(|name| (name, Vec::new()));
    }
    judge(&defaults, own.take());
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_told_of_clients_is_told_from_others() {
        let text = "backend segue_a_source\n  server app 192.0.2.1:80 send-proxy-v2 # says\n\
                    backend segue_a_target\n  server app 192.0.2.2:80 # send-proxy-v2\n";
        let told = ["segue_a_source", "segue_a_target", "segue_b_source"];
        assert_eq!(told.map(|name| introduces(text, name)), [true, false, false]);
    }

    #[test]
    fn retries_that_lose_or_double_requests_are_named() {
        let good = "defaults\n  retry-on conn-failure empty-response\nbackend segue_a_source\n  \
                    option http-server-close # closes\n  server app 192.0.2.1:80\n";
        assert_eq!(config(good), Vec::<String>::new());
        let bare = "backend segue_a_source\n  server app 192.0.2.1:80\nbackend other\n  mode tcp\n";
        assert_eq!(
            config(bare),
            [
                "backend `segue_a_source` is without `retry-on conn-failure`",
                "backend `segue_a_source` is without `retry-on empty-response`",
                "backend `segue_a_source` is without `option http-server-close`",
            ]
        );
        let twice = good.replace("  option", "  retry-on all-retryable-errors\n  option");
        let problems = config(&twice);
        assert!(problems.iter().any(|p| p.ends_with("has `retry-on all-retryable-errors`")));
    }
}

//! A split that could not work, or would prove nothing.

use super::Found;
use super::names::url_path;
use segue_model::plan::{Plan, SplitPlan};

/// Most shares of a split.
const MOST_SHARES: usize = 20;

pub(super) fn check(found: &mut Found, plan: &Plan) {
    let policy = &plan.policy;
    for path in &policy.harmless_paths {
        url_path(found, "SG0725", "policy.harmless_paths", path);
    }
    found.duplicates(
        "path",
        policy.harmless_paths.iter().map(|path| ("policy.harmless_paths", path.as_str())),
    );
    for path in policy.slow_paths.iter().filter(|slow| policy.harmless_paths.contains(slow)) {
        found.add(
            "SG0725",
            "policy.harmless_paths",
            format!("`{path}` is waited for as a slow path and passes a hold as a harmless one"),
            "name it in one of the two lists",
        );
    }
    let Some(split) = &policy.split else { return };
    let mut refuse = |key: &str, text: String, remedy: &str| {
        found.add("SG0737", format!("policy.split{key}"), text, remedy);
    };
    if plan.unit.sites.is_empty() {
        refuse(
            "",
            "the unit has no web server, so there is no traffic to split".into(),
            "take it away",
        );
    } else if policy.harmless_paths.is_empty() {
        refuse(
            "",
            "no request may leave the write side: `harmless_paths` names none".into(),
            "name the paths on which GET and HEAD do not write, as `/static/`",
        );
    }
    shares(split, &mut refuse);
    bounds(split, &mut refuse);
}

fn shares(split: &SplitPlan, refuse: &mut impl FnMut(&str, String, &str)) {
    let shares = &split.shares;
    let rising = shares.windows(2).all(|two| two[0] < two[1]);
    let within = shares.iter().all(|share| (1..=100).contains(share));
    if shares.is_empty() || shares.len() > MOST_SHARES || !rising || !within {
        refuse(
            ".shares",
            format!("{shares:?} are no rising shares in percent"),
            "write 1 to 20 numbers from 1 to 100, each larger than the one before",
        );
    }
}

fn bounds(split: &SplitPlan, refuse: &mut impl FnMut(&str, String, &str)) {
    let seconds = [
        (".dwell_s", split.dwell_s, 1, 86_400),
        (".longest_s", split.longest_s, split.dwell_s, 604_800),
        (".warm_s", split.warm_s, 0, 3_600),
        (".slow_ms", split.slow_ms, 50, 30_000),
    ];
    for (key, value, least, most) in seconds {
        if !(least..=most).contains(&value) {
            refuse(key, format!("{value} is out of range"), &format!("write {least} to {most}"));
        }
    }
    let numbers = [
        (".false_alarm", split.false_alarm, 0.0001, 0.1),
        (".failing_margin", split.failing_margin, 0.0001, 0.1),
        (".p50_factor", split.p50_factor, 1.01, 10.0),
        (".p95_factor", split.p95_factor, 1.01, 10.0),
    ];
    for (key, value, least, most) in numbers {
        if !(least..=most).contains(&value) {
            refuse(key, format!("{value} is out of range"), &format!("write {least} to {most}"));
        }
    }
    // RFC 6265 4.1.1: a token.
    let token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if split.cookie.is_empty() || split.cookie.len() > 64 || !split.cookie.chars().all(token) {
        refuse(
            ".cookie",
            format!("`{}` is not the name of a cookie", split.cookie),
            "use letters, digits, `-`, `_` and `.`, at most 64",
        );
    }
}

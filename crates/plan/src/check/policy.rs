//! Bounds of the policy.

use super::Found;
use super::names::{absolute, url_path};
use segue_model::plan::Policy;

pub(super) fn check(found: &mut Found, policy: &Policy) {
    within(found, "pause_budget_ms", policy.pause_budget_ms, 100, 60_000);
    within(found, "lease_ms", policy.lease_ms, 500, 10_000);
    within(found, "hold_age_max_ms", policy.hold_age_max_ms, 1, 120_000);
    within(found, "hold_count_max", policy.hold_count_max as u64, 1, 1_000_000);
    within(found, "hold_bytes_max", policy.hold_bytes_max, 64 << 10, 16 << 30);
    if let Some(page) = &policy.hold_page {
        absolute(found, "policy.hold_page", page);
        let known = ["html", "htm", "txt", "json"];
        if !page.extension().is_some_and(|end| known.iter().any(|known| end == *known)) {
            found.add(
                "SG0761",
                "policy.hold_page",
                format!("nobody can tell what `{}` is by its name", page.display()),
                "let the file's name end with .html, .htm, .txt or .json",
            );
        }
    }
    within(found, "quiet_wait_ms", policy.quiet_wait_ms, 0, 3_600_000);
    within(found, "gate_wait_s", policy.gate_wait_s, 1, 86_400);
    within(found, "commit_timer_s", policy.commit_timer_s, 0, 30 * 86_400);
    within(found, "stable_for_s", policy.stable_for_s, 1, 365 * 86_400);
    within(found, "straggler_days", policy.straggler_days, 1, 90);
    if let Some(ms) = policy.maintenance_budget_ms {
        within(found, "maintenance_budget_s", ms / 1_000, 10, 86_400);
    }
    between_two(found, policy);
    for path in &policy.slow_paths {
        url_path(found, "SG0725", "policy.slow_paths", path);
    }
    found.duplicates(
        "path",
        policy.slow_paths.iter().map(|path| ("policy.slow_paths", path.as_str())),
    );
}

fn within(found: &mut Found, field: &str, value: u64, least: u64, most: u64) {
    if !(least..=most).contains(&value) {
        found.add(
            "SG0725",
            format!("policy.{field}"),
            format!("{value} is out of range"),
            format!("write {least} to {most}"),
        );
    }
}

/// Bounds that hold between two fields.
fn between_two(found: &mut Found, policy: &Policy) {
    if policy.seal_reserve_ms == 0 || policy.seal_reserve_ms >= policy.pause_budget_ms {
        found.add(
            "SG0725",
            "policy.seal_reserve_ms",
            format!(
                "a reserve of {} ms in a budget of {} ms",
                policy.seal_reserve_ms, policy.pause_budget_ms
            ),
            "leave a part of the budget for hold, fence and drain: a quarter is usual",
        );
    }
    // Seal needs a lease that never lapsed, also when one renewal came late.
    if policy.lease_ms < policy.seal_reserve_ms.saturating_mul(2) {
        found.add(
            "SG0725",
            "policy.lease_ms",
            format!(
                "a lease of {} ms can lapse within the reserve of {} ms",
                policy.lease_ms, policy.seal_reserve_ms
            ),
            "write at least twice `seal_reserve_ms`",
        );
    }
    if policy.hold_age_max_ms < policy.pause_budget_ms {
        found.add(
            "SG0725",
            "policy.hold_age_max_ms",
            format!(
                "requests would be answered 503 after {} ms, within the budget of {} ms",
                policy.hold_age_max_ms, policy.pause_budget_ms
            ),
            "write at least `pause_budget_ms`",
        );
    }
    let failback = policy.pause_budget_ms..=policy.hold_age_max_ms;
    if policy.hold_age_max_ms >= policy.pause_budget_ms
        && !failback.contains(&policy.failback_budget_ms)
    {
        found.add(
            "SG0725",
            "policy.failback_budget_ms",
            format!("{} is out of range", policy.failback_budget_ms),
            format!(
                "write `pause_budget_ms` to `hold_age_max_ms`: {} to {}",
                policy.pause_budget_ms, policy.hold_age_max_ms
            ),
        );
    }
}

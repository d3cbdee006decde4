//! Fronts that are the operator's own proxies: what they cannot do, no plan may need.

use super::names::absolute;
use super::{Found, key};
use segue_model::Side;
use segue_model::plan::{
    Backend, FrontLimits, FrontPlan, NginxPlan, Plan, Policy, PortKind, ProxyPlan, Queue, SitePlan,
};

/// Requests that a reload of nginx lost in a measurement: 64 connections, 2,000 requests a second.
const RELOAD_LOSSES: &str = "1 to 2 requests of clients that look whether their connection was closed, \
                             about one a connection of others (nginx 1.22; newer ones lose fewer, but \
                             some, with `keepalive_min_timeout`)";

pub(super) fn check(found: &mut Found, plan: &Plan) {
    for (index, front) in plan.unit.fronts.iter().enumerate() {
        let Some(proxy) = &front.proxy else { continue };
        let at = key("front", index, &front.name).to_string();
        absolute(found, &format!("{at}.{}.folder", proxy.as_str()), proxy.folder());
        ports(found, &at, front, proxy);
        match proxy {
            ProxyPlan::Haproxy(haproxy) => {
                absolute(found, &format!("{at}.haproxy.config"), &haproxy.config);
            }
            ProxyPlan::Nginx(nginx) => accepted(found, &at, nginx),
        }
        needs(found, &at, front, plan);
    }
}

/// Its ports, certificates and limits are in its own configuration.
fn ports(found: &mut Found, at: &str, front: &FrontPlan, proxy: &ProxyPlan) {
    let mut refuse = |key: &str, text: &str| {
        found.add(
            "SG0774",
            format!("{at}{key}"),
            format!("{text} is for {} to do, not for Segue", proxy.as_str()),
            "take it out of the plan, and set the proxy up so",
        );
    };
    if front.takes_over() || front.ports.iter().any(|port| port.join) {
        refuse("", "to take a port over");
    }
    if front.ports.iter().any(|port| port.kind != PortKind::Http) {
        refuse(".port", "a port of another kind than `http`");
    }
    if front.ports.iter().any(|port| port.proxy_in) {
        refuse(".port", "`proxy_in`");
    }
    if !front.trusted.is_empty() {
        refuse(".trusted", "who is believed about a client");
    }
    if front.metrics.is_some() || front.access_log.is_some() {
        refuse("", "to show figures and log requests");
    }
    if front.limits != FrontLimits::default() {
        refuse(".limits", "what is taken of clients");
    }
}

/// What a plan needs and the proxy cannot do.
fn needs(found: &mut Found, at: &str, front: &FrontPlan, plan: &Plan) {
    let (can, policy) = (front.abilities(), &plan.policy);
    let kind = front.proxy.as_ref().map_or("front", |proxy| proxy.as_str());
    let mut refuse = |text: &str, remedy: &str| {
        found.add("SG0775", at, format!("{kind} {text}"), remedy);
    };
    let more = |backend: &Backend| {
        let unread = backend.passthrough.or(backend.acme_tls);
        !backend.beside.is_empty() || backend.tls.is_some() || unread.is_some()
    };
    let several = |site: &SitePlan| more(&site.backends.source) || more(&site.backends.target);
    if plan.unit.sites.iter().any(|site| several(site) || site.answer_timeout_s.is_some()) {
        refuse(
            "is told of one web server a side, in clear, with its own time limits",
            "set that up in its own configuration, or put a front of Segue's own there",
        );
    }
    let told = |site: &SitePlan| site.backends.source.proxy_out || site.backends.target.proxy_out;
    if plan.unit.sites.iter().any(told) && !can.introduces {
        refuse(
            "tells no web server with the PROXY protocol who the client is",
            "take `proxy_out` away and have the servers read `X-Forwarded-For`, or put HAProxy or a \
             front of Segue's own there",
        );
    }
    if plan.unit.measures.mirror.is_some() && !can.mirrors {
        refuse(
            "copies no requests for the target",
            "take [measure.mirror] away and run `segue compare`, or put a front of Segue's own there",
        );
    }
    if policy.split.is_some() && !can.splits {
        refuse(
            "splits no traffic: it cannot tell what visitors met at either side",
            "take [policy.split] away, or put a front of Segue's own there",
        );
    }
    if !policy.slow_paths.is_empty() && !can.tells_paths {
        refuse(
            "does not say which paths run, so nothing can wait for a moment without `slow_paths`",
            "take `slow_paths` away, or put a front of Segue's own there",
        );
    }
    held(&mut refuse, front, policy);
}

/// What a plan says of holds and of what comes after them.
fn held(refuse: &mut impl FnMut(&str, &str), front: &FrontPlan, policy: &Policy) {
    let can = front.abilities();
    if !policy.harmless_paths.is_empty() && !can.passes_harmless {
        refuse(
            "lets no request pass a hold, also on `harmless_paths`",
            "take `harmless_paths` away (`segue compare` takes --path), or put a front of Segue's own \
             there",
        );
    }
    // Where nothing waits there is nothing to bound.
    let weighs = can.weighs || can.queue == Queue::Refuses;
    if policy.hold_bytes_max != Policy::usual_hold_bytes_max() && !weighs {
        refuse(
            "does not count the bytes of requests that wait (`hold_bytes_max`)",
            "bound their number with `hold_count_max`, or put a front of Segue's own there",
        );
    }
    if policy.hold_page.is_some() && !can.shows_page {
        refuse(
            "shows no page of the plan's (`hold_page`) to those who wait in vain",
            "take `hold_page` away, and set a page for 503 up in its own configuration, or put a front \
             of Segue's own there",
        );
    }
    let late = front.side == Side::Source && !can.knows_stragglers;
    if late && policy.straggler_days != Policy::usual_straggler_days() {
        refuse(
            "does not know who still comes to the source, for however many `straggler_days`",
            "take `straggler_days` away and waive the gate `no-stragglers` when it is due, or put a front \
             of Segue's own there",
        );
    }
}

/// What is lost and refused with nginx has to be taken in so many words.
fn accepted(found: &mut Found, at: &str, nginx: &NginxPlan) {
    if !nginx.accept_reload_losses {
        found.add(
            "SG0776",
            format!("{at}.nginx.accept_reload_losses"),
            format!(
                "a cutover reloads nginx three times, and a reload loses requests: {RELOAD_LOSSES}"
            ),
            "write `accept_reload_losses = true` if that is taken, or use HAProxy or a front of \
             Segue's own",
        );
    }
    if !nginx.accept_refusals {
        found.add(
            "SG0777",
            format!("{at}.nginx.accept_refusals"),
            "nginx has no queue: every request during the pause is refused with 503",
            "write `accept_refusals = true` if that is taken, or use HAProxy or a front of \
             Segue's own",
        );
    }
}

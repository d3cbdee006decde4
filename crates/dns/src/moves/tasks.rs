//! What a person has to do, in words that can be handed on.

use super::keys;
use super::parent::Delegation;
use super::situation::Situation;
use domain::base::Rtype;
use segue_model::Side;
use segue_model::plan::AuthorityPlan;

/// The name servers and their glue, for the registrar.
pub(super) fn delegation(situation: &Situation<'_>) -> Vec<String> {
    let seen = &situation.seen;
    let zone = &seen.plan.zone;
    let mut task = vec![format!("at the registrar of `{zone}`, let these be its name servers:")];
    for name in seen.name_servers(seen.to) {
        task.push(format!("  {name}"));
        if name.ends_with(seen.apex) {
            for address in seen.own_addresses(&name) {
                task.push(format!("    with the address (glue) {address}"));
            }
        }
    }
    if situation.keyed() {
        task.push("leave its DS records as they are".to_owned());
    }
    task.extend(so_far(situation));
    task
}

/// What servers of the parent say that are not as wanted, if they do not agree.
fn so_far(situation: &Situation<'_>) -> Vec<String> {
    let wanted = situation.seen.name_servers(situation.seen.to);
    let parents = &situation.seen.look.parents;
    // Before anything was done each says the same.
    if !parents.iter().any(|parent| parent.names() == wanted) {
        return Vec::new();
    }
    let line = |parent: &Delegation| {
        let names: Vec<String> = parent.names().iter().map(ToString::to_string).collect();
        let glue: Vec<String> =
            parent.glue.iter().map(|(name, address)| format!("{name} {address}")).collect();
        format!("(so far {} says: {}; glue {glue:?})", parent.server, names.join(", "))
    };
    parents.iter().map(line).collect()
}

/// The DS records that have to come, for the registrar.
pub(super) fn new_ds(situation: &Situation<'_>) -> Vec<String> {
    let seen = &situation.seen;
    let zone = &seen.plan.zone;
    let mut task =
        vec![format!("at the registrar of `{zone}`, add this DS beside those that are there:")];
    for key in seen.signing(seen.to, Rtype::DNSKEY) {
        if let Some(text) = keys::ds_text(seen.apex, &key) {
            task.push(format!("  {zone}. IN DS {text}"));
        }
        task.push(format!("    (its key: {zone}. IN DNSKEY {})", key.text(Rtype::DNSKEY)));
    }
    task
}

/// The DS records that have to go: those that name a key of the provider that is left.
pub(super) fn former_ds(situation: &Situation<'_>) -> Vec<String> {
    let seen = &situation.seen;
    let zone = &seen.plan.zone;
    let mut task = vec![format!("at the registrar of `{zone}`, take this DS away:")];
    let mut lines: Vec<String> = Vec::new();
    for parent in &seen.look.parents {
        let former = parent.ds.data.iter().filter(|ds| seen.names_former(ds));
        lines.extend(former.map(|ds| format!("  {zone}. IN DS {}", ds.text(Rtype::DS))));
    }
    lines.sort();
    lines.dedup();
    task.extend(lines);
    task
}

/// All DS records have to go.
pub(super) fn no_ds(zone: &str) -> Vec<String> {
    vec![format!("at the registrar of `{zone}`, take all its DS records away")]
}

/// A provider has to sign the zone, or to stop.
pub(super) fn signing(situation: &Situation<'_>, side: Side, sign: bool) -> Vec<String> {
    let provider = situation.seen.plan.providers.get(side);
    let zone = &situation.seen.plan.zone;
    let verb = if sign { "sign" } else { "stop signing" };
    let mut task = vec![format!("let `{}` {verb} zone `{zone}`", provider.name)];
    task.extend(match (&provider.authority, sign) {
        (AuthorityPlan::Update { .. } | AuthorityPlan::ZoneFile { .. }, true) => vec![
            "  BIND: `dnssec-policy default; inline-signing no;` for the zone, `rndc reconfig`"
                .into(),
            "  Knot: `dnssec-signing: on` for the zone, `knotc reload`".into(),
            format!("  PowerDNS: {}", powerdns("secure-zone", zone)),
        ],
        (AuthorityPlan::Update { .. } | AuthorityPlan::ZoneFile { .. }, false) => vec![
            format!(
                "  BIND: `rndc dnssec -checkds withdrawn {zone}`, `dnssec-policy insecure;` for \
                 the zone, `rndc reconfig`"
            ),
            "  Knot: `dnssec-signing: off` for the zone, `knotc reload`; then delete DNSKEY, NSEC \
             and RRSIG of every name, which stay and are renewed no more"
                .into(),
            format!("  PowerDNS: {}", powerdns("disable-dnssec", zone)),
        ],
        (AuthorityPlan::Powerdns { .. }, true) => {
            vec![format!("  {}", powerdns("secure-zone", zone))]
        }
        (AuthorityPlan::Powerdns { .. }, false) => {
            vec![format!("  {}", powerdns("disable-dnssec", zone))]
        }
        (AuthorityPlan::Route53 { .. }, _) => {
            vec!["  in its console: the hosted zone, DNSSEC signing".into()]
        }
        (AuthorityPlan::Cloudflare { .. }, _) => {
            vec!["  in its dashboard: DNS, Settings, DNSSEC".into()]
        }
        (AuthorityPlan::Command { .. }, _) => Vec::new(),
    });
    task
}

/// The commands at a PowerDNS server, whose secondaries keep the zone as it was until its serial
/// moves.
fn powerdns(what: &str, zone: &str) -> String {
    format!(
        "`pdnsutil {what} {zone}`, then `pdnsutil increase-serial {zone}` and \
         `pdns_control notify {zone}`, or its secondaries keep what they have"
    )
}

//! CDNs: an origin at each side, and an API that keeps the token to itself.

use super::names::secret;
use super::{Found, key, zones};
use segue_model::plan::{CdnPlan, CdnVendor, UnitPlan};

pub(super) fn check(found: &mut Found, unit: &UnitPlan) {
    let place = |index, cdn: &CdnPlan| key("cdn", index, &cdn.name).to_string();
    for (index, cdn) in unit.cdns.iter().enumerate() {
        let at = place(index, cdn);
        let CdnPlan { origins, vendor, .. } = cdn;
        if cdn.name.is_empty() {
            found.add("SG0758", &at, "it has no name", "write `name`");
        }
        secret(found, &format!("{at}.token"), &cdn.token);
        zones::web(found, &format!("{at}.{}", vendor.as_str()), vendor.url());
        for (side, origin) in [("source", &origins.source), ("target", &origins.target)] {
            let wrong = origin.is_empty() || !origin.bytes().all(|byte| byte.is_ascii_graphic());
            let whole = matches!(vendor, CdnVendor::Bunny { .. });
            if wrong || whole != origin.contains("://") {
                found.add(
                    "SG0759",
                    format!("{at}.{side}"),
                    format!("{origin:?} is no origin as {} shows it", vendor.as_str()),
                    "write an address or a host name; for bunny.net a URL as \
                     `https://192.0.2.10`",
                );
            }
        }
        if origins.source == origins.target {
            found.add(
                "SG0759",
                format!("{at}.target"),
                "both sides have one origin, so nothing would be switched",
                "write the target's, or take the CDN out of the plan",
            );
        }
        said(found, &at, vendor);
    }
    let names = unit
        .cdns
        .iter()
        .enumerate()
        .map(|(index, cdn)| (format!("{}.name", place(index, cdn)), cdn.name.as_str()));
    found.duplicates("CDN", names);
}

/// What an id or a name stands for is only known to the vendor; it has to fit into a path.
fn said(found: &mut Found, at: &str, vendor: &CdnVendor) {
    let plain = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte);
        !text.is_empty() && text.bytes().all(inner)
    };
    let right = match vendor {
        CdnVendor::Fastly { service, backend, .. } => plain(service) && plain(backend),
        CdnVendor::Bunny { pull_zone, .. } => *pull_zone > 0,
        CdnVendor::Cloudflare { zone_id, record, rtype, .. } => {
            let types = ["A", "AAAA", "CNAME"];
            plain(zone_id) && plain(record) && types.contains(&rtype.as_str())
        }
    };
    if !right {
        found.add(
            "SG0758",
            format!("{at}.{}", vendor.as_str()),
            "an id or a name in it is none",
            "copy them from the vendor's console; of records the types A, AAAA and CNAME have an \
             origin in them",
        );
    }
}

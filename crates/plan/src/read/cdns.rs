//! CDNs whose origin is switched.

use crate::Problem;
use crate::file::CdnFile;
use segue_model::Sides;
use segue_model::plan::{CdnPlan, CdnVendor, SecretRef};

/// Makes the plan of a CDN.
pub(super) fn cdn(file: CdnFile, problems: &mut Vec<Problem>) -> Option<CdnPlan> {
    let CdnFile { name, source, target, token, fastly, bunny, cloudflare } = file;
    let fastly = fastly.map(|api| CdnVendor::Fastly {
        url: api.url,
        service: api.service,
        backend: api.backend,
    });
    let bunny = bunny.map(|api| CdnVendor::Bunny { url: api.url, pull_zone: api.pull_zone });
    let cloudflare = cloudflare.map(|api| CdnVendor::Cloudflare {
        url: api.url,
        zone_id: api.zone_id,
        record: api.record,
        rtype: api.rtype,
    });
    let mut named: Vec<_> = [fastly, bunny, cloudflare].into_iter().flatten().collect();
    let Some(vendor) = named.pop().filter(|_| named.is_empty()) else {
        problems.push(Problem {
            code: "SG0758",
            key: format!("cdn[{name}]"),
            text: "it is not said where its origin is set, or in two ways".to_owned(),
            remedy: "write exactly one of `fastly`, `bunny` and `cloudflare`".to_owned(),
        });
        return None;
    };
    let origins = Sides { source, target };
    Some(CdnPlan { name, vendor, token: SecretRef(token.0), origins })
}

//! Who may issue certificates for the hosts of a zone (RFC 8659).

use super::records::value;
use crate::zone::Contents;
use domain::base::Rtype;
use domain::rdata::AllRecordData;
use serde::Serialize;

/// One CAA set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caa {
    /// Its owner; it holds for all names at and below that have no own set.
    pub name: String,
    /// Authorities that may issue; none if nobody may.
    pub issuers: Vec<String>,
    /// Authorities that may issue wildcard certificates.
    pub wildcard_issuers: Vec<String>,
    /// Whether the authority in use may; `None` if it was not named.
    pub allows_ours: Option<bool>,
}

/// Finds every CAA set. Where none stands at or above a name, anybody may issue.
pub(super) fn find(contents: &Contents, ca: Option<&str>) -> Vec<Caa> {
    let sets = contents.sets().filter(|set| set.key.rtype == Rtype::CAA);
    let mut found: Vec<Caa> = Vec::new();
    for set in sets {
        let (mut issuers, mut wildcard_issuers) = (Vec::new(), Vec::new());
        let (mut restricts, mut restricts_wildcards) = (false, false);
        for data in &set.data {
            let Some(AllRecordData::Caa(caa)) = value(Rtype::CAA, data) else { continue };
            let octets: &[u8] = caa.value();
            let text = String::from_utf8_lossy(octets).into_owned();
            let issuer = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
            let tag = caa.tag().to_string().to_ascii_lowercase();
            let (list, flag) = match tag.as_str() {
                "issue" => (&mut issuers, &mut restricts),
                "issuewild" => (&mut wildcard_issuers, &mut restricts_wildcards),
                _ => continue,
            };
            *flag = true;
            if !issuer.is_empty() {
                list.push(issuer);
            }
        }
        if !restricts_wildcards {
            wildcard_issuers.clone_from(&issuers);
        }
        let allows = |ca: &str| !restricts || issuers.iter().any(|i| i.eq_ignore_ascii_case(ca));
        let allows_ours = ca.map(allows);
        let name = set.key.name.to_string();
        found.push(Caa { name, issuers, wildcard_issuers, allows_ours });
    }
    found
}

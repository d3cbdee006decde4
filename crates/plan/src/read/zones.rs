//! Zones: each provider of a zone is a zone plan of its own, with the same records.

use crate::Problem;
use crate::file::{
    AuthorityFile, KeyFile, QueryLogFile, QueryLogFormatFile, ZoneFile, ZoneGuardFile,
};
use segue_model::Sides;
use segue_model::plan::{
    AuthorityPlan, OwnedSet, QueryLogFormat, QueryLogPlan, SecretRef, TsigKey, ZoneGuard, ZonePlan,
};

/// TTL of owned sets that lead no visitor, where the file has none, seconds.
const LOWERED_OTHER_TTL_S: u32 = 300;

/// Returns the plans of a zone, one a provider.
pub(super) fn zone(file: ZoneFile, problems: &mut Vec<Problem>) -> Vec<ZonePlan> {
    let at = format!("zone[{}]", file.zone);
    let records: Vec<OwnedSet> = file
        .record
        .into_iter()
        .map(|record| OwnedSet {
            name: record.name,
            rtype: record.rtype,
            data: Sides { source: record.source, target: record.target },
        })
        .collect();
    let (zone, lowered_ttl_s) = (file.zone, file.lowered_ttl_s);
    let lowered_other_ttl_s =
        file.lowered_other_ttl_s.unwrap_or(lowered_ttl_s.max(LOWERED_OTHER_TTL_S));
    let allow: Vec<ZoneGuard> = file.allow.into_iter().map(guard).collect();
    let parents = file.parents;
    let plan = |provider, servers, authority, logs: Vec<QueryLogFile>| ZonePlan {
        parents: parents.clone(),
        zone: zone.clone(),
        provider,
        authority,
        servers,
        records: records.clone(),
        lowered_ttl_s,
        lowered_other_ttl_s,
        allow: allow.clone(),
        query_logs: logs.into_iter().map(query_log).collect(),
    };
    let mut refuse = |text: &str| {
        problems.push(Problem {
            code: "SG0735",
            key: at.clone(),
            text: text.to_owned(),
            remedy: "write `primary`, `servers` and `key`, or one [[zone.authority]] for each \
                     provider"
                .to_owned(),
        });
        Vec::new()
    };
    match (file.primary, file.key) {
        (Some(primary), Some(key)) if file.authority.is_empty() => {
            let authority = AuthorityPlan::Update { primary, key: tsig_key(key) };
            vec![plan(None, file.servers, authority, file.query_log)]
        }
        (None, None)
            if file.servers.is_empty()
                && file.query_log.is_empty()
                && !file.authority.is_empty() =>
        {
            let several = file.authority.len() > 1;
            let each = file.authority.into_iter().filter_map(|file| {
                let (name, servers) = (file.name.clone(), file.servers.clone());
                let provider = several.then(|| name.clone());
                let key = format!("{at}.authority[{name}]");
                let logs = file.query_log.clone();
                Some(plan(provider, servers, authority(file, &key, problems)?, logs))
            });
            each.collect()
        }
        (None, None) if file.authority.is_empty() => refuse("nobody is named who serves the zone"),
        (_, _) if file.authority.is_empty() => refuse("`primary` and `key` belong together"),
        _ => refuse("`primary`, `servers`, `key` or `query_log` stand beside a [[zone.authority]]"),
    }
}

pub(super) fn authority(
    file: AuthorityFile,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<AuthorityPlan> {
    let update = file
        .update
        .map(|update| AuthorityPlan::Update { primary: update.primary, key: tsig_key(update.key) });
    let powerdns = file.powerdns.map(|api| AuthorityPlan::Powerdns {
        url: api.url,
        server: api.server,
        key: SecretRef(api.key.0),
    });
    let zone_file =
        file.zone_file.map(|zone| AuthorityPlan::ZoneFile { file: zone.file, reload: zone.reload });
    let route53 = file.route53.map(|api| AuthorityPlan::Route53 {
        url: api.url,
        zone_id: api.zone_id,
        access_key: SecretRef(api.access_key.0),
        secret_key: SecretRef(api.secret_key.0),
    });
    let cloudflare = file.cloudflare.map(|api| AuthorityPlan::Cloudflare {
        url: api.url,
        zone_id: api.zone_id,
        token: SecretRef(api.token.0),
        batch_max: api.batch_max,
        ttl_min_s: api.ttl_min_s,
    });
    let command = file.command.map(|command| AuthorityPlan::Command { command });
    let ways = [update, powerdns, zone_file, route53, cloudflare, command];
    let mut named: Vec<_> = ways.into_iter().flatten().collect();
    if named.len() != 1 {
        problems.push(Problem {
            code: "SG0735",
            key: key.to_owned(),
            text: format!("{} ways to change its records are named", named.len()),
            remedy: "write exactly one of `update`, `powerdns`, `zone_file`, `route53`, \
                     `cloudflare` and `command`"
                .to_owned(),
        });
        return None;
    }
    named.pop()
}

fn query_log(file: QueryLogFile) -> QueryLogPlan {
    let format = match file.format {
        QueryLogFormatFile::Bind => QueryLogFormat::Bind,
        QueryLogFormatFile::Dnstap => QueryLogFormat::Dnstap,
    };
    QueryLogPlan { format, file: file.file }
}

fn guard(file: ZoneGuardFile) -> ZoneGuard {
    match file {
        ZoneGuardFile::Share => ZoneGuard::Share,
        ZoneGuardFile::Dangling => ZoneGuard::Dangling,
        ZoneGuardFile::Spf => ZoneGuard::Spf,
        ZoneGuardFile::Validation => ZoneGuard::Validation,
        ZoneGuardFile::ApexNs => ZoneGuard::ApexNs,
        ZoneGuardFile::SharedCluster => ZoneGuard::SharedCluster,
        ZoneGuardFile::HiddenPrimary => ZoneGuard::HiddenPrimary,
    }
}

fn tsig_key(file: KeyFile) -> TsigKey {
    TsigKey { name: file.name, algorithm: file.algorithm, secret: SecretRef(file.secret.0) }
}

//! The file of zones that move between DNS providers.

use super::{unreadable, zones};
use crate::check::check_moves;
use crate::file::{AuthorityFile, MoveFile, MovesFile, ProviderFile, SigningFile};
use crate::{PlanError, Problem};
use segue_model::Sides;
use segue_model::plan::{AuthorityPlan, MovesPlan, ProviderPlan, SigningWish, ZoneMove};
use std::path::PathBuf;

/// Stands for the zone's name in paths and words of commands.
const ZONE: &str = "{zone}";

/// Reads and checks a file of moving zones; `name` stands in messages only.
///
/// # Errors
/// `SG0701` if the text is not such a file, `SG0702` with every [`Problem`] found.
pub fn read_moves(text: &str, name: &str) -> Result<MovesPlan, PlanError> {
    let file: MovesFile = toml::from_str(text).map_err(|error| unreadable(&error, text, name))?;
    let mut problems = Vec::new();
    let plan = moves(file, &mut problems);
    problems.extend(check_moves(&plan));
    match problems.is_empty() {
        true => Ok(plan),
        false => Err(PlanError::Refused { name: name.to_owned(), problems }),
    }
}

fn moves(file: MovesFile, problems: &mut Vec<Problem>) -> MovesPlan {
    let plain = file.zones.iter().map(|zone| MoveFile {
        zone: zone.clone(),
        source: None,
        target: None,
        dnssec: None,
        replace: None,
    });
    let all: Vec<MoveFile> = plain.chain(file.zone.iter().cloned()).collect();
    let zones = all.into_iter().filter_map(|zone| one(zone, &file, problems)).collect();
    MovesPlan { zones, at_once: file.at_once, zones_per_s: file.zones_per_s }
}

fn one(zone: MoveFile, file: &MovesFile, problems: &mut Vec<Problem>) -> Option<ZoneMove> {
    let target = zone.target.unwrap_or_else(|| file.target.clone());
    let source = zone.source.or_else(|| file.source.clone());
    let target = provider(target, "target", &zone.zone, problems);
    let source = match source {
        Some(source) => provider(source, "source", &zone.zone, problems),
        None => target.clone(),
    };
    Some(ZoneMove {
        providers: Sides { source: source?, target: target? },
        dnssec: match zone.dnssec.unwrap_or(file.dnssec) {
            SigningFile::Keep => SigningWish::Keep,
            SigningFile::Sign => SigningWish::Sign,
            SigningFile::Unsign => SigningWish::Unsign,
        },
        lowered_ttl_s: file.lowered_ttl_s,
        resolvers: file.resolvers.clone(),
        parents: file.parents.clone(),
        replace: zone.replace.unwrap_or(file.replace),
        zone: zone.zone,
    })
}

fn provider(
    file: ProviderFile,
    side: &str,
    zone: &str,
    problems: &mut Vec<Problem>,
) -> Option<ProviderPlan> {
    let name = file.name.unwrap_or_else(|| side.to_owned());
    let (name_servers, servers) = (file.name_servers, file.servers);
    let authority = AuthorityFile {
        name: name.clone(),
        servers: Vec::new(),
        query_log: Vec::new(),
        update: file.update,
        powerdns: file.powerdns,
        zone_file: file.zone_file,
        route53: file.route53,
        cloudflare: file.cloudflare,
        command: file.command,
    };
    let authority = zones::authority(authority, &format!("zone[{zone}].{side}"), problems)?;
    Some(ProviderPlan { name, name_servers, servers, authority: named(authority, zone) })
}

/// Puts the zone's name where it is wanted.
fn named(authority: AuthorityPlan, zone: &str) -> AuthorityPlan {
    let words = |words: Vec<String>| words.iter().map(|word| word.replace(ZONE, zone)).collect();
    match authority {
        AuthorityPlan::ZoneFile { file, reload } => AuthorityPlan::ZoneFile {
            file: match file.to_str() {
                Some(text) => PathBuf::from(text.replace(ZONE, zone)),
                None => file,
            },
            reload: words(reload),
        },
        AuthorityPlan::Command { command } => AuthorityPlan::Command { command: words(command) },
        other => other,
    }
}

//! What is measured besides.

use super::side;
use crate::Problem;
use crate::file::{CustomFile, HostFile, MeasureFile, MirrorFile, SessionsFile};
use segue_model::compare::HEADERS;
use segue_model::plan::{
    ApplicationLogPlan, CertificatesPlan, CustomPlan, CustomSource, HostFigures, HostPlan,
    LoginPlan, MeasurePlan, MirrorPlan, ResolversPlan, SecretRef, SessionStore, SessionsPlan,
};
use segue_model::{Sides, UnitName};

pub(super) fn measures(
    unit: &UnitName,
    file: MeasureFile,
    problems: &mut Vec<Problem>,
) -> MeasurePlan {
    MeasurePlan {
        application_logs: file
            .application_log
            .map(|log| ApplicationLogPlan {
                name: unit.clone(),
                files: Sides { source: log.source, target: log.target },
                words: log.words,
            })
            .into_iter()
            .collect(),
        mail_logs: file.mail_log.into_iter().collect(),
        resolvers: file
            .resolvers
            .map(|resolvers| ResolversPlan {
                addresses: resolvers.addresses,
                name: resolvers.name,
                every_s: resolvers.every_s,
                flush: resolvers.flush,
            })
            .into_iter()
            .collect(),
        hosts: file
            .host
            .into_iter()
            .enumerate()
            .filter_map(|(nth, host)| one_host(nth, host, problems))
            .collect(),
        certificates: CertificatesPlan {
            roots: file.certificates.roots,
            also: file.certificates.also.into_iter().map(|one| (one.name, one.address)).collect(),
        },
        sessions: file
            .sessions
            .map(|sessions| self::sessions(unit, sessions, problems))
            .into_iter()
            .collect(),
        mirror: file.mirror.map(mirror),
        custom: file.custom.into_iter().filter_map(|custom| one_custom(custom, problems)).collect(),
    }
}

/// Share of requests that is copied, copies at once, and the longest body, unless the plan says
/// others.
const PERCENT: u8 = 5;
const AT_ONCE: usize = 4;
const BODY: usize = 256 << 10;

fn mirror(file: MirrorFile) -> MirrorPlan {
    MirrorPlan {
        paths: file.paths,
        percent: file.percent.unwrap_or(PERCENT),
        at_once: file.at_once.unwrap_or(AT_ONCE),
        body_bytes_max: file.body_bytes_max.unwrap_or(BODY),
        cookies: file.cookies,
        authorization: file.authorization,
        headers: file.headers.unwrap_or_else(|| HEADERS.map(str::to_owned).to_vec()),
        noise: file.noise,
    }
}

fn sessions(unit: &UnitName, file: SessionsFile, problems: &mut Vec<Problem>) -> SessionsPlan {
    let mut refuse = |key: &str, text: &str, remedy: &str| {
        problems.push(Problem {
            code: "SG0735",
            key: format!("measure.sessions{key}"),
            text: text.to_owned(),
            remedy: remedy.to_owned(),
        });
    };
    let mut store = |key: &str, text: Option<String>| {
        let text = text?;
        let (kind, rest) = text.split_once(':').unwrap_or((&text, ""));
        Some(match (kind, rest) {
            (_, "") => {
                refuse(key, "the place has no kind or no address", STORES);
                return None;
            }
            ("files", folder) => SessionStore::Files(folder.into()),
            ("redis", address) => SessionStore::Redis(address.to_owned()),
            ("memcached", addresses) => SessionStore::Memcached(addresses.to_owned()),
            ("database", table) => SessionStore::Database(table.to_owned()),
            _ => {
                refuse(key, "the kind of place is not known", STORES);
                return None;
            }
        })
    };
    let (source, target) = (store(".source", file.source), store(".target", file.target));
    let login = match (file.cookie, file.path, file.marker) {
        (Some(cookie), Some(path), Some(marker)) if !marker.is_empty() => {
            Some(LoginPlan { cookie: SecretRef(cookie.0), path, marker })
        }
        (None, None, None) => None,
        _ => {
            let remedy = "write all of `cookie`, `path` and `marker`, or none";
            refuse("", "a login is tried with a cookie, a page and a text in it", remedy);
            None
        }
    };
    let config = Sides { source: file.source_config, target: file.target_config };
    SessionsPlan { name: unit.clone(), config, store: Sides { source, target }, login }
}

const STORES: &str =
    "write files:/path, redis:ADDRESS, memcached:ADDRESSES or database:SCHEMA.TABLE";

fn one_host(nth: usize, file: HostFile, problems: &mut Vec<Problem>) -> Option<HostPlan> {
    let figures = match (file.proc, file.command) {
        (Some(folder), None) => HostFigures::Proc(folder),
        (None, Some(words)) => HostFigures::Command(words),
        _ => {
            problems.push(Problem {
                code: "SG0734",
                key: format!("measure.host[#{}]", nth + 1),
                text: "it is not said in one way where the host's figures come from".into(),
                remedy: "write `proc` or `command`, not both".into(),
            });
            return None;
        }
    };
    Some(HostPlan { side: side(file.side), figures })
}

fn one_custom(file: CustomFile, problems: &mut Vec<Problem>) -> Option<CustomPlan> {
    let source = match (file.http, file.command, file.prometheus) {
        (Some(http), None, None) => {
            CustomSource::Http { address: http.address, host: http.host, path: http.path }
        }
        (None, Some(words), None) => CustomSource::Command(words),
        (None, None, Some(server)) => {
            CustomSource::Prometheus { address: server.address, query: server.query }
        }
        _ => {
            problems.push(Problem {
                code: "SG0734",
                key: format!("measure.custom[{}]", file.name),
                text: "it is not said in one way where the value comes from".into(),
                remedy: "write one of `http`, `command` and `prometheus`".into(),
            });
            return None;
        }
    };
    Some(CustomPlan { name: file.name, source, every_ms: file.every_ms })
}

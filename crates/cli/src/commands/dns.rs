//! `segue dns`: looks at zones.

mod diff;
mod drill;
mod moves;
mod planned;
mod queries;

use crate::args::{AuditArgs, DnsCommand, WatchArgs};
use anyhow::Result;
use segue_dns::audit::{Audit, From, Key, Question, ServerView};
use segue_dns::watch::{self, Curve, Seen, Verdict};
use segue_model::plan::SecretRef;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Port of name servers.
const PORT: u16 = 53;
/// Exit code where something is wrong.
const DIFFERENCES: u8 = 3;
/// Rows of one kind that are printed; `--json` has all.
const ROWS_MAX: usize = 40;

/// Reads a server's address, with or without a port.
///
/// # Errors
/// If it is none.
pub(crate) fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
    bare.or_else(|_| text.parse()).map_err(|_| {
        "write the address of a server, such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53"
            .to_owned()
    })
}

/// Runs a command about zones.
///
/// # Errors
/// If the zone cannot be read.
pub(crate) async fn run(what: DnsCommand, dir: &Path, json: bool) -> Result<u8> {
    match what {
        DnsCommand::Audit(args) => audit(*args, json).await,
        DnsCommand::Watch(args) => watch(args, json).await,
        DnsCommand::Diff(args) => diff::run(&args, json).await,
        DnsCommand::Drill(args) => drill::run(args, json).await,
        DnsCommand::Move(args) => moves::run(args, dir, json).await,
        DnsCommand::Queries(args) => queries::run(&args, json).await,
        DnsCommand::Providers => providers(json),
    }
}

/// Shows what can be promised of each way to change records.
fn providers(json: bool) -> Result<u8> {
    let table = segue_dns::capability_table();
    if json {
        println!("{}", serde_json::to_string(&table)?);
        return Ok(0);
    }
    let word = |yes| if yes { "yes" } else { "no" };
    println!(
        "{:<11} {:<12} {:<16} {:<13} {:<12} {:>7}  {:<8} at most",
        "driver",
        "all or none",
        "whole if asked",
        "foreign edit",
        "late change",
        "min TTL",
        "own NS"
    );
    for row in &table {
        println!(
            "{:<11} {:<12} {:<16} {:<13} {:<12} {:>5} s  {:<8} {}",
            row.driver,
            word(row.all_or_none),
            word(row.atomic_when_asked),
            row.swap.to_string(),
            row.late.to_string(),
            row.ttl_min_s,
            word(row.own_ns),
            row.largest,
        );
    }
    println!();
    for row in &table {
        println!("{:<11} {}", row.driver, row.remark);
    }
    Ok(0)
}

async fn audit(args: AuditArgs, json: bool) -> Result<u8> {
    if let Some(plan) = &args.plan {
        return planned::run(&args, plan, json).await;
    }
    shown(&segue_dns::audit::audit(&question(args)).await?, json)
}

/// Prints an audit.
fn shown(audit: &Audit, json: bool) -> Result<u8> {
    if json {
        println!("{}", serde_json::to_string(audit)?);
    } else {
        print(audit);
    }
    Ok(if wrong(audit) { DIFFERENCES } else { 0 })
}

fn question(args: AuditArgs) -> Question {
    let key = args.key.zip(args.key_secret).map(|(name, secret)| Key {
        name,
        algorithm: args.key_algorithm,
        secret: SecretRef(secret),
    });
    let from = match (args.from, args.file, args.ask) {
        (Some(server), ..) => From::Transfer { server, key },
        (None, Some(file), _) => From::File(file),
        // The command line wants one of the three.
        (None, None, server) => From::Questions {
            server: server.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], PORT))),
            names: args.names,
        },
    };
    Question {
        // The command line wants it where there is no plan.
        zone: args.zone.unwrap_or_default(),
        from,
        sources: args.sources,
        ca: args.ca,
        servers: args.servers,
        parents: args.parents,
    }
}

/// Whether something was found that a person has to mend.
fn wrong(audit: &Audit) -> bool {
    let behind = |server: &ServerView| server.serial.is_none() || server.differing > 0;
    !audit.dangling.is_empty()
        || !audit.signing.wrong.is_empty()
        || audit.spf.iter().any(|spf| spf.wrong.is_some())
        || audit.caa.iter().any(|caa| caa.allows_ours == Some(false))
        || audit.servers.iter().any(behind)
        || audit.parent.as_ref().is_some_and(|parent| !parent.findings.is_empty())
}

fn print(audit: &Audit) {
    let whole = if audit.whole { "" } else { ", not the whole zone" };
    let provider = audit.provider.as_ref().map_or(String::new(), |name| format!(" at {name}"));
    println!("zone {}{provider} by {}{whole}", audit.zone, audit.read);
    println!(
        "serial {}, {} records; that something does not exist is kept for {} s",
        audit.serial, audit.records, audit.negative_ttl_s
    );
    section(
        "TTLs",
        audit.ttls.iter().map(|row| {
            let more = if row.sets > row.examples.len() { ", ..." } else { "" };
            let names = row.examples.join(", ");
            format!("{:<10} {:>8} s {:>7} sets   {names}{more}", row.rtype, row.ttl_s, row.sets)
        }),
    );
    section(
        "leads to the source",
        audit.pointers.iter().map(|pointer| {
            let (name, rtype, data) = (&pointer.name, &pointer.rtype, &pointer.data);
            format!("{name} {rtype} {data}: {}", pointer.how)
        }),
    );
    section(
        "leads nowhere",
        audit.dangling.iter().map(|record| {
            format!("{} {} {}: {}", record.name, record.rtype, record.data, record.why)
        }),
    );
    section("authoritative servers", audit.servers.iter().map(server_line));
    section(
        "parent zone",
        audit.parent.iter().flat_map(|parent| {
            let names = parent.names.join(", ");
            let head = format!("{} names {names} (TTL {} s)", parent.address, parent.ttl_s);
            std::iter::once(head).chain(parent.findings.iter().map(|found| format!("! {found}")))
        }),
    );
    section("DNSSEC", signing_lines(audit).into_iter());
    section(
        "SPF",
        audit.spf.iter().map(|spf| {
            let uncounted = match spf.uncounted.is_empty() {
                true => String::new(),
                false => format!(", and those of {}", spf.uncounted.join(", ")),
            };
            let wrong = spf.wrong.as_ref().map_or(String::new(), |wrong| format!("; ! {wrong}"));
            format!("{}: {} questions{uncounted}{wrong}", spf.name, spf.lookups)
        }),
    );
    section(
        "CAA",
        audit.caa.iter().map(|caa| {
            let list = |names: &[String]| match names.is_empty() {
                true => "nobody".to_owned(),
                false => names.join(", "),
            };
            let ours =
                if caa.allows_ours == Some(false) { "; ! not the authority in use" } else { "" };
            let (issuers, wild) = (list(&caa.issuers), list(&caa.wildcard_issuers));
            format!("{}: issue {issuers}; wildcards {wild}{ours}", caa.name)
        }),
    );
    section("legal, and surely not meant", audit.notes.iter().cloned());
    section("not known", audit.unknown.iter().cloned());
}

fn section(title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    println!("\n{title}");
    for line in lines.iter().take(ROWS_MAX) {
        println!("  {line}");
    }
    if lines.len() > ROWS_MAX {
        println!("  and {} more: `--json` shows all", lines.len() - ROWS_MAX);
    }
}

fn server_line(server: &ServerView) -> String {
    let serial = server.serial.map_or("no answer".to_owned(), |serial| format!("serial {serial}"));
    let found: String = server.findings.iter().map(|found| format!("\n    ! {found}")).collect();
    let ServerView { address, compared, differing, .. } = server;
    format!("{address}: {serial}, {differing} of {compared} sets differ{found}")
}

fn signing_lines(audit: &Audit) -> Vec<String> {
    let signing = &audit.signing;
    let mut lines = Vec::new();
    if signing.signed() {
        for key in &signing.keys {
            let kind = if key.entry_point { "entry point" } else { "zone key" };
            lines.push(format!("key {} of algorithm {} ({kind})", key.tag, key.algorithm));
        }
        let denial = signing.denial.as_deref().unwrap_or("no denial seen");
        lines.push(format!("{} signatures, {denial}", signing.signatures));
        if let Some(expiry) = signing.first_expiry_s {
            lines.push(format!("first signature ends {}", crate::output::date_time(expiry * 1000)));
        }
    } else {
        lines.push("not signed".to_owned());
    }
    if let Some(ds) = &signing.ds {
        let tags: Vec<String> = ds.iter().map(|ds| ds.tag.to_string()).collect();
        let tags = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
        lines.push(format!("DS at the parent: {tags}"));
    }
    lines.extend(signing.wrong.iter().map(|wrong| format!("! {wrong}")));
    lines
}

async fn watch(args: WatchArgs, json: bool) -> Result<u8> {
    let question = watch::Question {
        name: args.name,
        rtype: args.rtype,
        former: args.former,
        former_ttl_s: args.former_ttl,
        wanted: args.wanted,
        published_at_ms: args.published.and_then(|at| u64::try_from(at.as_millisecond()).ok()),
        resolvers: args.resolvers,
        every: Duration::from_secs(args.every),
        time: Duration::from_secs(args.time),
    };
    let curve = watch::watch(&question, |seen, curve| tell(seen, curve, json)).await?;
    if json {
        let resolvers: serde_json::Map<String, serde_json::Value> = curve
            .last()
            .iter()
            .map(|(resolver, verdict)| Ok((resolver.to_string(), serde_json::to_value(verdict)?)))
            .collect::<Result<_>>()?;
        let end = serde_json::json!({
            "everywhere": curve.is_everywhere(),
            "reached": curve.reached(),
            "resolvers": resolvers,
        });
        println!("{end}");
    } else {
        show(&curve);
    }
    Ok(if curve.is_everywhere() { 0 } else { DIFFERENCES })
}

/// Tells one verdict as it comes.
pub(crate) fn tell(seen: &Seen, curve: &Curve, json: bool) {
    if json {
        let line = serde_json::json!({
            "resolver": seen.resolver,
            "after_ms": seen.after_ms,
            "seen": seen.verdict,
            "eta_s": curve.eta_s(),
        });
        println!("{line}");
        return;
    }
    let eta = curve.eta_s().map_or("unknown".to_owned(), |eta| format!("{eta} s"));
    let after = seen.after_ms as f64 / 1000.0;
    eprintln!("{after:9.1} s  {:<24} {}; all in: {eta}", seen.resolver, detail(&seen.verdict));
}

pub(crate) fn detail(verdict: &Verdict) -> String {
    let word = verdict.word();
    match verdict {
        Verdict::New => word.to_owned(),
        Verdict::WithinTtl { left_s } => format!("{word}, {left_s} s left"),
        Verdict::Overstaying { by_s } => format!("{word} for {by_s} s"),
        Verdict::Other { data } => format!("{word}: {data}"),
        Verdict::Failing { why } => format!("{word}: {why}"),
    }
}

fn show(curve: &Curve) {
    let there = curve.last().values().filter(|verdict| verdict.is_new()).count();
    println!("{there} of {} resolvers have the new data", curve.last().len());
    for reached in curve.reached() {
        let after = reached
            .after_ms
            .map_or("not yet".to_owned(), |ms| format!("after {:.1} s", ms as f64 / 1000.0));
        println!("  {:>2} %  {after}", reached.percent);
    }
    for (resolver, verdict) in curve.last().iter().filter(|(_, verdict)| !verdict.is_new()) {
        println!("  {resolver}: {}", detail(verdict));
    }
}

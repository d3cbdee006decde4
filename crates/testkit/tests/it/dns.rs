//! `segue dns` as a person uses it, on a world's real name servers.

use crate::{bin, small_world};
use segue_testkit::world::World;
use serde_json::Value;
use std::process::Command;

fn dns(args: &[String]) -> (i32, String, String) {
    let done = Command::new(bin().join("segue")).arg("dns").args(args).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The flags of an audit by transfer, with the world's own key and servers.
fn transfer(world: &World) -> Vec<String> {
    let zone = &world.description().zone;
    let secret = format!("file:{}", zone.key_secret_file.display());
    let from = zone.primary.to_string();
    let mut args = words(&["audit", &zone.name, "--from", &from, "--key", &zone.key_name]);
    args.extend(words(&["--key-algorithm", &zone.key_algorithm, "--key-secret", &secret]));
    let source = world.description().site.source.ip().to_string();
    args.extend(words(&["--source", &source]));
    for server in &zone.servers {
        args.extend(words(&["--server", &server.to_string()]));
    }
    args
}

#[test]
fn an_audit_shows_what_leads_to_the_source_and_leaks_no_secret() {
    let (world, dir) = small_world();
    let zone = &world.description().zone;
    let args = transfer(&world);
    let (exit, text, errors) = dns(&args);
    assert_eq!(exit, 0, "{text}{errors}");
    for wanted in ["leads to the source", "shop.example.test A", "0 of", "not signed", "not known"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let secret = std::fs::read_to_string(&zone.key_secret_file).unwrap();
    assert!(!text.contains(secret.trim()) && !errors.contains(secret.trim()));

    let mut json = args.clone();
    json.push("--json".into());
    let (_, json, _) = dns(&json);
    let audit: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(audit["servers"].as_array().unwrap().len(), zone.servers.len());
    assert!(audit["pointers"].as_array().unwrap().len() >= 2, "{audit:#}");

    // The same zone as a file, with a record that leads nowhere: exit 3 and the record.
    let lines = world.dump_zone().unwrap().join("\n");
    let file = dir.path().join("audited.zone");
    std::fs::write(&file, format!("{lines}\nlost.example.test. 60 IN CNAME gone.example.test.\n"))
        .unwrap();
    let file = file.display().to_string();
    let primary = zone.primary.to_string();
    let args = words(&["audit", &zone.name, "--file", &file, "--server", &primary]);
    let (exit, text, _) = dns(&args);
    assert_eq!(exit, 3, "{text}");
    assert!(text.contains("lost.example.test CNAME") && text.contains("does not exist"), "{text}");
}

#[test]
fn an_audit_that_cannot_be_made_says_what_to_do() {
    let (world, dir) = small_world();
    let zone = &world.description().zone;
    let from = zone.primary.to_string();
    let (exit, text, errors) = dns(&words(&["audit", &zone.name, "--from", &from]));
    assert_eq!((exit, text.as_str()), (1, ""), "{errors}");
    assert!(errors.contains("SG0307") && errors.contains("allow-transfer"), "{errors}");
    let file = dir.path().join("broken.zone");
    std::fs::write(&file, "$ORIGIN example.test.\n@ IN SOA ns host 1 1 1 1 1\nwww IN FOO bar\n")
        .unwrap();
    let file = file.display().to_string();
    let (exit, _, errors) = dns(&words(&["audit", &zone.name, "--file", &file]));
    assert_eq!(exit, 1);
    assert!(errors.contains("SG0316") && errors.contains("broken.zone:3: `FOO`"), "{errors}");
    let (exit, _, errors) = dns(&words(&["audit", &zone.name]));
    assert_eq!(exit, 2, "{errors}");
    let (exit, _, errors) = dns(&words(&["audit", &zone.name, "--from", "nowhere"]));
    assert_eq!(exit, 2);
    assert!(errors.contains("192.0.2.53"), "{errors}");
}

/// Writes a plan whose unit owns the shop's address in the world's zone.
fn plan_file(world: &World, dir: &std::path::Path) -> String {
    let file = dir.join("zones.toml");
    let zone = &world.description().zone;
    let servers: Vec<String> = zone.servers.iter().map(|server| format!("\"{server}\"")).collect();
    let text = format!(
        "name = \"zones\"\nunit = {{ name = \"shop\" }}\n\n[[zone]]\nzone = \"{}\"\nprimary = \
         \"{}\"\nservers = [{}]\nkey = {{ name = \"{}\", algorithm = \"{}\", secret = \"file:{}\" }}\n\
         \n[[zone.record]]\nname = \"shop.{}\"\ntype = \"A\"\nsource = [\"{}\"]\ntarget = \
         [\"{}\"]\n",
        zone.name,
        zone.primary,
        servers.join(", "),
        zone.key_name,
        zone.key_algorithm,
        zone.key_secret_file.display(),
        zone.name,
        world.description().site.source.ip(),
        world.description().site.target.ip(),
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_diff_shows_each_record_and_a_drill_leaves_nothing_behind() {
    let (world, dir) = small_world();
    let plan = plan_file(&world, dir.path());
    let before = world.dump_zone().unwrap();
    let (exit, text, errors) = dns(&words(&["diff", &plan]));
    assert_eq!(exit, 0, "{text}{errors}");
    let source = world.description().site.source.ip();
    let target = world.description().site.target.ip();
    for wanted in [format!("IN A {source}"), format!("IN A {target}")] {
        assert!(text.contains(&wanted), "{wanted}: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours into a pipe: {text:?}");
    let told = text.lines().filter(|line| line.contains("warning [")).count();
    let to_do = text.lines().filter(|line| line.starts_with("    to do: ")).count();
    assert!(told > 0 && to_do == told, "{told} warnings, {to_do} remedies: {text}");
    let (_, json, _) = dns(&words(&["diff", &plan, "--json"]));
    let diff: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(diff["steps"][1]["step"], "publish", "{diff:#}");

    let server = world.description().zone.servers[0].to_string();
    let (exit, json, errors) =
        dns(&words(&["drill", &plan, "--ttl", "1", "--resolver", &server, "--json"]));
    assert_eq!(exit, 0, "{json}{errors}");
    let drill: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    let steps = drill["providers"][0]["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, ["make", "change", "take away"], "{drill:#}");
    for step in steps {
        assert_eq!(step["servers"].as_array().unwrap().len(), 2, "{step:#}");
    }
    assert!(drill["reached"][2]["after_ms"].is_u64(), "{drill:#}");
    let left = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| !line.contains(" SOA ")).collect()
    };
    assert_eq!(left(world.dump_zone().unwrap()), left(before));
}

/// The plan says how each provider is read, which servers answer, and what will be left.
#[test]
fn an_audit_by_a_plan_needs_no_flag_and_leaks_no_secret() {
    let (world, dir) = small_world();
    let plan = plan_file(&world, dir.path());
    let zone = &world.description().zone;
    let secret = std::fs::read_to_string(&zone.key_secret_file).unwrap();
    let (exit, text, errors) = dns(&words(&["audit", "--plan", &plan]));
    assert_eq!(exit, 0, "{text}{errors}");
    for wanted in ["by `update` at", "leads to the source", "shop.example.test A"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains(secret.trim()) && !errors.contains(secret.trim()));
    let (exit, json, _) = dns(&words(&["audit", "--plan", &plan, "--zone", &zone.name, "--json"]));
    assert_eq!(exit, 0);
    let audit: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(audit["zone"], zone.name.as_str());
    assert_eq!(audit["servers"].as_array().unwrap().len(), zone.servers.len());
    for unknown in [["--zone", "other.test"], ["--provider", "nobody"]] {
        let (exit, _, errors) = dns(&words(&["audit", "--plan", &plan, unknown[0], unknown[1]]));
        assert_eq!(exit, 1);
        assert!(errors.contains(&format!("it has: {}", zone.name)), "{errors}");
    }
    let (exit, _, errors) = dns(&words(&["audit", "--plan", &plan, "--file", "x"]));
    assert_eq!(exit, 2, "{errors}");
}

#[test]
fn the_ways_to_change_records_are_told_with_what_they_promise() {
    let (exit, text, _) = dns(&words(&["providers"]));
    assert_eq!(exit, 0);
    for way in ["update", "powerdns", "zone_file", "route53", "cloudflare", "command"] {
        assert!(text.lines().any(|line| line.starts_with(way)), "{way}: {text}");
    }
}

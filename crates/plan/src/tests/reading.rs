use super::example;
use crate::{PlanError, parse, template};
use segue_model::gate::GateSpec;
use segue_model::plan::{
    BackendCheck, PortKind, PortPlan, SecretRef, SitePlan, TlsPlan, TlsVerify,
};
use segue_model::{Fault, Finding};

/// Takes the `#` away from every setting of the template that is switched off.
fn uncommented() -> String {
    template()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn message(text: &str) -> String {
    parse(text, "shop.toml").unwrap_err().to_string()
}

#[test]
fn template_shows_every_default_as_it_is() {
    let spelt_out = uncommented();
    assert!(spelt_out.contains("\n[[trigger]]\n") && spelt_out.contains("\nlease_ms = 2000\n"));
    assert_eq!(parse(&spelt_out, "spelt out").unwrap(), example());
}

#[test]
fn template_names_every_key_of_the_policy() {
    let schema = crate::schema();
    let keys = schema["$defs"]["PolicyFile"]["properties"].as_object().unwrap();
    assert!(keys.len() > 10);
    // Without a default there is no line to show it.
    assert!(template().contains("`hold_page`"));
    for key in keys.keys().filter(|key| !["split", "hold_page"].contains(&key.as_str())) {
        assert!(template().contains(&format!("\n#{key} = ")), "{key} is not in the template");
    }
}

#[test]
fn the_template_shows_the_default_split() {
    let (before, split) = template().split_once("# [policy.split]\n").unwrap();
    let (split, _) = split.split_once("\n\n").unwrap();
    let split: Vec<&str> = split.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
    let schema = crate::schema();
    let keys = schema["$defs"]["SplitFile"]["properties"].as_object().unwrap();
    assert_eq!(split.len(), keys.len(), "every key");
    let policy = before.replace("#harmless_paths = []", "harmless_paths = [\"/static/\"]");
    let said = format!("{policy}\n[policy.split]\n{}", split.join("\n"));
    let silent = format!("{policy}\n[policy.split]\n");
    for text in [said, silent] {
        let plan = parse(&text, "split").unwrap();
        assert_eq!(plan.policy.split, Some(crate::defaults::split()));
    }
}

/// Puts ports in place of those of the template's front at the source.
fn at_source(ports: &str) -> String {
    let short = "listen = \"192.0.2.10:80\"\ntake_over = true\n";
    let text = template();
    assert!(text.contains(short));
    text.replace(short, ports)
}

#[test]
fn certificates_are_valid_while_the_unit_is_watched_and_kept_warm() {
    let tls = "port = [{ listen = \"192.0.2.10:80\", take_over = true }, \
               { kind = \"tls\", listen = \"192.0.2.10:443\", take_over = true, \
               certificates = [\"/etc/letsencrypt/live\"] }]\n";
    let days = |policy: &str, gate: &str| {
        let text = at_source(tls).replace("[policy]\n", &format!("[policy]\n{policy}"));
        let policy = parse(&(text + gate), "shop.toml").unwrap().policy;
        let gate = policy.gates.iter().find(|gate| gate.name == "certificates").unwrap();
        (gate.bound.min, policy.certificate_days())
    };
    assert_eq!(days("", ""), (Some(41.0), 41), "3 and 7 days, a month and a day");
    assert_eq!(days("straggler_days = 90\n", ""), (Some(124.0), 124));
    let stable = "stable_for_s = 90000\nstraggler_days = 1\n";
    assert_eq!(days(stable, ""), (Some(34.0), 34));
    let own = "\n[[gate]]\nname = \"certificates\"\nmin = 20\n";
    assert_eq!(days("", own).0, Some(20.0));
    let every = crate::defaults::every_gate();
    let known = every.iter().find(|gate| gate.name == "certificates").unwrap();
    assert_eq!(known.bound.min, Some(crate::defaults::policy().certificate_days() as f64));
}

#[test]
fn a_front_has_one_port_in_short_or_a_list_of_ports() {
    let only = "port = [{ listen = \"192.0.2.10:80\", take_over = true }]\n";
    assert_eq!(parse(&at_source(only), "one in a list").unwrap(), example());
    let two = "port = [{ listen = \"192.0.2.10:80\", take_over = true }, \
               { kind = \"http\", listen = \"192.0.2.10:8080\" }]\n";
    let front = &parse(&at_source(two), "two").unwrap().unit.fronts[0];
    let second = PortPlan::http("192.0.2.10:8080".parse().unwrap(), false);
    assert_eq!(front.ports, [example().unit.fronts[0].ports[0].clone(), second]);
    let joined = "port = [{ listen = \"192.0.2.10:80\", join = true }]\n";
    let text = at_source(joined)
        .replace("egress = \"192.0.2.11\"\n", "")
        .replace("\"192.0.2.10:80\"\n", "\"192.0.2.10:8080\"\n");
    let port = &parse(&text, "joined").unwrap().unit.fronts[0].ports[0];
    assert!(port.join && !port.is_live());
    let both = "}, { listen = \"192.0.2.10:443\", kind = \"tls\", join = true, \
                certificates = [\"/etc/x\"], strangers = \"127.0.0.1:8443\" }]\n";
    let text = text.replace(joined, &joined.replace("}]\n", both));
    let port = &parse(&text, "strangers").unwrap().unit.fronts[0].ports[1];
    assert_eq!(port.strangers(), "127.0.0.1:8443".parse().ok());
    let tls = "port = [{ listen = \"192.0.2.10:80\", take_over = true }, \
               { kind = \"tls\", listen = \"192.0.2.10:443\", take_over = true, \
               certificates = [\"/etc/letsencrypt/live\"] }]\n";
    let front = &parse(&at_source(tls), "tls").unwrap().unit.fronts[0];
    let certificates = vec!["/etc/letsencrypt/live".into()];
    let plan = TlsPlan { certificates, default_certificate: None, http2: true, strangers: None };
    assert_eq!((front.ports[1].kind, &front.ports[1].tls), (PortKind::Tls, &Some(plan.clone())));
    // A plan that was approved before there was HTTP/2 keeps its hash.
    assert!(!serde_json::to_string(&plan).unwrap().contains("http2"));
    let off = tls.replace("[\"/etc/letsencrypt/live\"]", "[\"/etc/x\"], http2 = false");
    let front = &parse(&at_source(&off), "off").unwrap().unit.fronts[0];
    let off = front.ports[1].tls.clone().unwrap();
    assert!(!off.http2);
    let text = serde_json::to_string(&off).unwrap();
    assert_eq!(serde_json::from_str::<TlsPlan>(&text).unwrap(), off);
    for wrong in [
        "port = [{ listen = \"192.0.2.10:443\", kind = \"tls\" }]\n",
        "port = [{ listen = \"192.0.2.10:443\", kind = \"tls\", default_certificate = \"a\" }]\n",
        "port = [{ listen = \"192.0.2.10:80\", certificates = [\"/etc/x\"] }]\n",
        "port = [{ listen = \"192.0.2.10:80\", default_certificate = \"a\" }]\n",
        "port = [{ listen = \"192.0.2.10:80\", http2 = true }]\n",
        "port = [{ listen = \"192.0.2.10:80\", strangers = \"127.0.0.1:8443\" }]\n",
        "port = [{ listen = \"192.0.2.10:80\" }]\nlisten = \"192.0.2.10:81\"\n",
        "port = [{ listen = \"192.0.2.10:80\" }]\ntake_over = true\n",
        "port = []\n",
        "take_over = true\n",
    ] {
        let message = message(&at_source(wrong));
        assert!(message.contains("SG0749") && message.contains("front[source]"), "{message}");
    }
    let with = |trusted: &str| at_source(&format!("{only}trusted = [{trusted}]\n"));
    let trusting = parse(&with("\"198.51.100.0/24\", \"::1\""), "trusting").unwrap();
    let trusted = &trusting.unit.fronts[0].trusted;
    assert_eq!(format!("{} {}", trusted[0], trusted[1]), "198.51.100.0/24 ::1/128");
    let nonsense = message(&with("\"198.51.100.9/24\""));
    assert!(nonsense.contains("SG0770") && nonsense.contains("bits behind"), "{nonsense}");
    let unknown = at_source("port = [{ listen = \"192.0.2.10:80\", kind = \"gopher\" }]\n");
    assert!(message(&unknown).contains("unknown variant"), "{}", message(&unknown));
}

#[test]
fn says_where_a_key_is_unknown() {
    let text = template().replace("take_over = true", "takeover = true");
    let line = text.lines().position(|line| line == "takeover = true").unwrap() + 1;
    let message = message(&text);
    assert!(message.contains(&format!("line {line}, column 1")), "{message}");
    assert!(message.contains("unknown field `takeover`"), "{message}");
}

#[test]
fn refuses_unknown_keys_in_every_table() {
    let tables = template().lines().filter(|line| line.starts_with('[')).count();
    assert!(tables > 12);
    for nth in 0..tables {
        let mut seen = 0;
        let mut text = String::new();
        for line in template().lines() {
            text += line;
            text.push('\n');
            if line.starts_with('[') {
                if seen == nth {
                    text += "surprise = 1\n";
                }
                seen += 1;
            }
        }
        assert!(message(&text).contains("unknown field `surprise`"), "table {nth}");
    }
}

#[test]
fn names_the_measures_when_one_is_unknown() {
    let text = format!("{}\n[[trigger]]\nname = \"x\"\nwhat = \"speed\"\nmax = 1", template());
    let message = message(&text);
    assert!(message.contains("`speed`") && message.contains("`response_p95_ms`"), "{message}");
}

#[test]
fn refuses_a_side_where_none_belongs_and_its_absence_where_one_does() {
    for (trigger, remedy) in [
        ("what = \"response_p95_ms\"\nmax = 1", "add `side"),
        ("what = \"probe_failed\"\nside = \"source\"\nmax = 1", "take `side` away"),
    ] {
        let text = format!("{}\n[[trigger]]\nname = \"x\"\n{trigger}", template());
        let message = message(&text);
        assert!(message.contains("[SG0727] `trigger[x].side`"), "{message}");
        assert!(message.contains(remedy), "{message}");
    }
}

#[test]
fn never_repeats_what_may_be_a_secret() {
    let place = "password = \"file:/etc/segue/source.password\"";
    let key = "key = { name = \"segue-key\", algorithm = \"hmac-sha256\", \
               secret = \"file:/etc/segue/tsig.secret\" }";
    assert!(template().contains(place) && template().contains(key));
    for (from, to) in [
        (place, "password = \"hunter2\""),
        (place, "password = hunter2"),
        (place, "password = \"hunter2"),
        (place, "password = [\"hunter2\"]"),
        (place, "password = { plain = \"hunter2\" }"),
        (place, "pasword = \"hunter2\""),
        (place, "password = \"file:hunter2\""),
        (key, "key = \"hunter2\""),
        (key, "key = { name = \"k\", algoritm = \"x\", secret = \"hunter2\" }"),
        (key, "key = { name = \"k\", secret = \"hunter2\" }"),
    ] {
        let error = parse(&template().replace(from, to), "shop.toml").unwrap_err();
        let fault = Fault::from(error.clone());
        for text in [error.to_string(), format!("{error:?}"), format!("{fault:?}")] {
            assert!(!text.contains("hunter2"), "{to}: {text}");
        }
    }
    let error = parse(&template().replace(place, "password = 4711"), "shop.toml").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
    assert!(error.to_string().contains("the place of the secret"), "{error}");
}

#[test]
fn gives_every_problem_at_once() {
    let text = template()
        .replace("hosts = [\"www.example.test\", \"example.test\"]", "hosts = []")
        .replace("logins = [\"example\"]", "logins = []");
    let PlanError::Refused { problems, .. } = parse(&text, "shop.toml").unwrap_err() else {
        panic!("it was read");
    };
    assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), ["SG0704", "SG0720"]);
    let finding = Finding::from(problems[1].clone());
    assert!(finding.text.contains("database.logins") && !finding.remedy.is_empty());
}

#[test]
fn keeps_secrets_as_places() {
    let database = example().unit.databases.remove(0);
    assert_eq!(
        database.servers.source.password,
        SecretRef("file:/etc/segue/source.password".into())
    );
}

#[test]
fn drops_defaults_that_nothing_measures() {
    let end = template().find("# The database.").unwrap();
    let plan = parse(&template()[..end], "small.toml").unwrap();
    let names: Vec<_> = plan.policy.triggers.iter().map(|t| t.name.as_str()).collect();
    for there in ["target_failing", "target_slow", "target_down", "traffic_drop"] {
        assert!(names.contains(&there), "{names:?}");
    }
    for never in ["probe_failing", "data_unreadable", "lag", "cpu_high", "mailbox_delta"] {
        assert!(!names.contains(&never), "{names:?}");
    }
    let gates: Vec<_> = plan.policy.gates.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(gates, ["fronts_ready", "target_up", "all_traffic"]);
}

#[test]
fn every_default_is_right_with_everything_measured() {
    let text = template().replace(
        "[backend.target]\n",
        "[backend.target]\naccess_log = \"/var/log/nginx/access.log\"\n",
    );
    // The examples of further measures, with their comment signs taken away.
    let text: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") && !rest.contains('`') => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let text = text.replace(
        "[measure.resolvers]",
        "[measure]\nmail_log = \"/var/log/mail.log\"\n[measure.resolvers]",
    );
    // The split among them wants something to split.
    let text = text.replace("#harmless_paths = []", "harmless_paths = [\"/static/\"]");
    let plan = parse(&text, "whole.toml").unwrap();
    let names: Vec<_> = plan.policy.triggers.iter().map(|t| t.name.as_str()).collect();
    for name in ["app_errors", "cpu_high", "ram_high", "bounces", "canary_lost", "resolvers_late"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(plan.policy.gates.iter().any(|gate| gate.name == "canary"));
    assert_eq!(plan.unit.measures.custom.len(), 1);
    let mirror = plan.unit.measures.mirror.unwrap();
    assert_eq!((mirror.percent, mirror.at_once, mirror.body_bytes_max), (5, 4, 256 << 10));
    assert_eq!((mirror.noise, mirror.headers.len()), (vec!["csrf_token".to_owned()], 5));
}

fn gates(lines: &str) -> Result<Vec<GateSpec>, PlanError> {
    let text = format!("{}\n{lines}", template());
    Ok(parse(&text, "shop.toml")?.policy.gates.clone())
}

#[test]
fn a_gate_changes_the_default_of_its_name_or_is_asked_besides() {
    let base = example().policy.gates.clone();
    let of = |gates: &[GateSpec], name: &str| -> Option<GateSpec> {
        gates.iter().find(|gate| gate.name == name).cloned()
    };
    let changed = gates("[[gate]]\nname = \"fence_lag\"\nmax = 80").unwrap();
    let (was, is) = (of(&base, "fence_lag").unwrap(), of(&changed, "fence_lag").unwrap());
    assert_eq!((was.bound.max, is.bound.max), (Some(100.0), Some(80.0)));
    assert_eq!((is.before, is.failback, changed.len()), (was.before, true, base.len()));

    let off = gates("[[gate]]\nname = \"counts\"\noff = true").unwrap();
    assert_eq!((of(&off, "counts"), off.len()), (None, base.len() - 1));

    let more = "[[measure.custom]]\nname = \"queue\"\ncommand = [\"/bin/queue\"]\n[[gate]]\n\
                name = \"queue_short\"\nwhat = \"custom\"\nof = \"queue\"\nmax = 5";
    let queue = of(&gates(more).unwrap(), "queue_short").unwrap();
    assert_eq!(queue.bound.from.as_deref(), Some("custom:queue"));
}

#[test]
fn refuses_gates_that_say_nothing_or_two_things() {
    for (lines, says) in [
        ("[[gate]]\nname = \"mine\"\nmax = 1", "add `what`"),
        ("[[gate]]\nname = \"mine\"\noff = true", "no default gate"),
        ("[[gate]]\nname = \"mine\"\nwhat = \"custom\"\nmax = 1", "add `of`"),
        ("[[gate]]\nname = \"room\"\nof = \"x\"\nmin = 2", "take `of` away"),
        ("[[gate]]\nname = \"canary\"", "access log of the target"),
    ] {
        let message = gates(lines).unwrap_err().to_string();
        assert!(message.contains("[SG0731]") && message.contains(says), "{lines}: {message}");
    }
    let text = template().replace("#files_lag_max_ms = 60000", "files_lag_max_ms = 5000");
    let alone = parse(&text, "shop.toml").unwrap().policy.gates.clone();
    assert!(alone.iter().any(|gate| gate.bound.max == Some(5000.0)));
    let both = format!("{text}\n[[gate]]\nname = \"files_lag\"\nmax = 7");
    assert!(message(&both).contains("both give the number"), "{}", message(&both));
}

#[test]
fn takes_no_trigger_for_an_empty_list() {
    let text = format!("trigger = []\n{}", template());
    assert!(parse(&text, "quiet.toml").unwrap().policy.triggers.is_empty());
}

#[test]
fn a_side_has_one_web_server_or_a_list_of_them() {
    let of = |address: &str| template().replace("\"203.0.113.20:8080\"", address);
    let one = parse(&of("[\"203.0.113.20:8080\"]"), "one").unwrap();
    assert_eq!(one, example());
    let text = serde_json::to_string(&one.unit.sites[0]).unwrap();
    assert!(!text.contains("beside") && !text.contains("check") && !text.contains("timeout"));
    let two = of("[\"203.0.113.20:8080\", \"203.0.113.21:8080\"]\ncheck = \"path\"");
    let site = &parse(&two, "two").unwrap().unit.sites[0];
    assert_eq!(site.backends.target.addresses().count(), 2);
    assert_eq!(site.backends.target.check, BackendCheck::Path);
    let text = serde_json::to_string(site).unwrap();
    assert_eq!(serde_json::from_str::<SitePlan>(&text).unwrap(), *site);
    for wrong in ["[]", "\"203.0.113.20:8080\"\ncheck = \"path\""] {
        let message = message(&of(wrong));
        assert!(message.contains("SG0750") && message.contains("backend.target"), "{message}");
    }
}

#[test]
fn a_web_server_is_reached_over_tls_by_roots_pins_or_unverified() {
    let of = |tls: &str| {
        let with = format!("\"203.0.113.20:8443\"\n{tls}");
        template().replace("\"203.0.113.20:8080\"", &with)
    };
    let probe = "probe_address = \"127.0.0.1:8080\"\n";
    let pin = "ab:".repeat(31) + "cd";
    for (tls, verify) in [
        ("tls = {}", TlsVerify::Roots { file: None }),
        ("tls = { roots = \"/etc/r.pem\" }", TlsVerify::Roots { file: Some("/etc/r.pem".into()) }),
        (&format!("tls = {{ pins = [\"{pin}\"] }}"), TlsVerify::Pins { sha256: vec![pin.clone()] }),
        ("tls = { verify = false, name = \"a.test\" }", TlsVerify::Off),
    ] {
        let plan = parse(&of(&format!("{probe}{tls}")), "tls").unwrap();
        let backend = &plan.unit.sites[0].backends.target;
        assert_eq!(backend.tls.as_ref().unwrap().verify, verify);
        assert_eq!(backend.asked_at(), "127.0.0.1:8080".parse().unwrap());
        let text = serde_json::to_string(&plan.unit.sites[0]).unwrap();
        assert_eq!(serde_json::from_str::<SitePlan>(&text).unwrap(), plan.unit.sites[0]);
    }
    for wrong in [
        "tls = {}".to_owned(),
        probe.to_owned(),
        format!("{probe}tls = {{ pins = [\"abcd\"] }}"),
        format!("{probe}tls = {{ roots = \"r.pem\" }}"),
        format!("{probe}tls = {{ roots = \"/r.pem\", verify = false }}"),
        format!("{probe}tls = {{ pins = [\"{pin}\"], verify = false }}"),
    ] {
        let message = message(&of(&wrong));
        assert!(message.contains("SG0752") && message.contains("backend.target"), "{message}");
    }
}

/// The fronts of `docs/panels.md` are a plan's, with the rest of the template.
#[test]
fn the_example_of_panel_ports_is_a_plan() {
    let manual = include_str!("../../../../docs/panels.md");
    let fronts =
        manual.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (before, rest) = template().split_once("[[front]]").unwrap();
    let (_, after) = rest.split_once("# The database.").unwrap();
    let plan = crate::parse(&format!("{before}{fronts}\n#{after}"), "panels.toml").unwrap();
    let ports: Vec<_> = plan.unit.fronts[0].tcp().collect();
    assert_eq!(ports.len(), 3);
    for (port, tcp) in ports {
        assert!(tcp.by_name && port.take_over, "{port:?}");
        let number = port.listen.port();
        assert_eq!((tcp.backends.source.port(), tcp.backends.target.port()), (number, number));
    }
}

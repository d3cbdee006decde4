use super::example;
use crate::{PlanError, parse, template};
use segue_model::plan::SecretRef;
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
    for key in keys.keys() {
        assert!(template().contains(&format!("\n#{key} = ")), "{key} is not in the template");
    }
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
    let database = example().unit.database.unwrap();
    assert_eq!(
        database.servers.source.password,
        SecretRef("file:/etc/segue/source.password".into())
    );
}

#[test]
fn drops_default_triggers_that_nothing_measures() {
    let end = template().find("# The database.").unwrap();
    let plan = parse(&template()[..end], "small.toml").unwrap();
    let names: Vec<_> = plan.policy.triggers.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["target_failing", "target_slow", "target_down"]);
}

#[test]
fn takes_no_trigger_for_an_empty_list() {
    let text = format!("trigger = []\n{}", template());
    assert!(parse(&text, "quiet.toml").unwrap().policy.triggers.is_empty());
}

use super::refused;
use segue_model::plan::{HaproxyPlan, MirrorPlan, Plan, ProxyPlan};

#[test]
fn refuses_names_and_hosts() {
    refused(&[
        ("empty plan name", |p| p.name.clear(), &["SG0703 name"]),
        ("slash", |p| p.name = "a/b".into(), &["SG0703 name"]),
        ("dots", |p| p.name = "..".into(), &["SG0703 name"]),
        ("long", |p| p.name = "a".repeat(65), &["SG0703 name"]),
        ("empty unit name", |p| p.unit.name = "".into(), &["SG0703 unit.name"]),
        ("space", |p| p.unit.name = "my shop".into(), &["SG0703 unit.name"]),
        ("no host", |p| p.unit.sites[0].hosts.clear(), &["SG0704 unit.hosts"]),
        ("dot", |p| p.unit.sites[0].hosts[0] = "a.test.".into(), &["SG0704 unit.hosts[#1]"]),
        ("capitals", |p| p.unit.sites[0].hosts[1] = "A.test".into(), &["SG0704 unit.hosts[#2]"]),
        ("wildcard", |p| p.unit.sites[0].hosts[0] = "*.a.test".into(), &["SG0704 unit.hosts[#1]"]),
        ("label", |p| p.unit.sites[0].hosts[0] = "a..test".into(), &["SG0704 unit.hosts[#1]"]),
        ("hyphen", |p| p.unit.sites[0].hosts[0] = "-a.test".into(), &["SG0704 unit.hosts[#1]"]),
        ("port", |p| p.unit.sites[0].hosts[0] = "a.test:80".into(), &["SG0704 unit.hosts[#1]"]),
        (
            "a host twice",
            |p| p.unit.sites[0].hosts[1] = p.unit.sites[0].hosts[0].clone(),
            &["SG0705 unit.hosts"],
        ),
    ]);
}

#[test]
fn refuses_backends_and_probes() {
    refused(&[
        (
            "one server for both",
            |p| p.unit.sites[0].backends.target.address = p.unit.sites[0].backends.source.address,
            &["SG0728 backend.target.address", "SG0709 front[source].listen"],
        ),
        (
            "no port",
            |p| p.unit.sites[0].backends.target.address.set_port(0),
            &["SG0728 backend.target.address"],
        ),
        (
            "a server twice",
            |p| {
                let backend = &mut p.unit.sites[0].backends.target;
                backend.beside = vec![backend.address];
            },
            &["SG0750 backend.target.address"],
        ),
        (
            "a further server for both",
            |p| {
                let backends = &mut p.unit.sites[0].backends;
                let other = "203.0.113.99:80".parse().unwrap();
                backends.source.beside = vec![other];
                backends.target.beside = vec![other];
            },
            &["SG0728 backend.target.address"],
        ),
        (
            "a further server without a port",
            |p| {
                p.unit.sites[0].backends.target.beside = vec!["203.0.113.99:0".parse().unwrap()];
            },
            &["SG0728 backend.target.address"],
        ),
        (
            "TLS goes unread to one side",
            |p| p.unit.sites[0].backends.source.passthrough = "192.0.2.10:443".parse().ok(),
            &["SG0753 backend.passthrough"],
        ),
        (
            "TLS goes unread to one server",
            |p| {
                let backends = &mut p.unit.sites[0].backends;
                backends.source.passthrough = "192.0.2.10:443".parse().ok();
                backends.target.passthrough = "192.0.2.10:443".parse().ok();
            },
            &["SG0753 backend.target.passthrough"],
        ),
        (
            "no time for answers",
            |p| p.unit.sites[0].answer_timeout_s = Some(0),
            &["SG0751 backend.answer_timeout_s"],
        ),
        (
            "too much time for answers",
            |p| p.unit.sites[0].answer_timeout_s = Some(3_601),
            &["SG0751 backend.answer_timeout_s"],
        ),
        (
            "relative health path",
            |p| p.unit.sites[0].backends.source.health_path = "healthz".into(),
            &["SG0728 backend.source.health_path"],
        ),
        (
            "relative log",
            |p| p.unit.sites[0].backends.source.access_log = Some("access.log".into()),
            &["SG0729 backend.source.access_log"],
        ),
        (
            "no request at once",
            |p| p.unit.sites[0].backends.source.concurrency = 0,
            &["SG0728 backend.source.concurrency"],
        ),
        (
            "path",
            |p| p.unit.sites[0].probe.as_mut().unwrap().path = "a".into(),
            &["SG0724 probe.path"],
        ),
        (
            "marker",
            |p| p.unit.sites[0].probe.as_mut().unwrap().marker.clear(),
            &["SG0724 probe.marker"],
        ),
        (
            "none",
            |p| p.unit.sites[0].probe.as_mut().unwrap().per_second = 0,
            &["SG0724 probe.per_second"],
        ),
        (
            "flood",
            |p| p.unit.sites[0].probe.as_mut().unwrap().per_second = 1001,
            &["SG0724 probe.per_second"],
        ),
    ]);
}

fn mirror(plan: &mut Plan, change: impl FnOnce(&mut MirrorPlan)) {
    let mut mirror = MirrorPlan {
        paths: vec!["/static/".into()],
        percent: 5,
        at_once: 4,
        body_bytes_max: 1_000,
        cookies: false,
        authorization: false,
        headers: vec!["location".into()],
        noise: vec!["token".into()],
    };
    change(&mut mirror);
    plan.unit.measures.mirror = Some(mirror);
}

#[test]
fn refuses_copies_of_requests_that_make_no_sense() {
    refused(&[
        ("right", |p| mirror(p, |_| {}), &[]),
        ("no path", |p| mirror(p, |m| m.paths.clear()), &["SG0763 measure.mirror.paths"]),
        (
            "relative",
            |p| mirror(p, |m| m.paths = vec!["static".into()]),
            &["SG0763 measure.mirror.paths"],
        ),
        ("none", |p| mirror(p, |m| m.percent = 0), &["SG0763 measure.mirror.percent"]),
        ("more than all", |p| mirror(p, |m| m.percent = 101), &["SG0763 measure.mirror.percent"]),
        ("none at once", |p| mirror(p, |m| m.at_once = 0), &["SG0763 measure.mirror.at_once"]),
        (
            "long bodies",
            |p| mirror(p, |m| m.body_bytes_max = 5 << 20),
            &["SG0763 measure.mirror.body_bytes_max"],
        ),
        (
            "capitals",
            |p| mirror(p, |m| m.headers = vec!["Location".into()]),
            &["SG0763 measure.mirror.headers"],
        ),
        (
            "every line is noise",
            |p| mirror(p, |m| m.noise = vec![String::new()]),
            &["SG0763 measure.mirror.noise"],
        ),
        (
            "HAProxy copies nothing",
            |p| {
                let (config, folder) = ("/etc/haproxy.cfg".into(), "/etc/segue".into());
                p.unit.fronts[1].proxy = Some(ProxyPlan::Haproxy(HaproxyPlan { config, folder }));
                mirror(p, |_| {});
            },
            &["SG0775 front[target]"],
        ),
    ]);
}

#[test]
fn refuses_workers() {
    refused(&[
        (
            "no command",
            |p| p.unit.workers[0].sides.source.stop.clear(),
            &["SG0723 worker[cron].source.stop"],
        ),
        (
            "relative program",
            |p| p.unit.workers[0].sides.target.running[0] = "systemctl".into(),
            &["SG0723 worker[cron].target.running"],
        ),
        (
            "one name",
            |p| {
                let again = p.unit.workers[0].clone();
                p.unit.workers.push(again);
            },
            &["SG0705 worker[cron]"],
        ),
    ]);
}

use super::refused;

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

use super::*;
use segue_model::What;
use segue_model::plan::{
    Backend, BackendCheck, DatabasePlan, FrontLimits, FrontPlan, LoginPlan, MeasurePlan, PortPlan,
    SecretRef, TreePlan,
};
use segue_port::Sampler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(super) fn unit(stores: Sides<SessionStore>) -> UnitPlan {
    let backend = Backend {
        passthrough: None,
        acme_tls: None,
        proxy_out: false,
        address: "192.0.2.1:80".parse().unwrap(),
        health_path: "/".into(),
        access_log: None,
        concurrency: 1,
        beside: Vec::new(),
        check: BackendCheck::Connect,
        probe_address: None,
        tls: None,
    };
    let sessions = SessionsPlan {
        name: "shop".into(),
        config: Sides::default(),
        store: Sides { source: Some(stores.source), target: Some(stores.target) },
        login: None,
    };
    UnitPlan {
        name: "shop".into(),
        sites: vec![SitePlan {
            name: "shop".into(),
            hosts: vec!["shop.test".into()],
            backends: Sides { source: backend.clone(), target: backend },
            probe: None,
            rehearsal: None,
            answer_timeout_s: None,
        }],
        fronts: Vec::new(),
        databases: Vec::new(),
        trees: vec![TreePlan {
            name: "files".into(),
            roots: Sides { source: "/srv/a".into(), target: "/srv/b".into() },
            exclude: vec!["/cache/old".into()],
        }],
        zones: Vec::new(),
        cdns: Vec::new(),
        workers: Vec::new(),
        requests_per_day: None,
        created: None,
        measures: MeasurePlan { sessions: vec![sessions], ..MeasurePlan::default() },
    }
}

fn verdict(source: SessionStore, target: SessionStore) -> Logins {
    logins(&unit(Sides { source, target })).remove(0).logins
}

#[test]
fn says_who_stays_logged_in() {
    use SessionStore::{Database, Files, Memcached, Own, Redis};
    let files = |path: &str| Files(path.into());
    let redis = |address: &str| Redis(address.to_owned());
    for (source, target, expected) in [
        (files("/srv/a/sessions"), files("/srv/b/sessions"), Logins::Survive),
        (files("/srv/a"), files("/srv/b/"), Logins::Survive),
        (files("/srv/a/sessions"), files("/var/lib/php/sessions"), Logins::Again),
        (files("/var/lib/php/sessions"), files("/var/lib/php/sessions"), Logins::Again),
        (files("/srv/a/cache/old"), files("/srv/b/cache/old"), Logins::Again),
        (redis("10.0.0.5:6379"), redis("10.0.0.5:6379"), Logins::Survive),
        (redis("10.0.0.5:6379"), redis("10.0.0.6:6379"), Logins::Again),
        (redis("127.0.0.1:6379"), redis("127.0.0.1:6379"), Logins::Again),
        (redis("/run/redis.sock"), redis("/run/redis.sock"), Logins::Again),
        (Memcached("m1:11211".into()), Memcached("m1:11211".into()), Logins::Survive),
        (Memcached("m1:1,localhost".into()), Memcached("m1:1,localhost".into()), Logins::Again),
        (files("/srv/a/s"), redis("10.0.0.5:6379"), Logins::Again),
        // No database moves in this unit.
        (Database("sessions".into()), Database("sessions".into()), Logins::Again),
        (Own, Own, Logins::Unknown),
    ] {
        let told = format!("{source} -> {target}");
        assert_eq!(verdict(source, target), expected, "{told}");
    }
}

#[test]
fn sessions_of_a_moved_database_come_along() {
    let table = || SessionStore::Database("sessions".into());
    let mut unit = unit(Sides { source: table(), target: table() });
    let server = segue_model::plan::DatabaseServer {
        address: "192.0.2.1:3306".parse().unwrap(),
        admin: "segue".into(),
        password: SecretRef("env:NONE".into()),
    };
    let servers = Sides { source: server.clone(), target: server };
    unit.databases.push(DatabasePlan { schema: "shop".into(), servers, logins: Vec::new() });
    assert_eq!(logins(&unit)[0].logins, Logins::Survive);
    assert_eq!(findings(&unit), []);
    unit.measures.sessions.clear();
    let told = logins(&unit).remove(0);
    assert_eq!(told.logins, Logins::Unknown);
    assert_eq!(findings(&unit)[0].code, "SG0533");
}

#[test]
fn reads_the_configuration_of_both_sides_and_says_if_it_cannot() {
    let folder = tempfile::TempDir::new().unwrap();
    let ini = folder.path().join("php.ini");
    std::fs::write(&ini, "session.save_path = /srv/a/sessions\n").unwrap();
    let own = SessionStore::Own;
    let mut unit = unit(Sides { source: own.clone(), target: own });
    let plan = &mut unit.measures.sessions[0];
    plan.store =
        Sides { source: None, target: Some(SessionStore::Files("/srv/b/sessions".into())) };
    plan.config.source = vec![ini.clone()];
    assert_eq!(logins(&unit)[0].logins, Logins::Survive);
    std::fs::remove_file(&ini).unwrap();
    let told = logins(&unit).remove(0);
    assert!(told.logins == Logins::Unknown && told.because.contains("php.ini"), "{told:?}");
}

/// A site that knows one login until it forgets it, and fails when it is told to.
async fn site(knows: Arc<AtomicBool>, fails: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let mine = head.to_ascii_lowercase().contains("cookie: sid=secret");
            let (status, body) = match () {
                () if fails.load(Ordering::Relaxed) => (502, "bad gateway"),
                () if mine && knows.load(Ordering::Relaxed) => (200, "Hello, Ann"),
                () => (200, "please log in"),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_login_is_tried_through_every_front_and_a_page_that_fails_says_nothing() {
    let (knows, fails) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let address = site(knows.clone(), fails.clone()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let secret = folder.path().join("cookie");
    std::fs::write(&secret, "sid=secret\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let own = SessionStore::Own;
    let mut unit = unit(Sides { source: own.clone(), target: own });
    unit.measures.sessions[0].login = Some(LoginPlan {
        cookie: SecretRef(format!("file:{}", secret.display())),
        path: "/account".into(),
        marker: "Hello".into(),
    });
    unit.fronts = vec![FrontPlan {
        name: "source".into(),
        side: Side::Source,
        ports: vec![PortPlan::http(address, false)],
        egress: None,
        control: "/run/a.sock".into(),
        state: "/var/a.json".into(),
        trusted: Vec::new(),
        limits: FrontLimits::default(),
        metrics: None,
        access_log: None,
        proxy: None,
    }];
    let samplers = LoginSampler::of(&unit, &"run-1".into());
    let value = async || {
        let samples = samplers[0].sample(1).await.unwrap();
        samples.first().map(|sample| {
            assert_eq!((sample.what, sample.from.as_str()), (What::LoginKept, "login:shop@source"));
            sample.value > 0.5
        })
    };
    assert_eq!(value().await, Some(true));
    knows.store(false, Ordering::Relaxed);
    assert_eq!(value().await, Some(false));
    fails.store(true, Ordering::Relaxed);
    assert_eq!(value().await, None);
    let met = LoginTried {
        front: "source".into(),
        tried: 2,
        lost: 1,
        first_boot_ms: Some(1),
        last_boot_ms: Some(1),
    };
    assert_eq!((samplers[0].site(), samplers[0].met()), ("shop", vec![met]));
    std::fs::remove_file(&secret).unwrap();
    assert_eq!(samplers[0].sample(1).await.unwrap_err().code, "SG0801");
}

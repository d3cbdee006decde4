use super::*;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use segue_model::What;
use segue_model::plan::{
    Backend, BackendCheck, DatabasePlan, FrontLimits, FrontPlan, LoginPlan, MeasurePlan, PortKind,
    PortPlan, SecretRef, TlsPlan, TreePlan,
};
use segue_port::Sampler;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

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
    let memcached = |addresses: &str| Memcached(addresses.to_owned());
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
        (memcached("m1.example.test:1"), memcached("m1.example.test:1"), Logins::Survive),
        (memcached("10.0.0.5:1,localhost"), memcached("10.0.0.5:1,localhost"), Logins::Again),
        // Each machine may have a server of its own under such a name.
        (memcached("m1:11211"), memcached("m1:11211"), Logins::Unknown),
        (redis("redis:6379"), redis("redis:6379"), Logins::Unknown),
        (redis("redis:6379"), redis("redis:6380"), Logins::Again),
        (files("/srv/a/s"), redis("10.0.0.5:6379"), Logins::Again),
        // No database moves in this unit.
        (Database("sessions".into()), Database("sessions".into()), Logins::Again),
        (Own, Own, Logins::Unknown),
    ] {
        let told = format!("{source} -> {target}");
        assert_eq!(verdict(source, target), expected, "{told}");
    }
}

fn database(schema: &str) -> DatabasePlan {
    let server = segue_model::plan::DatabaseServer {
        address: "192.0.2.1:3306".parse().unwrap(),
        admin: "segue".into(),
        password: SecretRef("env:NONE".into()),
    };
    let servers = Sides { source: server.clone(), target: server };
    DatabasePlan { schema: schema.into(), servers, logins: Vec::new() }
}

#[test]
fn sessions_of_a_moved_database_come_along() {
    let table = || SessionStore::Database("sessions".into());
    let mut unit = unit(Sides { source: table(), target: table() });
    unit.databases.push(database("shop"));
    assert_eq!(logins(&unit)[0].logins, Logins::Survive);
    assert_eq!(findings(&unit), []);
    unit.measures.sessions.clear();
    let told = logins(&unit).remove(0);
    assert_eq!(told.logins, Logins::Unknown);
    let found = findings(&unit).remove(0);
    assert_eq!(found.code, "SG0533");
    let text = "users of `shop` may have to log in again, as nobody can tell: where sessions are \
                kept is unknown";
    assert!(found.text.starts_with(text), "{}", found.text);
}

#[test]
fn the_database_that_holds_the_table_is_the_one_that_counts() {
    let said = |table: &str, moved: &[&str]| {
        let table = || SessionStore::Database(table.into());
        let mut unit = unit(Sides { source: table(), target: table() });
        unit.databases = moved.iter().map(|schema| database(schema)).collect();
        logins(&unit).remove(0)
    };
    for (table, moved, expected) in [
        ("auth.sessions", &["shop", "auth"][..], Logins::Survive),
        ("auth.sessions", &["shop"], Logins::Again),
        ("auth.sessions", &[], Logins::Again),
        ("sessions", &["shop"], Logins::Survive),
        ("sessions", &["shop", "auth"], Logins::Unknown),
    ] {
        let told = said(table, moved);
        assert_eq!(told.logins, expected, "{table} {moved:?}: {told:?}");
    }
    assert!(said("sessions", &["a", "b"]).because.contains("`database:SCHEMA.sessions`"));
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

/// A front that is asked at these ports.
fn front(ports: Vec<PortPlan>) -> FrontPlan {
    FrontPlan {
        name: "source".into(),
        side: Side::Source,
        ports,
        egress: None,
        control: "/run/a.sock".into(),
        state: "/var/a.json".into(),
        trusted: Vec::new(),
        limits: FrontLimits::default(),
        metrics: None,
        access_log: None,
        proxy: None,
    }
}

/// A file with the login's cookie.
fn cookie(folder: &Path) -> SecretRef {
    let secret = folder.join("cookie");
    std::fs::write(&secret, "sid=secret\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    SecretRef(format!("file:{}", secret.display()))
}

fn tls_port(listen: SocketAddr) -> PortPlan {
    let tls = TlsPlan {
        certificates: vec!["/etc/x".into()],
        default_certificate: None,
        http2: true,
        strangers: None,
    };
    PortPlan { kind: PortKind::Tls, tls: Some(tls), ..PortPlan::http(listen, false) }
}

/// Answers every request alike, in clear or over TLS with a certificate for the site, which one of
/// `roots.pem` vouches for.
async fn alike(folder: &Path, answer: &'static str, over_tls: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]).unwrap();
    let acceptor = over_tls.then(|| {
        std::fs::write(folder.join("roots.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => say(stream, answer).await,
                    Some(acceptor) => say(acceptor.accept(stream).await.ok()?, answer).await,
                }
            });
        }
    });
    address
}

async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_tried_where_visitors_log_in_and_a_way_to_tls_loses_none() {
    let folder = tempfile::TempDir::new().unwrap();
    let page = "HTTP/1.1 200 x\r\nContent-Length: 9\r\nConnection: close\r\n\r\nHello, Jo";
    let away = "HTTP/1.1 301 x\r\nLocation: https://shop.test/account\r\nContent-Length: 0\r\n\
                Connection: close\r\n\r\n";
    let (clear, secure) =
        (alike(folder.path(), away, false).await, alike(folder.path(), page, true).await);
    let own = SessionStore::Own;
    let mut unit = unit(Sides { source: own.clone(), target: own });
    unit.measures.certificates.roots = Some(folder.path().join("roots.pem"));
    unit.measures.sessions[0].login = Some(LoginPlan {
        cookie: cookie(folder.path()),
        path: "/account".into(),
        marker: "Hello".into(),
    });
    let mut met = Vec::new();
    for (ports, tried) in [
        (vec![tls_port(secure)], 1),
        (vec![PortPlan::http(clear, false), tls_port(secure)], 1),
        // Nobody can be logged in there, so nobody is lost.
        (vec![PortPlan::http(clear, false)], 1),
        (vec![PortPlan { proxy_in: true, ..tls_port(secure) }], 0),
    ] {
        unit.fronts = vec![front(ports)];
        let told = logins(&unit).remove(0);
        assert_eq!((told.tried.len(), told.untried.len()), (tried, 1 - tried), "{told:?}");
        met.push((told.trial().unwrap(), {
            let sampler = LoginSampler::of(&unit, &"run-1".into()).remove(0);
            let samples = sampler.sample(1).await.unwrap();
            samples.first().map(|sample| sample.value > 0.5)
        }));
    }
    let kept: Vec<_> = met.iter().map(|(_, kept)| *kept).collect();
    assert_eq!(kept, [Some(true), Some(true), None, None]);
    assert_eq!(met[0].0, "one login is tried through the switch");
    assert!(met[3].0.starts_with("its login is tried nowhere: no HTTP ends at front `source`"));
    // TLS ends elsewhere, and a login that is lost is led there to log in.
    for place in ["https://shop.test/login", "https://id.test/account", "http://shop.test/account"]
    {
        let lost = away.replace("https://shop.test/account", place).leak();
        let clear = alike(folder.path(), lost, false).await;
        unit.fronts = vec![front(vec![PortPlan::http(clear, false)])];
        let sampler = LoginSampler::of(&unit, &"run-1".into()).remove(0);
        let samples = sampler.sample(1).await.unwrap();
        assert!(samples.len() == 1 && samples[0].value < 0.5, "{place}: {samples:?}");
    }
    // Whoever is not who it says is told nothing of the login.
    unit.measures.certificates.roots = None;
    unit.fronts = vec![front(vec![tls_port(secure)])];
    let sampler = LoginSampler::of(&unit, &"run-1".into()).remove(0);
    assert_eq!(sampler.sample(1).await.unwrap(), []);
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
    let own = SessionStore::Own;
    let mut unit = unit(Sides { source: own.clone(), target: own });
    unit.measures.sessions[0].login = Some(LoginPlan {
        cookie: cookie(folder.path()),
        path: "/account".into(),
        marker: "Hello".into(),
    });
    unit.fronts = vec![front(vec![PortPlan::http(address, false)])];
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

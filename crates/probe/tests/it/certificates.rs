//! What a TLS port shows is judged as clients would.

use crate::server::until;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use segue_model::plan::{CertificatesPlan, MeasurePlan, UnitPlan};
use segue_model::{Severity, What};
use segue_port::Sampler;
use segue_probe::{CertificateSampler, Connection, HttpProbe, ProbeSettings, Tls, preflight};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What every server answers.
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage";

/// An authority with one between it and the names.
struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    between: CertifiedIssuer<'static, KeyPair>,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

impl Authority {
    fn new() -> Self {
        let root =
            CertifiedIssuer::self_signed(authority_params("root"), KeyPair::generate().unwrap());
        let root = root.unwrap();
        let between = CertifiedIssuer::signed_by(
            authority_params("between"),
            KeyPair::generate().unwrap(),
            &root,
        );
        Self { between: between.unwrap(), root }
    }

    /// Serves a certificate for a name that is valid for so many days; with or without the one
    /// between.
    async fn serve(&self, name: &str, days: u64, whole: bool) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        let end = SystemTime::now() + Duration::from_secs(days * 86_400 + 3_600);
        params.not_after = end.into();
        let issuer: &Issuer<'_, KeyPair> = &self.between;
        let leaf = params.signed_by(&key, issuer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        if whole {
            chain.push(self.between.der().clone());
        }
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let accepting = acceptor.accept(stream);
                tokio::spawn(async move {
                    let mut stream = accepting.await.ok()?;
                    let mut head = [0; 1_024];
                    while stream.read(&mut head).await.ok()? > 0 {
                        stream.write_all(PAGE).await.ok()?;
                    }
                    Some(())
                });
            }
        });
        address
    }

    fn roots(&self, folder: &Path) -> std::path::PathBuf {
        let path = folder.join("roots.pem");
        std::fs::write(&path, self.root.pem()).unwrap();
        path
    }
}

fn unit(roots: &Path, also: Vec<(&str, SocketAddr)>) -> UnitPlan {
    let also = also.into_iter().map(|(name, address)| (name.to_owned(), address)).collect();
    let certificates = CertificatesPlan { roots: Some(roots.to_owned()), also };
    UnitPlan {
        name: "a".into(),
        sites: Vec::new(),
        fronts: Vec::new(),
        databases: Vec::new(),
        trees: Vec::new(),
        zones: Vec::new(),
        cdns: Vec::new(),
        workers: Vec::new(),
        requests_per_day: None,
        created: None,
        measures: MeasurePlan { certificates, ..MeasurePlan::default() },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_for_which_clients_can_verify_the_whole_chain() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let roots = authority.roots(folder.path());
    let good = authority.serve("mail.example.test", 90, true).await;
    let soon = authority.serve("panel.example.test", 20, true).await;
    let torn = authority.serve("torn.example.test", 90, false).await;
    let silent: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let plan = unit(
        &roots,
        vec![
            ("mail.example.test", good),
            ("panel.example.test", soon),
            ("torn.example.test", torn),
            ("other.example.test", good),
            ("silent.example.test", silent),
        ],
    );
    let sampler = CertificateSampler::of(&plan).unwrap();
    let samples = sampler.sample(7).await.unwrap();
    let days: Vec<(&str, f64)> = samples
        .iter()
        .map(|sample| {
            assert_eq!((sample.what, sample.taken_at_ms), (What::CertificateDays, 7));
            (sample.from.split(['.', ':']).nth(1).unwrap(), sample.value)
        })
        .collect();
    // Nobody answers for the last one: that is no number of days.
    assert_eq!(days, [("mail", 90.0), ("panel", 20.0), ("torn", 0.0), ("other", 0.0)]);
    let findings = preflight(&plan, 41).await;
    let texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
    assert!(
        findings.iter().all(|f| f.code == "SG0530" && f.severity == Severity::Warn),
        "{texts:?}"
    );
    assert!(texts.len() == 3 && texts[0].contains("valid for 20 days only"), "{texts:?}");
    assert!(texts[1].contains("UnknownIssuer"), "{texts:?}");
    assert!(
        texts[2].contains("not valid for name") || texts[2].contains("NotValidForName"),
        "{texts:?}"
    );
    // Authorities of others say nothing about these.
    let strangers = Authority::new().roots(folder.path());
    let samples = CertificateSampler::of(&unit(&strangers, vec![("mail.example.test", good)]));
    assert!(samples.unwrap().sample(7).await.unwrap()[0].value < 1.0);
}

#[tokio::test]
async fn no_authority_is_a_fault() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("empty.pem");
    std::fs::write(&path, "nothing\n").unwrap();
    let plan = unit(&path, vec![("a.test", "127.0.0.1:1".parse().unwrap())]);
    let fault = CertificateSampler::of(&plan).unwrap().sample(1).await.unwrap_err();
    assert_eq!(fault.code, "SG0529");
    assert_eq!(preflight(&plan, 41).await[0].code, "SG0529");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_clients_go_by_name_is_judged_by_the_names_that_it_has() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let roots = authority.roots(folder.path());
    let mail = authority.serve("mail.example.test", 50, true).await;
    let by_name = |hosts: &[&str], proxy_in: bool| {
        let server = json!({
            "address": "127.0.0.1:1", "health_path": "/", "access_log": null, "concurrency": 1,
        });
        let backends = json!({ "source": server, "target": server });
        let site = json!({ "name": "a", "hosts": hosts, "probe": null, "backends": backends });
        let tcp = json!({ "backends": { "source": mail, "target": mail }, "by_name": true });
        let port = json!({
            "kind": "tcp", "listen": mail, "take_over": false, "tcp": tcp, "proxy_in": proxy_in,
        });
        let front = json!({
            "name": "source", "side": "source", "ports": [port], "egress": null,
            "control": "/run/a.sock", "state": "/var/a.json",
        });
        let mut plan = unit(&roots, Vec::new());
        plan.sites = vec![serde_json::from_value(site).unwrap()];
        plan.fronts = vec![serde_json::from_value(front).unwrap()];
        plan
    };
    let days = async |plan: &UnitPlan| {
        let samples = CertificateSampler::of(plan).unwrap().sample(7).await.unwrap();
        let [only] = samples.as_slice() else { panic!("{samples:?}") };
        assert_eq!(only.from, format!("certificates:by-name@{mail}"));
        only.value
    };
    let both = by_name(&["www.example.test", "mail.example.test"], false);
    assert_eq!(days(&both).await, 50.0, "nobody asks for the page there");
    let told = async |plan: &UnitPlan, wanted: u32| {
        let all = preflight(plan, wanted).await;
        let own = all.into_iter().filter(|one| one.code == "SG0530");
        own.map(|one| one.text).collect::<Vec<_>>()
    };
    assert!(told(&both, 50).await.is_empty());
    let late = told(&both, 51).await;
    assert!(late.len() == 1 && late[0].contains("valid for 50 days only, and 51"), "{late:?}");
    let none = by_name(&["www.example.test"], false);
    assert!(days(&none).await < 1.0);
    assert!(told(&none, 1).await[0].contains("is for none of the unit's names"));
    assert!(CertificateSampler::of(&by_name(&["mail.example.test"], true)).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_over_tls_takes_what_a_visitor_would_take() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let roots = authority.roots(folder.path());
    let address = authority.serve("shop.example.test", 90, true).await;
    for (host, good) in [("shop.example.test", true), ("other.example.test", false)] {
        for connection in [Connection::Keepalive, Connection::New] {
            let probe = HttpProbe::new(ProbeSettings {
                name: "site".into(),
                address,
                host: host.into(),
                tls: Some(Tls::new(host, Some(roots.clone()))),
                path: "/".into(),
                marker: "page".into(),
                per_second: 50,
                run: "run-1".into(),
                connection,
            });
            probe.start();
            until("it asked", || probe.summary().sent >= 5).await;
            probe.stop().await;
            let summary = probe.summary();
            let failed = if good { 0 } else { summary.sent };
            assert_eq!(summary.failed, failed, "{host}: {:?}", summary.failures);
            assert!(good || summary.failures["tls"] == summary.sent);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_trusts_what_the_file_of_authorities_says_now() {
    let folder = TempDir::new().unwrap();
    let (former, now) = (Authority::new(), Authority::new());
    let address = now.serve("shop.example.test", 90, true).await;
    let probe = |roots: &Path| {
        HttpProbe::new(ProbeSettings {
            name: "site".into(),
            address,
            host: "shop.example.test".into(),
            tls: Some(Tls::new("shop.example.test", Some(roots.to_owned()))),
            path: "/".into(),
            marker: "page".into(),
            per_second: 50,
            run: "run-1".into(),
            connection: Connection::New,
        })
    };
    let mut failed = Vec::new();
    for authority in [&former, &now] {
        let probe = probe(&authority.roots(folder.path()));
        probe.start();
        until("it asked", || probe.summary().sent >= 5).await;
        probe.stop().await;
        failed.push(probe.summary().failed > 0);
    }
    assert_eq!(failed, [true, false]);
}

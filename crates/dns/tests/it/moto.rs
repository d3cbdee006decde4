//! Route 53 as moto plays it: another hand's reading of the wire format.
//!
//! moto takes changes at once, checks little and answers no DNS, so what is looked at here is
//! that requests are understood and lists are read; limits and order are the stand-in's.

use crate::fakes::{Edge, sets_of};
use crate::named::{ZONE, free_port, secret_file};
use crate::world::{ENOUGH, call, contents, done, ttl_and_data, zone as zone_of};
use segue_model::event::Phase;
use segue_model::plan::{AuthorityPlan, SecretRef, ZonePlan};
use serde_json::json;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    async fn start(program: &str) -> Self {
        let address = free_port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server: scripts/peers moto target/peers");
        let moto = Self { child, address };
        let began = Instant::now();
        while moto.ask("GET", "/moto-api/", "").await.is_none() {
            assert!(began.elapsed() < ENOUGH, "moto does not start");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        moto
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Option<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.ok()?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: route53.amazonaws.com\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=x/20261130/us-east-1/route53/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }

    /// Makes a hosted zone; returns its id.
    async fn zone(&self) -> String {
        let body = "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
                    <Name>example.test.</Name><CallerReference>1</CallerReference>\
                    </CreateHostedZoneRequest>";
        let text = self.ask("POST", "/2013-04-01/hostedzone", body).await.unwrap();
        let (_, rest) = text.split_once("/hostedzone/").unwrap_or_else(|| panic!("{text}"));
        let id: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        // The SOA that moto 5.2 makes holds the text of a Python value.
        let body = "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/\
                    2013-04-01/\"><ChangeBatch><Changes><Change><Action>UPSERT</Action>\
                    <ResourceRecordSet><Name>example.test.</Name><Type>SOA</Type><TTL>900</TTL>\
                    <ResourceRecords><ResourceRecord><Value>ns1.example.test. keeper.example.test. \
                    1 7200 900 1209600 60</Value></ResourceRecord></ResourceRecords>\
                    </ResourceRecordSet></Change></Changes></ChangeBatch>\
                    </ChangeResourceRecordSetsRequest>";
        let path = format!("/2013-04-01/hostedzone/{id}/rrset");
        let text = self.ask("POST", &path, body).await.unwrap();
        assert!(text.contains(" 200 "), "{text}");
        id
    }
}

#[tokio::test]
#[ignore = "wants moto's server, which Debian does not have: make dns"]
async fn moto_understands_what_is_sent_and_is_understood() {
    let program = std::env::var("SEGUE_MOTO").expect("SEGUE_MOTO names moto_server");
    let moto = Moto::start(&program).await;
    let zone_id = moto.zone().await;
    let dir = tempfile::tempdir().unwrap();
    let secret = format!("file:{}", secret_file(dir.path(), "testing-testing").display());
    // Name servers that already answer as wanted: moto has none.
    let target = ZONE.replace("shop 20 A 127.0.0.11", "shop 30 A 127.0.0.12");
    let edge = Edge::start(sets_of(&target)).await;
    let plan = ZonePlan {
        zone: "example.test".into(),
        provider: None,
        servers: vec![edge.address],
        authority: AuthorityPlan::Route53 {
            url: format!("http://{}", moto.address),
            zone_id,
            access_key: SecretRef(secret.clone()),
            secret_key: SecretRef(secret),
        },
        records: vec![crate::world::set("shop", "A", &[], &["127.0.0.12"])],
        lowered_ttl_s: 30,
        lowered_other_ttl_s: 30,
        parents: Vec::new(),
        allow: Vec::new(),
        query_logs: Vec::new(),
    };
    let zone = zone_of(plan.clone());
    let before = contents(&zone).await;
    let (called, output) = done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(output["servers"].as_array().unwrap().len(), 1);
    let shop_a = ttl_and_data(&contents(&zone).await, "shop.example.test A");
    assert_eq!(shop_a, json!([30, ["127.0.0.12"]]));
    let without = ZONE.replace("shop 20 A 127.0.0.11\n", "");
    let edge = Edge::start(sets_of(&without)).await;
    let back = zone_of(ZonePlan { servers: vec![edge.address], ..plan });
    back.publish().undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
    let again = call(Phase::Cutover, called.prepared.clone());
    assert!(zone.publish().run(&again).await.is_ok(), "it can be done again");
}

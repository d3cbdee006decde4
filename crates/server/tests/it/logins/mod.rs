//! What is said of logins, and what real PHP makes of one on the other machine.

mod machines;

use crate::site::{free, mark, run, start_front};
use machines::{LOCAL, LOCAL_CACHE, Machines, Pool, SHARED, SHARED_CACHE, php_ini};
use segue_front::control::{Client, HoldId, Request, SiteRoute};
use segue_model::plan::{LoginPlan, PortPlan, SecretRef, SessionsPlan, TreePlan, UnitPlan};
use segue_model::{Side, Sides};
use segue_port::Sampler;
use segue_probe::{LoginSampler, LoginTried, Logins, logins};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Set for the part that runs in a network of its own.
const INSIDE: &str = "SEGUE_TEST_LOGINS_INSIDE";
const TEST: &str = "logins::what_is_said_of_logins_is_what_php_makes_of_one";

#[test]
fn what_is_said_of_logins_is_what_php_makes_of_one() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(inside());
    }
    let root = rustix::process::geteuid().is_root();
    let script = format!("ip link set lo up && exec \"$0\" --exact {TEST} --nocapture");
    let mut room = Command::new("unshare");
    room.args([if root { "-n" } else { "-Urn" }, "sh", "-c", &script]);
    let status = room.arg(std::env::current_exe().unwrap()).env(INSIDE, "1").status();
    let status = status.expect("unshare: apt-get install util-linux");
    assert!(status.success(), "in a namespace (needs user namespaces or root)");
}

/// A site: where it keeps sessions, what is said of its logins, and why.
struct Case {
    pool: Pool,
    said: Logins,
    why: &'static str,
    /// The schema in which an application's own configuration has them kept.
    schema: Option<&'static str>,
}

fn case(name: &'static str, settings: Sides<String>, said: Logins, why: &'static str) -> Case {
    Case { pool: Pool { name, settings }, said, why, schema: None }
}

fn stored(handler: &str, path: &str) -> String {
    format!(
        "php_admin_value[session.save_handler] = {handler}\n\
         php_value[session.save_path] = \"{path}\""
    )
}

fn cases(folder: &Path) -> Vec<Case> {
    let files = |site: &str| {
        Sides::from_fn(|side: Side| {
            let place = folder.join(side.as_str()).join(site).join("sessions");
            std::fs::create_dir_all(&place).unwrap();
            format!("php_value[session.save_path] = \"{}\"", place.display())
        })
    };
    let redis =
        |address: &str| Sides::from_fn(|_| stored("redis", &format!("tcp://{address}?weight=1")));
    let other = Sides {
        source: stored("redis", &format!("tcp://{SHARED}")),
        target: stored("redis", &format!("tcp://{LOCAL}")),
    };
    let memcached = |address: &str| Sides::from_fn(|_| stored("memcached", address));
    let own = || Sides::from_fn(|_| String::new());
    let table =
        |name, schema, said, why| Case { schema: Some(schema), ..case(name, own(), said, why) };
    vec![
        case("moved", files("sites/moved"), Logins::Survive, "move with tree `files`"),
        case("left", files("elsewhere"), Logins::Again, "which lies in no tree"),
        case("shared", redis(SHARED), Logins::Survive, "both sides use Redis at 10.9.7.1:6379"),
        case("local", redis(LOCAL), Logins::Again, "127.0.0.1:6379 is another one on each"),
        case("parted", other, Logins::Again, "Redis at 127.0.0.1:6379 at the target"),
        case(
            "cached",
            memcached(SHARED_CACHE),
            Logins::Survive,
            "both sides use memcached at 10.9.7.1:11211",
        ),
        case(
            "cached-here",
            memcached(LOCAL_CACHE),
            Logins::Again,
            "127.0.0.1:11211 is another one on each",
        ),
        table("table", "shop", Logins::Survive, "`#__session` of database `shop`, which moves"),
        table("behind", "other", Logins::Again, "database `other`, which is not moved"),
    ]
}

fn host(case: &Case) -> String {
    format!("{}.example.test", case.pool.name)
}

/// The unit of a site, as a plan has it.
fn unit(case: &Case, machines: &Machines, plan: &UnitPlan, cookie: &Path) -> UnitPlan {
    let name = case.pool.name;
    let mut unit = plan.clone();
    let site = &mut unit.sites[0];
    (site.name, site.hosts) = (name.into(), vec![host(case)]);
    unit.trees = vec![TreePlan {
        name: "files".into(),
        roots: Sides::from_fn(|side| machines.root(side, name)),
        exclude: Vec::new(),
    }];
    unit.databases[0].schema = "shop".into();
    unit.measures.sessions = vec![SessionsPlan {
        name: name.into(),
        // Whoever keeps them in a way of its own is asked itself.
        config: Sides::from_fn(|side| match case.schema {
            Some(_) => Vec::new(),
            None => vec![php_ini(), machines.pool(side, name)],
        }),
        store: Sides::default(),
        login: Some(LoginPlan {
            cookie: SecretRef(format!("file:{}", cookie.display())),
            path: "/account".into(),
            marker: "account of ann".into(),
        }),
    }];
    unit
}

/// Asks at an address; returns head and body.
async fn ask(to: SocketAddr, host: &str, head: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head}\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// Both fronts before all sites.
struct Switch {
    controls: Vec<Client>,
    fronts: Sides<SocketAddr>,
    plan: UnitPlan,
}

impl Switch {
    async fn before(cases: &[Case], machines: &Machines, folder: &Path) -> Self {
        let mut plan = segue_plan::parse(segue_plan::template(), "plan.toml").unwrap().unit;
        for front in &mut plan.fronts {
            front.ports = vec![PortPlan::http(free(), false)];
            front.egress = None;
            front.control = folder.join(format!("{}.sock", front.side));
            front.state = folder.join(format!("{}.json", front.side));
        }
        let sites: Vec<_> = cases
            .iter()
            .map(|case| SiteRoute {
                hosts: vec![host(case)],
                backends: machines.web[case.pool.name].clone(),
                reach: None,
            })
            .collect();
        let mut controls = Vec::new();
        for front in &plan.fronts {
            let control = start_front(front, &sites[0].backends).await;
            let route = Request::SetRoute {
                mark: mark(1),
                unit: plan.name.clone(),
                sites: sites.clone(),
                write_side: Side::Source,
                concurrency: Sides { source: 64, target: 64 },
            };
            control.call(&route).await.unwrap();
            controls.push(control);
        }
        let listen =
            |side| plan.fronts.iter().find(|front| front.side == side).unwrap().ports[0].listen;
        let fronts = Sides::from_fn(listen);
        Self { controls, fronts, plan }
    }

    async fn hold(&self) {
        for control in &self.controls {
            let hold = Request::Hold {
                mark: mark(2),
                unit: self.plan.name.clone(),
                hold_id: HoldId::from("hold-1"),
                lease_ms: 10_000,
                quiet_age_ms: 10_000,
                slow_paths: Vec::new(),
                age_max_ms: 5_000,
                count_max: 1_000,
            };
            control.call(&hold).await.unwrap();
        }
    }

    async fn release(&self) {
        for control in &self.controls {
            let (unit, hold_id) = (self.plan.name.clone(), HoldId::from("hold-1"));
            let release = Request::Release { mark: mark(3), unit, hold_id, to: Side::Target };
            control.call(&release).await.unwrap();
        }
    }
}

/// Logs in through a front and keeps the cookie where the plan has it read.
async fn log_in(switch: &Switch, case: &Case, cookie: &Path) -> String {
    let (host, front) = (host(case), switch.fronts.source);
    let (head, _) = ask(front, &host, "POST /login HTTP/1.1", "name=ann").await;
    let (_, rest) = head.split_once("set-cookie: ").unwrap_or_else(|| panic!("{host}: {head}"));
    let sent = rest.split([';', '\r']).next().unwrap().replace("phpsessid", "PHPSESSID");
    let mut file = std::fs::File::options();
    let mut file = file.write(true).create_new(true).mode(0o600).open(cookie).unwrap();
    file.write_all(sent.as_bytes()).unwrap();
    sent
}

async fn tried(sampler: &LoginSampler) -> Vec<bool> {
    let samples = sampler.sample(1).await.unwrap();
    samples.iter().map(|sample| sample.value > 0.5).collect()
}

async fn inside() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let cases = cases(folder);
    let pools: Vec<_> = cases.iter().map(|case| case.pool.clone()).collect();
    let machines = Machines::start(folder, &pools);
    for case in cases.iter().filter(|case| case.schema.is_some()) {
        let text = format!(
            "<?php\nclass JConfig {{\n\tpublic $db = '{}';\n\tpublic $dbprefix = 'x7_';\n\
             \tpublic $session_handler = 'database';\n}}\n",
            case.schema.unwrap()
        );
        let place = machines.root(Side::Source, case.pool.name).join("configuration.php");
        std::fs::write(place, text).unwrap();
    }
    let switch = Switch::before(&cases, &machines, folder).await;
    let mut open = Vec::new();
    for case in &cases {
        let cookie = folder.join(format!("{}.cookie", case.pool.name));
        let unit = unit(case, &machines, &switch.plan, &cookie);
        let sent = log_in(&switch, case, &cookie).await;
        let said = logins(&unit).remove(0);
        assert_eq!((&said.logins, said.tried.len()), (&case.said, 2), "{said:?}");
        assert!(said.because.contains(case.why), "{said:?}");
        if case.schema.is_none() {
            // What was read of the files is what PHP itself made of them.
            let (_, place) =
                ask(switch.fronts.source, &host(case), "GET /where HTTP/1.1", "").await;
            let (_, place) = place.split_once(' ').unwrap();
            let place = place.trim_start_matches("tcp://").split('?').next().unwrap();
            assert!(said.because.contains(place), "{place}: {said:?}");
        }
        let sampler = LoginSampler::of(&unit, &run()).remove(0);
        assert_eq!(tried(&sampler).await, [true, true], "{}", case.pool.name);
        open.push((case, sent, sampler));
    }
    switch.hold().await;
    cases.iter().for_each(|case| machines.copy_tree(case.pool.name));
    machines.copy_schema("shop");
    switch.release().await;
    for (case, sent, sampler) in open {
        let name = case.pool.name;
        let stays = case.said == Logins::Survive;
        assert_eq!(tried(&sampler).await, [stays, stays], "{name}");
        let counted = |met: LoginTried| (met.tried, met.lost);
        let met: Vec<_> = sampler.met().into_iter().map(counted).collect();
        assert_eq!(met, [(2, u64::from(!stays)); 2], "{name}");
        let head = format!("GET /account HTTP/1.1\r\nCookie: {sent}");
        let (head, page) = ask(switch.fronts.source, &host(case), &head, "").await;
        assert!(head.contains("x-segue-side: target"), "{head}");
        // Two visits at the source and two here came before it.
        let expected = if stays { "account of ann, visit 5" } else { "please log in" };
        assert_eq!(page, expected, "{name}");
    }
}

#[test]
fn what_debian_brings_says_where_sessions_are() {
    let mut plan = segue_plan::parse(segue_plan::template(), "plan.toml").unwrap().unit;
    let config = Sides::from_fn(|_| vec![php_ini()]);
    let name = plan.sites[0].name.clone();
    let sessions = SessionsPlan { name, config, store: Sides::default(), login: None };
    plan.measures.sessions = vec![sessions];
    let said = logins(&plan).remove(0);
    assert_eq!(said.logins, Logins::Again, "{said:?}");
    assert!(said.because.contains("`/var/lib/php/sessions`, which lies in no tree"), "{said:?}");
}

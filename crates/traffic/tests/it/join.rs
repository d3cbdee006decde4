//! What is looked at before a server's port is joined, and what the server has to be told.

use crate::support::{policy, run, unit};
use segue_model::Sides;
use segue_traffic::{FrontSettings, Fronts, fragments};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Nginx(Child);

impl Nginx {
    fn start(folder: &Path, listen: &str, port: SocketAddr) -> Self {
        let folder = folder.display();
        let config = format!(
            "user root; daemon off; worker_processes 2; pid {folder}/pid;\n\
             error_log {folder}/error.log; events {{ }}\n\
             http {{ access_log off; client_body_temp_path {folder}/b;\n\
             proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n\
             uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen {listen}; }} }}\n"
        );
        let path = format!("{folder}/nginx.conf");
        std::fs::write(&path, config).unwrap();
        let mut program = Command::new("nginx");
        program.args(["-c", &path, "-e", &format!("{folder}/error.log")]);
        let server = Self(program.spawn().expect("nginx: run scripts/setup"));
        let began = Instant::now();
        while TcpStream::connect(port).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "nginx listens");
        }
        server
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM lets the master take its workers along.
        let id = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_whether_a_server_shares_its_port_and_says_what_it_needs_for_that() {
    let folder = TempDir::new().unwrap();
    let free = |address: &str| TcpListener::bind(address).unwrap().local_addr().unwrap();
    let (live, behind) = (free("127.0.0.26:0"), free("127.0.0.27:0"));
    let target = free("127.0.0.28:0");
    let mut unit = unit(folder.path(), live, target, &Sides { source: behind, target: behind });
    unit.fronts[0].ports[0].join = true;
    let fronts = Fronts::new(FrontSettings {
        unit: unit.clone(),
        policy: Arc::new(policy()),
        run: run(),
        program: "none".into(),
    });
    let found = async || {
        let found = fronts.preflight().await.into_iter();
        found.map(|one| format!("{} {} {}", one.code, one.text, one.remedy)).collect::<Vec<_>>()
    };
    let nobody = found().await;
    assert!(nobody.len() == 1 && nobody[0].contains("no server listens there"), "{nobody:?}");
    let alone = Nginx::start(folder.path(), &live.to_string(), live);
    let shared = found().await;
    assert!(shared.len() == 1 && shared[0].starts_with("SG0178 "), "{shared:?}");
    assert!(shared[0].contains("without SO_REUSEPORT") && shared[0].contains("take_over"));
    drop(alone);
    let _nginx = Nginx::start(folder.path(), &format!("{live} reuseport"), live);
    assert_eq!(found().await, [""; 0]);
    assert_eq!(
        fronts.insert().what().split("; ").next().unwrap(),
        format!("front `source` joins the live server at {live}")
    );

    let all = fragments(&[&unit]);
    assert_eq!(all[0].title, "the server that front `source` joins");
    assert!(all[0].text.contains(&format!("listen {live} reuseport;\nlisten {behind};\n")));
    assert!(all[0].text.contains(&format!("bind {live}\nbind {behind}\n")));
}

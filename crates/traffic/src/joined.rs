//! Whether a live server that is to be joined is reached where the front will reach it, and answers
//! there as it does at its port. What it lacks there everybody lacks once it is joined.

use futures_util::stream::{self, StreamExt};
use segue_model::Finding;
use segue_model::plan::{FrontPlan, OWN_AGENT, PortKind, PortPlan, UnitPlan};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for a connection or an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Most hosts that are asked for at once.
const AT_ONCE: usize = 8;

/// Version 2 of the PROXY protocol without a client: the connection is our own.
const LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Connects to every server that the joined ports of a front need, and asks for every host in
/// clear at both places; changes nothing.
pub(crate) async fn preflight(plan: &FrontPlan, unit: &UnitPlan) -> Vec<Finding> {
    let silent = stream::iter(needed(plan, unit)).map(|server| async move {
        let refused = connect(server).await.err()?;
        Some((server, refused))
    });
    let silent: Vec<_> = silent.buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    let mut findings: Vec<_> = silent
        .iter()
        .map(|(server, error)| {
            let text = format!(
                "front `{}` joins the live server and would reach it at {server}: {error}",
                plan.name
            );
            Finding::refuse("SG0179", text, remedy(*server))
        })
        .collect();
    let asked = questions(plan, unit)
        .filter(|question| silent.iter().all(|(server, _)| *server != question.server.0));
    let asked = stream::iter(asked.collect::<Vec<_>>()).map(Question::ask).buffered(AT_ONCE);
    findings.extend(asked.filter_map(std::future::ready).collect::<Vec<_>>().await);
    findings
}

fn remedy(server: SocketAddr) -> String {
    format!(
        "have the server listen at {server} in every server block that it has for the joined port \
         (`segue fragments PLAN` prints the lines), and reload it"
    )
}

/// Returns the addresses of servers behind the joined ports of a front, at its side.
fn needed(plan: &FrontPlan, unit: &UnitPlan) -> BTreeSet<SocketAddr> {
    let mut all = BTreeSet::new();
    for port in plan.ports.iter().filter(|port| port.join) {
        match (port.kind, &port.tcp) {
            (PortKind::Tcp, tcp) => all.extend(tcp.iter().map(|tcp| *tcp.backends.get(plan.side))),
            _ => all.extend(unit.backends(plan.side).flat_map(|server| server.reached_at())),
        }
        all.extend(port.strangers());
    }
    all
}

/// A request in clear, at two places where one server should answer; each with whether it is told
/// of clients by the PROXY protocol.
struct Question {
    live: (SocketAddr, bool),
    server: (SocketAddr, bool),
    host: String,
    path: String,
}

fn questions(plan: &FrontPlan, unit: &UnitPlan) -> impl Iterator<Item = Question> {
    let in_clear = |port: &&PortPlan| port.join && port.kind == PortKind::Http;
    plan.ports.iter().filter(in_clear).flat_map(move |port| {
        unit.sites.iter().flat_map(move |site| {
            let backend = site.backends.get(plan.side);
            let servers = backend.addresses().filter(|_| backend.tls.is_none());
            servers.flat_map(move |server| {
                site.hosts.iter().map(move |host| Question {
                    live: (port.listen, port.proxy_in),
                    server: (server, backend.proxy_out),
                    host: host.clone(),
                    path: backend.health_path.clone(),
                })
            })
        })
    })
}

impl Question {
    async fn ask(self) -> Option<Finding> {
        let Self { live, server, host, path } = &self;
        let (at_port, elsewhere) =
            tokio::join!(status(*live, host, path), status(*server, host, path));
        let class = |answer: &io::Result<u16>| answer.as_ref().ok().map(|status| status / 100);
        if class(&at_port).is_some() && class(&at_port) == class(&elsewhere) {
            return None;
        }
        let told = |answer: &io::Result<u16>| match answer {
            Ok(status) => status.to_string(),
            Err(error) => format!("nothing ({error})"),
        };
        let text = format!(
            "`{host}{path}` gets {} from the live server at {}, and {} at {}, where a front that \
             joined it asks",
            told(&at_port),
            live.0,
            told(&elsewhere),
            server.0
        );
        // Such a server leads visitors on to TLS at its port only, and a front behind TLS needs that.
        if (class(&at_port), class(&elsewhere)) == (Some(3), Some(2)) {
            let remedy = "see that visitors may get the page itself in place of the redirect";
            return Some(Finding::warn("SG0179", text, remedy));
        }
        Some(Finding::refuse("SG0179", text, remedy(server.0)))
    }
}

async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    timeout(LIMIT, TcpStream::connect(server)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Returns the status of an answer.
async fn status(
    (server, introduced): (SocketAddr, bool),
    host: &str,
    path: &str,
) -> io::Result<u16> {
    let asking = async {
        let mut stream = connect(server).await?;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {OWN_AGENT}\r\nConnection: close\r\n\r\n"
        );
        let said = if introduced { &LOCAL[..] } else { &[] };
        stream.write_all(&[said, head.as_bytes()].concat()).await?;
        let mut line = [0; 12];
        stream.read_exact(&mut line).await?;
        let status =
            line.strip_prefix(b"HTTP/1.").and_then(|rest| std::str::from_utf8(&rest[2..]).ok());
        status.and_then(|text| text.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    timeout(LIMIT, asking).await.map_err(|_| io::ErrorKind::TimedOut)?
}

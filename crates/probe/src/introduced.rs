//! Whether web servers that are to be told of clients take the PROXY protocol.
//!
//! One that does not expect it reads the first line as a request and answers 400, to everybody.

use crate::client::connect;
use segue_model::plan::{OWN_AGENT, UnitPlan};
use segue_model::{Finding, Side};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Version 2 without a client: the connection is the prober's own.
const LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Asks each server in clear that is told of clients, as a front would; changes nothing.
pub(crate) async fn findings(unit: &UnitPlan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sides = [Side::Source, Side::Target];
    for (site, side) in unit.sites.iter().flat_map(|site| sides.map(|side| (site, side))) {
        let backend = site.backends.get(side);
        if !backend.proxy_out || backend.tls.is_some() {
            continue;
        }
        let host = site.hosts.first().map_or("", String::as_str);
        for address in backend.addresses() {
            let egress = unit.egress_to(side, address);
            let asked = status(address, egress, host, &backend.health_path);
            // One that does not answer is the health probe's to tell of.
            if let Ok(Ok(400)) = timeout(LIMIT, asked).await {
                findings.push(Finding::refuse(
                    "SG0534",
                    format!(
                        "web server {address} of the {side} answers 400 to the PROXY protocol: it \
                         does not expect it"
                    ),
                    "have it expect the PROXY protocol there (nginx: `listen ... proxy_protocol`), or \
                     take `proxy_out` away",
                ));
            }
        }
    }
    findings
}

/// Returns the status of an answer to what the PROXY protocol introduces.
async fn status(
    address: SocketAddr,
    egress: Option<IpAddr>,
    host: &str,
    path: &str,
) -> io::Result<u16> {
    let mut stream = connect(address, egress).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {OWN_AGENT}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(&[&LOCAL[..], head.as_bytes()].concat()).await?;
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let status =
        line.strip_prefix(b"HTTP/1.").and_then(|rest| std::str::from_utf8(&rest[2..]).ok());
    status.and_then(|text| text.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

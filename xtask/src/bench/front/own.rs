//! Our front, with a unit of its own, so that requests pass a gate.

use super::HOST;
use super::process::{Process, free, wait_for};
use super::secure::Pair;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What the front is asked, in its order. A test of the front reads the file too, so that
/// it cannot fall behind the protocol.
const REQUESTS: &str = include_str!("requests.json");

/// A front that runs.
pub(super) struct Front {
    pub(super) process: Process,
    pub(super) listen: SocketAddr,
    /// Where it speaks TLS.
    pub(super) secure: SocketAddr,
    control: Control,
}

struct Control {
    stream: UnixStream,
    answers: Lines<BufReader<UnixStream>>,
}

impl Front {
    /// Starts a front and gives its unit a route to `upstream`.
    pub(super) fn start(
        binary: &Path,
        folder: &Path,
        upstream: SocketAddr,
        pair: &Pair,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let (listen, secure) = (free()?, free()?);
        let (control, log) = (folder.join("front.sock"), folder.join("front.log"));
        let certificates = json!([pair.chain]);
        let tls = json!({ "certificates": certificates, "default_certificate": HOST });
        let port = |kind: &str, at: SocketAddr| json!({ "kind": kind, "listen": at, "take_over": false, "default_backend": upstream });
        let mut ports = [port("http", listen), port("tls", secure)];
        ports[1]["tls"] = tls;
        let options = json!({
            "name": "bench", "side": "source", "ports": ports, "egress": null,
            "control": control, "state": folder.join("front.json"),
            // All of the load comes from one address.
            "limits": { "connections_per_client": 10_000 },
            "trusted": ["192.0.2.0/24"], "metrics": free()?,
        });
        let file = folder.join("options.json");
        fs::write(&file, options.to_string())?;
        // What is measured is this process.
        let arguments = ["front", "--alone", "--options"].map(str::to_owned);
        let arguments: Vec<_> = arguments.into_iter().chain([file.display().to_string()]).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let process = Process::start(binary, "0", &arguments, &log)?;
        wait_for(listen, "segue front", &log)?;
        let stream = UnixStream::connect(&control)?;
        let answers = BufReader::new(stream.try_clone()?).lines();
        let mut front = Self { process, listen, secure, control: Control { stream, answers } };
        front.done(&request("claim")?)?;
        let mut route = request("set_route")?;
        route["sites"][0]["backends"] = json!({ "source": upstream, "target": upstream });
        front.done(&route)?;
        Ok(front)
    }

    /// Begins a hold.
    pub(super) fn hold(&mut self) -> Result<()> {
        self.done(&request("hold")?)
    }

    /// Returns how many requests wait.
    pub(super) fn held(&mut self) -> Result<u64> {
        let hello = self.ask(&json!({ "request": "greet", "unit": "bench" }))?;
        hello["units"][0]["held"].as_u64().context("a front's greeting counts held requests")
    }

    fn done(&mut self, request: &Value) -> Result<()> {
        let answer = self.ask(request)?;
        ensure!(answer["reply"] == "done", "{request}: {answer}");
        Ok(())
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.control.stream, "{request}")?;
        let answer = self.control.answers.next().context("the front gave no answer")??;
        Ok(serde_json::from_str(&answer)?)
    }
}

/// Returns the request of that name.
fn request(name: &str) -> Result<Value> {
    let all: Vec<Value> = serde_json::from_str(REQUESTS)?;
    let found = all.into_iter().find(|request| request["request"] == name);
    found.with_context(|| format!("`{name}` is missing in requests.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_there_and_the_route_is_the_hosts() {
        for name in ["claim", "set_route", "hold"] {
            assert!(request(name).is_ok(), "{name}");
        }
        let route = request("set_route").unwrap_or_default();
        assert_eq!(route["sites"][0]["hosts"][0], super::super::HOST);
    }
}

//! The upstream, and the proxies that ours is compared with.
//!
//! They are set up as their own documents say for speed: upstream connections kept, no
//! access log, answers not written to disk on their way.

use super::Subject;
use super::process::{Process, find, free, wait_for};
use super::secure::Pair;
use anyhow::{Context, Result};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

const NGINX: &str = "daemon off; worker_processes 1; user root; pid FOLDER/pid;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path FOLDER/b; proxy_temp_path FOLDER/p; fastcgi_temp_path FOLDER/f;
  uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
";

/// Starts the web server behind all proxies.
pub(super) fn upstream(folder: &Path) -> Result<(SocketAddr, Process)> {
    let folder = folder.join("upstream");
    fs::create_dir_all(&folder)?;
    for (name, length) in [("1k", 1 << 10), ("1m", 1 << 20)] {
        fs::write(folder.join(name), "x".repeat(length))?;
    }
    let address = free()?;
    let server =
        format!("sendfile on; server {{ listen {address}; root {}; }} }}", folder.display());
    Ok((address, start_nginx(&folder, &server, "1", address)?))
}

/// Starts nginx as a proxy.
pub(super) fn nginx(folder: &Path, upstream: SocketAddr, pair: &Pair) -> Result<Subject> {
    let folder = folder.join("nginx");
    fs::create_dir_all(&folder)?;
    let (at, secure) = (free()?, free()?);
    let Pair { chain, key, .. } = pair;
    let server = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3;
         ssl_session_cache shared:s:10m; upstream u {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; }}
         proxy_buffers 8 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
         server {{ listen {at}; listen {secure} ssl http2; location / {{ proxy_pass http://u; proxy_http_version 1.1;
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
         proxy_set_header X-Forwarded-Proto $scheme; }} }} }}",
        chain.display(),
        key.display()
    );
    Ok(Subject { name: "nginx", process: start_nginx(&folder, &server, "0", at)?, at, secure })
}

fn start_nginx(folder: &Path, server: &str, cpu: &str, address: SocketAddr) -> Result<Process> {
    let place = folder.to_str().context("the target folder's name is not text")?;
    let (config, log) = (folder.join("nginx.conf"), folder.join("error.log"));
    fs::write(&config, NGINX.replace("FOLDER", place) + server)?;
    let config = config.to_str().context("the target folder's name is not text")?;
    let program = find("nginx");
    let process = Process::start(&program, cpu, &["-c", config, "-e", "stderr"], &log)?;
    wait_for(address, "nginx", &log)?;
    Ok(process)
}

/// Starts HAProxy.
pub(super) fn haproxy(folder: &Path, upstream: SocketAddr, pair: &Pair) -> Result<Subject> {
    let (config, log) = (folder.join("haproxy.cfg"), folder.join("haproxy.log"));
    let (at, secure) = (free()?, free()?);
    fs::write(
        &config,
        format!(
            "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n  \
             timeout client 60s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n\
             frontend f\n  bind {at}\n  bind {secure} ssl crt {} alpn h2,http/1.1\n  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n  \
             default_backend b\nbackend b\n  server u {upstream}\n",
            pair.both.display()
        ),
    )?;
    let name = config.to_str().context("the target folder's name is not text")?;
    let process = Process::start(&find("haproxy"), "0", &["-db", "-f", name], &log)?;
    wait_for(at, "haproxy", &log)?;
    Ok(Subject { name: "haproxy", process, at, secure })
}

//! One visitor who logs in before everything begins, and whose login is tried all the while.

use anyhow::{Context, Result, bail};
use segue_testkit::world::Description;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// The visitor's name; none of the load's visitors has it.
const VISITOR: &str = "regular";

/// Logs the visitor in at the shop's own server, keeps the cookie where only this user reads it,
/// and returns the part of the plan that has the login tried.
pub(crate) fn plan_toml(description: &Description) -> Result<String> {
    let cookie = log_in(description).context("log a visitor in")?;
    let file = description.dir.join("login.cookie");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)?
        .write_all(cookie.as_bytes())
        .with_context(|| format!("keep the login in `{}`", file.display()))?;
    Ok(format!(
        "\n[measure.sessions]\nsource = \"files:{}/sessions\"\ntarget = \"files:{}/sessions\"\n\
         cookie = \"file:{}\"\npath = \"/account\"\nmarker = \"account of {VISITOR}\"\n",
        description.trees.source.display(),
        description.trees.target.display(),
        file.display()
    ))
}

fn log_in(description: &Description) -> Result<String> {
    let mut stream = TcpStream::connect(description.site.source)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let body = format!("client={VISITOR}");
    write!(
        stream,
        "POST /login HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        description.host,
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cookie = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("set-cookie").then(|| value.trim())
    });
    match cookie.and_then(|cookie| cookie.split(';').next()) {
        Some(cookie) => Ok(cookie.to_owned()),
        None => bail!("no cookie came: {}", answer.lines().next().unwrap_or_default()),
    }
}

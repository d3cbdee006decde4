//! Login sessions, kept in files as PHP keeps them.

use super::answer::{Body, Refusal, text};
use super::database::close;
use super::is_name;
use super::serve::{Shop, field};
use super::uploads::whole_body;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mysql_async::TxOpts;
use mysql_async::prelude::Queryable;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Logs a client in: a new session file and its cookie.
pub(crate) async fn login(
    shop: &Shop,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let body = whole_body(request).await?;
    let form = String::from_utf8_lossy(&body);
    let client = field(form.trim(), "client")
        .filter(|client| is_name(client))
        .ok_or_else(|| Refusal::bad("login needs a client"))?;
    let token = format!("{:032x}", rand::random::<u128>());
    let path = session_path(shop, &token);
    let content = session(client, 0);
    at_files(move || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content.as_bytes())
    })
    .await??;
    let cookie = HeaderValue::try_from(format!("sid={token}; Path=/; HttpOnly"))
        .map_err(|_| Refusal::bad("login made a bad cookie"))?;
    let mut answer = text(StatusCode::NO_CONTENT, "text/plain", "");
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

/// Shows the account: a GET that writes the session's file and two rows.
pub(crate) async fn account(
    shop: &Shop,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let unknown = || Refusal::new(StatusCode::UNAUTHORIZED, "no such session");
    let token = cookie(request).filter(|token| is_name(token)).ok_or_else(unknown)?.to_owned();
    let path = session_path(shop, &token);
    let client = at_files(move || visit(&path)).await??.ok_or_else(unknown)?;
    let mut conn = shop.connect().await?;
    let mut transaction = conn.start_transaction(TxOpts::default()).await?;
    transaction
        .query_drop(format!(
            "INSERT INTO sessions (token, client, visits, seen_at) \
             VALUES ('{token}', '{client}', 1, NOW(3)) \
             ON DUPLICATE KEY UPDATE visits = visits + 1, seen_at = NOW(3)"
        ))
        .await?;
    transaction
        .query_drop(format!(
            "INSERT INTO counters (client, visits) VALUES ('{client}', 1) \
             ON DUPLICATE KEY UPDATE visits = visits + 1"
        ))
        .await?;
    transaction.commit().await?;
    close(conn).await;
    Ok(text(StatusCode::OK, "text/plain", format!("account of {client}\n")))
}

fn session_path(shop: &Shop, token: &str) -> PathBuf {
    shop.tree.join("sessions").join(format!("sess_{token}"))
}

/// Content of a session file; always of the same length for one client, so that a
/// rewrite in place never leaves a rest.
fn session(client: &str, visits: u64) -> String {
    format!("client|s:{client};visits|i:{visits:010};")
}

fn cookie(request: &Request<Incoming>) -> Option<&str> {
    let cookies = request.headers().get(header::COOKIE)?.to_str().ok()?;
    cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|p| p.0 == "sid")
        .map(|p| p.1)
}

/// Counts a visit in the session's file and returns its client; nothing if there is no
/// such file. Locked and in place, as PHP does it.
fn visit(path: &Path) -> std::io::Result<Option<String>> {
    let mut file: File = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    file.lock()?;
    let mut content = String::new();
    file.read_to_string(&mut content)?;
    let Some((client, visits)) = parse(&content) else {
        return Err(std::io::Error::other("the session's file is damaged"));
    };
    file.seek(SeekFrom::Start(0))?;
    file.write_all(session(&client, visits + 1).as_bytes())?;
    Ok(Some(client))
}

fn parse(content: &str) -> Option<(String, u64)> {
    let rest = content.strip_prefix("client|s:")?;
    let (client, rest) = rest.split_once(";visits|i:")?;
    let visits = rest.strip_suffix(';')?.parse().ok()?;
    is_name(client).then(|| (client.to_owned(), visits))
}

/// Runs blocking file work beside the server's own threads.
pub(crate) async fn at_files<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

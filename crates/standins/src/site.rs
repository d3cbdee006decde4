//! A stand-in application: answers every page, reads and writes its side's database, writes
//! files into its side's tree, and logs like a web server.

use crate::http::{answer, log_line, number};
use crate::ledger::{FOLDER, TABLE};
use crate::mood::Mood;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use segue_doors::sql::{self, Endpoint, Ident, Session, SqlResult};
use segue_model::Side;
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Where a page writes.
pub const WRITE: &str = "/segue-rehearsal/write";
/// What every page of a stand-in contains.
pub const MARKER: &str = "segue stand-in";
/// Pages that use the database at once, as with a pool of workers; others wait. A burst after a
/// hold would else take more sessions than the server gives.
const WORKERS: usize = 32;
const CONNECTING: Duration = Duration::from_secs(5);
/// Longest body that is read.
const BODY_MAX: usize = 1 << 20;

/// What an application is told. Its password comes by standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SitePlan {
    /// Of which side.
    pub side: Side,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Paths that answer 200 and touch no data.
    pub health_paths: Vec<String>,
    /// Paths of the probes, and what they look for.
    pub probes: Vec<(String, String)>,
    /// Where it logs.
    pub access_log: PathBuf,
    /// Its database, if the unit has one.
    pub database: Option<SiteDatabase>,
    /// Its tree, if the unit has one.
    pub tree: Option<PathBuf>,
    /// How it behaves.
    pub mood: PathBuf,
}

/// The database of an application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteDatabase {
    /// The server.
    pub address: SocketAddr,
    /// The schema.
    pub schema: String,
    /// Its login.
    pub user: String,
}

struct Site {
    plan: SitePlan,
    password: SecretString,
    log: Mutex<File>,
    idle: Mutex<Vec<Session>>,
    workers: Semaphore,
}

/// Serves until the process ends.
///
/// # Errors
/// `SG0852` if the address or the log cannot be used.
pub async fn run(plan: SitePlan, password: SecretString) -> Outcome<()> {
    let op = format!("start the stand-in application at {}", plan.listen);
    let log = OpenOptions::new().create(true).append(true).open(&plan.access_log);
    let log = Mutex::new(log.map_err(|e| crate::fault(&op, e))?);
    let listener = TcpListener::bind(plan.listen).await.map_err(|e| crate::fault(&op, e))?;
    let site = Arc::new(Site {
        plan,
        password,
        log,
        idle: Mutex::default(),
        workers: Semaphore::new(WORKERS),
    });
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        // Whether an answer is sent at once is all that matters on a loopback.
        let _ = stream.set_nodelay(true);
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            let serve = service_fn(|request| {
                let site = Arc::clone(&site);
                async move { Ok::<_, Infallible>(site.serve(request, peer).await) }
            });
            // A client that goes away is its own matter.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
    }
}

impl Site {
    async fn serve(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        // The body is of no use, but an answer before its end would break the connection.
        let _ = http_body_util::Limited::new(body, BODY_MAX).collect().await;
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or("");
        let mood = Mood::read(&self.plan.mood);
        let (status, text) = if self.plan.health_paths.iter().any(|own| own == path) {
            (mood.health.unwrap_or(200), "ok\n".to_owned())
        } else {
            tokio::time::sleep(Duration::from_millis(mood.slow_ms)).await;
            self.page(&parts.method, path, query, &mood).await
        };
        if !mood.unlogged {
            let shown = parts.uri.path_and_query().map_or(path, |all| all.as_str());
            let line = log_line(peer, &parts.method, shown, status, text.len());
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written is seen by whoever reads it.
            let _ = log.write_all(line.as_bytes());
        }
        answer(status, text)
    }

    async fn page(&self, method: &Method, path: &str, query: &str, mood: &Mood) -> (u16, String) {
        if let Some(status) = mood.status {
            return (status, "as asked\n".to_owned());
        }
        let whole = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let probed = self.plan.probes.iter().find(|(probe, _)| *probe == whole);
        if let (Some(status), None) = (mood.others, probed) {
            return (status, "as asked\n".to_owned());
        }
        if path == WRITE && method == Method::POST {
            return self.write(query).await;
        }
        let newest = if mood.no_database { Ok(0) } else { self.newest().await };
        let newest = match newest {
            Ok(newest) => newest,
            Err(cause) => return (500, format!("{cause}\n")),
        };
        let marker = match probed {
            Some(_) if mood.no_marker => "",
            Some((_, marker)) => marker,
            None => "",
        };
        (200, format!("{MARKER} {}\n{whole}\n{marker}\nnewest {newest}\n", self.plan.side))
    }

    async fn newest(&self) -> SqlResult<u64> {
        let Some(database) = &self.plan.database else { return Ok(0) };
        let sql = format!(
            "SELECT COALESCE(MAX(n), 0) FROM {}.{}",
            Ident::new(database.schema.as_str()),
            Ident::new(TABLE)
        );
        // It is never closed.
        let _worker = self.workers.acquire().await;
        let mut session = self.take(database).await?;
        let newest = session.one(sql).await?;
        self.give_back(session);
        Ok(newest)
    }

    /// Stores one write; acknowledged only if all of it is there.
    async fn write(&self, query: &str) -> (u16, String) {
        let Some(id) = number(query, "id") else { return (400, "no id\n".to_owned()) };
        if number(query, "file") == Some(1)
            && let Err(cause) = self.leave_file(id)
        {
            return (500, format!("{cause}\n"));
        }
        match self.insert(id).await {
            Ok(()) => (200, format!("{MARKER} {}\nwrote {id}\n", self.plan.side)),
            Err(cause) => (500, format!("{cause}\n")),
        }
    }

    async fn insert(&self, id: u64) -> SqlResult<()> {
        let Some(database) = &self.plan.database else { return Ok(()) };
        let sql = format!(
            "INSERT INTO {}.{} (id, side, body) VALUES ({id}, '{}', REPEAT('x', 120))",
            Ident::new(database.schema.as_str()),
            Ident::new(TABLE),
            self.plan.side
        );
        let _worker = self.workers.acquire().await;
        let mut session = self.take(database).await?;
        session.run(sql).await?;
        self.give_back(session);
        Ok(())
    }

    fn leave_file(&self, id: u64) -> std::io::Result<()> {
        let Some(tree) = &self.plan.tree else { return Ok(()) };
        let folder = tree.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let mut file = File::create(folder.join(id.to_string()))?;
        file.write_all(format!("{id}\n").as_bytes())?;
        file.sync_all()
    }

    /// Returns a session that is alive: those of a side that was fenced are not.
    async fn take(&self, database: &SiteDatabase) -> SqlResult<Session> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut session) = idle else { break };
            if session.ping().await.is_ok() {
                return Ok(session);
            }
        }
        let endpoint = Endpoint {
            address: database.address,
            user: database.user.clone(),
            password: self.password.clone(),
        };
        sql::connect(&endpoint, CONNECTING).await
    }

    fn give_back(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(session);
    }
}

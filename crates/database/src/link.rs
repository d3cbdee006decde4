//! Sessions at both servers: who opens them, which are alive, which wait ready.

use crate::fault::Explain;
use crate::pair::Pair;
use crate::settings::{Names, Settings};
use secrecy::SecretString;
use segue_doors::sql::{self, Endpoint, Session};
use segue_model::{Epoch, Fault, FaultKind, Side, Sides};
use segue_port::Outcome;
use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time limit of calls that no step bounds otherwise.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Time limit of opening a session.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Sessions kept ready for the pause at each server.
const SPARES: usize = 8;

/// The connection numbers that this process still listens to.
type Live = Arc<Mutex<HashSet<(Side, u32)>>>;

/// Takes a lock whose data stays right even if a holder panicked.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session that is known to be alive until it is dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    session: Option<Session>,
    side: Side,
    id: u32,
    /// Whether what it changes would be written to the binary log.
    logs: bool,
    live: Live,
}

impl Deref for Wire {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("taken out only by close, which consumes the wire")
    }
}

impl DerefMut for Wire {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("taken out only by close, which consumes the wire")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        hold(&self.live).remove(&(self.side, self.id));
    }
}

impl Wire {
    /// Returns the server it leads to.
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// Returns whether the server refused to keep it out of the binary log.
    pub(crate) fn logs(&self) -> bool {
        self.logs
    }

    /// Ends the session politely.
    pub(crate) async fn close(mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

/// The login of the epoch this process acts under.
#[derive(Debug, Clone)]
pub(crate) struct EpochLogin {
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// Its password at both servers; exists in this process only.
    pub(crate) password: SecretString,
}

/// Opens sessions at both servers.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    login: Mutex<Option<EpochLogin>>,
    /// Whether every session is the administrator's: of who reads only, and takes no epoch.
    reads_only: bool,
    live: Live,
    spares: Sides<Mutex<Vec<Wire>>>,
    /// What it shares with the other units between the same servers.
    pub(crate) pair: Arc<Pair>,
}

impl Link {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            names: Names::new(&settings),
            pair: Pair::of(&settings.plan),
            settings,
            login: Mutex::new(None),
            reads_only: false,
            live: Live::default(),
            spares: Sides::from_fn(|_| Mutex::new(Vec::new())),
        }
    }

    /// Returns a link that reads as the plan's administrator and takes no epoch.
    pub(crate) fn reader(settings: Settings) -> Self {
        Self { reads_only: true, ..Self::new(settings) }
    }

    /// Sets the login that every later session uses.
    pub(crate) fn adopt(&self, login: EpochLogin) {
        *hold(&self.login) = Some(login);
    }

    /// Forgets the login, so that nothing opens sessions any more.
    pub(crate) fn forget(&self) {
        *hold(&self.login) = None;
    }

    /// Returns the epoch this process acts under.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        hold(&self.login).as_ref().map(|login| login.epoch)
    }

    async fn connect(
        &self,
        side: Side,
        user: String,
        password: SecretString,
        limit: Duration,
    ) -> Outcome<Wire> {
        let address = self.settings.plan.servers.get(side).address;
        let op = format!("connect to the database server of the {side} at {address} as `{user}`");
        let mut session =
            sql::connect(&Endpoint { address, user, password }, limit).await.reading(&op)?;
        // What Segue writes about itself must not travel; who wants it to, switches it on. Who
        // only reads may lack the right.
        let set = "SET SESSION lock_wait_timeout = 5, innodb_lock_wait_timeout = 5; \
             SET SESSION sql_log_bin = 0";
        let logs = match session.run(set).await {
            Err(error) if self.reads_only && error.code() == Some(1227) => true,
            other => other.reading(&op).map(|()| false)?,
        };
        session.set_limit(CALL_LIMIT);
        let id = session.id();
        hold(&self.live).insert((side, id));
        Ok(Wire { session: Some(session), side, id, logs, live: Arc::clone(&self.live) })
    }

    /// Opens a session as the plan's administrator.
    pub(crate) async fn admin(&self, side: Side) -> Outcome<Wire> {
        self.admin_within(side, CONNECT_LIMIT).await
    }

    /// Opens a session as the plan's administrator within a time limit of its own.
    pub(crate) async fn admin_within(&self, side: Side, limit: Duration) -> Outcome<Wire> {
        let server = self.settings.plan.servers.get(side);
        let password = segue_doors::secrets::read(&server.password)?;
        self.connect(side, server.admin.clone(), password, limit).await
    }

    /// Opens a session under the epoch's login, without writing to the binary log.
    pub(crate) async fn open(&self, side: Side) -> Outcome<Wire> {
        self.open_within(side, CONNECT_LIMIT).await
    }

    /// Opens a session under the epoch's login within a time limit of its own.
    pub(crate) async fn open_within(&self, side: Side, limit: Duration) -> Outcome<Wire> {
        if self.reads_only {
            return self.admin_within(side, limit).await;
        }
        let login = hold(&self.login).clone().ok_or_else(|| {
            Fault::new(
                "SG0205",
                FaultKind::LeaseLost,
                format!("connect to the database server of the {side}"),
                "no epoch was taken there yet, or it was given up",
            )
            .hint("the controller takes its epoch when it starts; see its log")
        })?;
        self.connect(side, self.names.login(login.epoch), login.password, limit).await
    }

    /// Returns a ready session proven alive, or opens one.
    pub(crate) async fn take(&self, side: Side) -> Outcome<Wire> {
        loop {
            let Some(mut spare) = hold(self.spares.get(side)).pop() else { break };
            if spare.ping().await.is_ok() {
                return Ok(spare);
            }
        }
        self.open(side).await
    }

    /// Opens sessions beforehand, so that the pause does not wait for them.
    pub(crate) async fn warm(&self) -> Outcome<()> {
        for side in [Side::Source, Side::Target] {
            let mut ready = Vec::new();
            let kept = std::mem::take(&mut *hold(self.spares.get(side)));
            for mut wire in kept {
                if wire.ping().await.is_ok() {
                    ready.push(wire);
                }
            }
            while ready.len() < SPARES {
                ready.push(self.open(side).await?);
            }
            *hold(self.spares.get(side)) = ready;
        }
        Ok(())
    }

    /// Ends the ready sessions.
    pub(crate) async fn cool(&self) {
        for side in [Side::Source, Side::Target] {
            let kept = std::mem::take(&mut *hold(self.spares.get(side)));
            for wire in kept {
                wire.close().await;
            }
        }
    }

    /// Returns whether this process still listens to the connection.
    pub(crate) fn listens(&self, side: Side, id: u32) -> bool {
        hold(&self.live).contains(&(side, id))
    }
}

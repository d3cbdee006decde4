//! The servers of a site at one side: which of them a request goes to.
//!
//! One alone is asked as it is. Of several it is the one with the least under way. One that
//! refuses a connection, or does not answer three looks in a row, gets no requests until it
//! answers one; if that holds for all, each is tried as if none were out, for a look may be
//! wrong where a request would not be. The other side is never asked in their place.

use super::{Broken, Link, Opening, Pool};
use crate::client::ToldOf;
use crate::control::Servers;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Looks in a row that a server may miss.
const MISSES: u8 = 3;

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(2);

/// The servers of a site at one side.
pub(crate) struct Group {
    members: Box<[Member]>,
    /// What is asked for at a look: path and host; none for a connection alone.
    check: Option<(String, String)>,
    servers: Servers,
    /// Where looking for the least begins, so that equals take turns.
    turn: AtomicUsize,
}

struct Member {
    pool: Arc<Pool>,
    under_way: Arc<AtomicUsize>,
    misses: AtomicU8,
    looked_at: AtomicBool,
}

/// A request under way at one of several servers, until dropped.
pub(crate) struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The server that a request goes to.
pub(crate) struct Choice {
    pub(crate) pool: Arc<Pool>,
    /// Where there are several.
    pub(crate) under_way: Option<UnderWay>,
    /// How many were tried before it.
    before: usize,
}

impl Group {
    /// Builds a group of one server.
    pub(crate) fn of(pool: Arc<Pool>) -> Arc<Self> {
        Self::new(pool, Servers::default(), &[], "")
    }

    /// Builds a group of `first` and the `others` that `servers` names beside it; a look names
    /// the host.
    pub(crate) fn new(
        first: Arc<Pool>,
        servers: Servers,
        others: &[Arc<Pool>],
        host: &str,
    ) -> Arc<Self> {
        let member = |pool: &Arc<Pool>| Member {
            pool: pool.clone(),
            under_way: Arc::default(),
            misses: AtomicU8::new(0),
            looked_at: AtomicBool::new(false),
        };
        let members = [&first].into_iter().chain(others).map(member).collect();
        let check = servers.check.clone().map(|path| (path, host.to_owned()));
        Arc::new(Self { members, check, servers, turn: AtomicUsize::new(0) })
    }

    /// Returns the address of the first server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.members[0].pool.address()
    }

    /// Returns what it was built from, beside the first address.
    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Returns whether its servers are told who the client is.
    pub(crate) fn introduces(&self) -> bool {
        self.members[0].pool.introduces()
    }

    /// Returns whether there is one server only.
    pub(crate) fn is_one(&self) -> bool {
        self.members.len() == 1
    }

    /// Returns the servers that get no requests.
    pub(crate) fn out(&self) -> impl Iterator<Item = SocketAddr> {
        self.members.iter().filter(|member| member.is_out()).map(|member| member.pool.address())
    }

    /// Chooses a server.
    pub(crate) fn choose(&self) -> Choice {
        match &*self.members {
            [only] => Choice { pool: only.pool.clone(), under_way: None, before: 0 },
            _ => self.least(0),
        }
    }

    fn least(&self, before: usize) -> Choice {
        let (count, turn) = (self.members.len(), self.turn.fetch_add(1, Ordering::Relaxed));
        let mut best = &self.members[turn % count];
        for next in 1..count {
            let member = &self.members[(turn + next) % count];
            if member.rank() < best.rank() {
                best = member;
            }
        }
        let under_way = Some(UnderWay::new(&best.under_way));
        Choice { pool: best.pool.clone(), under_way, before }
    }

    /// Takes a server out that refused a connection; chooses another one in its place, if there
    /// is one that was not tried.
    pub(crate) fn instead_of(&self, refused: &Choice) -> Option<Choice> {
        if let Some(member) = self.members.iter().find(|m| Arc::ptr_eq(&m.pool, &refused.pool)) {
            member.misses.store(MISSES, Ordering::Relaxed);
        }
        let before = refused.before + 1;
        (before < self.members.len()).then(|| self.least(before))
    }

    /// Opens a connection for one request, to whichever server takes it.
    pub(crate) async fn open(
        &self,
        open: for<'a> fn(&'a Pool, ToldOf) -> Opening<'a>,
        caller: ToldOf,
    ) -> Result<(Choice, Link), Broken> {
        let mut choice = self.choose();
        loop {
            match open(&choice.pool, caller.clone()).await {
                Ok(link) => return Ok((choice, link)),
                Err(broken) => match self.instead_of(&choice).filter(|_| broken.is_unconnected()) {
                    Some(other) => choice = other,
                    None => return Err(broken),
                },
            }
        }
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn reap(&self) {
        self.members.iter().for_each(|member| member.pool.reap());
    }

    /// Looks at each of several servers, in the background. Due every second.
    pub(crate) fn look(self: &Arc<Self>) {
        if self.is_one() {
            return;
        }
        for at in 0..self.members.len() {
            if !self.members[at].looked_at.swap(true, Ordering::Relaxed) {
                tokio::spawn(self.clone().look_at(at));
            }
        }
    }

    async fn look_at(self: Arc<Self>, at: usize) {
        let member = &self.members[at];
        let asked = self.check.as_ref().map(|(path, host)| (path.as_str(), host.as_str()));
        let looked = tokio::time::timeout(LOOK, answers(&member.pool, asked)).await;
        let (was_out, address) = (member.is_out(), member.pool.address());
        if looked.unwrap_or(false) {
            member.misses.store(0, Ordering::Relaxed);
            if was_out {
                tracing::info!(%address, "server answers again");
            }
        } else {
            let misses = member.misses.load(Ordering::Relaxed).saturating_add(1).min(MISSES);
            member.misses.store(misses, Ordering::Relaxed);
            if !was_out && member.is_out() {
                tracing::warn!(%address, "server does not answer: no requests go there");
            }
        }
        member.looked_at.store(false, Ordering::Relaxed);
    }
}

impl Member {
    fn is_out(&self) -> bool {
        self.misses.load(Ordering::Relaxed) >= MISSES
    }

    /// Orders servers: those that answer first, then by what is under way.
    fn rank(&self) -> (bool, usize) {
        (self.is_out(), self.under_way.load(Ordering::Relaxed))
    }
}

/// Returns whether a server takes a connection and, if a path and host are asked for, answers
/// with a status below 400.
async fn answers(pool: &Pool, asked: Option<(&str, &str)>) -> bool {
    let Ok(mut stream) = pool.dial(None).await else { return false };
    let Some((path, host)) = asked else { return true };
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: segue-front\r\nConnection: close\r\n\r\n"
    );
    let mut line = [0; 12];
    stream.write_all(text.as_bytes()).await.is_ok()
        && stream.read_exact(&mut line).await.is_ok()
        && line.starts_with(b"HTTP/1.")
        && matches!(line[9], b'2' | b'3')
}

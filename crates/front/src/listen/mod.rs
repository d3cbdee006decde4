//! The listening sockets: opened all or none, and left all together.

mod accept;
mod http2;
mod leave;
mod serve;
mod several;
mod sockets;

pub(crate) use accept::Port;
pub(crate) use sockets::{Opened, in_order, open_all, shares};

use crate::front::Front;
use crate::keeper::Kept;
use futures_util::future::join_all;
use segue_model::{Fault, FaultKind};
use std::net::TcpListener;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The way to tell the listening sockets to close, and to learn that they did.
#[derive(Clone, Default)]
pub(crate) struct Door {
    leave: CancellationToken,
    left: CancellationToken,
    /// Cancelled before `leave` if another process takes the connections from then on.
    retired: CancellationToken,
    /// Who else has the sockets.
    kept: Option<Arc<Kept>>,
}

impl Door {
    /// Builds the door of a front whose sockets are also somebody else's.
    pub(crate) fn of(kept: Option<Arc<Kept>>) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Returns who keeps the sockets beside this process.
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// Takes no new connections any more and leaves them to the worker that took this one's
    /// place.
    pub(crate) async fn retire(&self) {
        self.retired.cancel();
        self.leave().await;
    }

    /// Asked once connections are no longer taken: says whether nobody else takes them. Then
    /// nobody else has the sockets any more.
    async fn closes(&self) -> bool {
        if self.retired.is_cancelled() {
            return false;
        }
        if let Some(kept) = &self.kept {
            kept.let_go().await;
        }
        true
    }

    /// Takes no new connections any more, at no port. Returns once all sockets are closed.
    pub(crate) async fn leave(&self) {
        self.leave.cancel();
        self.left.cancelled().await;
    }

    /// Returns whether new connections are taken, and led here where that is another's to do.
    pub(crate) fn is_open(&self) -> bool {
        !self.leave.is_cancelled() && self.kept.as_ref().is_none_or(|kept| kept.is_led())
    }

    /// Waits until somebody asks to leave.
    pub(crate) async fn leaving(&self) {
        self.leave.cancelled().await;
    }
}

/// Opens every port of a front, or none: if one cannot be had, those that were opened go back
/// to who had them. Connections that they took meanwhile are the front's to serve until they
/// end; `hurry` asks them to. With a keeper its sockets are taken: none of them means that it
/// could not open all, and has said so.
///
/// # Errors
/// `SG0121` if an address cannot be listened at or no egress address is named for a takeover;
/// those of [`segue_doors::takeover::take_over`] and of [`segue_doors::join::join`]; `SG0126` if the keeper has other ports.
pub(crate) async fn open(
    front: &Arc<Front>,
    door: &Door,
    hurry: &CancellationToken,
) -> Result<Option<Vec<Port>>, Fault> {
    let (sockets, fault) = match door.kept() {
        None if front.options().redirects() => {
            let op = format!("open the ports of front `{}`", front.options().name);
            let cause = "a port that is redirected needs a keeper, which renews that";
            return Err(Fault::new("SG0126", FaultKind::Invalid, op, cause)
                .hint("start the front with `segue front --options`, without `--alone`"));
        }
        None => {
            let Opened { sockets, fault } = open_all(front.options(), Vec::new());
            (sockets, fault.map(Some))
        }
        Some(kept) => {
            let (sockets, all) = kept.sockets().await?;
            (sockets, (!all).then_some(None))
        }
    };
    let ports = adopt(front, sockets, fault.is_none())?;
    let Some(fault) = fault else { return Ok(Some(ports)) };
    let back = Door::default();
    back.leave.cancel();
    serve(front.clone(), ports, back, hurry.clone()).await;
    fault.map_or(Ok(None), Err)
}

/// Makes ports of sockets in the order of [`in_order`]; `all` if every port must have one.
fn adopt(front: &Front, sockets: Vec<TcpListener>, all: bool) -> Result<Vec<Port>, Fault> {
    let mut entrances: Vec<_> = front.entrances().iter().collect();
    entrances.sort_by_key(|entrance| entrance.options().is_shared());
    let others = |cause: &dyn std::fmt::Display| {
        let op = format!("take the sockets of front `{}`", front.options().name);
        Fault::new("SG0126", FaultKind::Conflict, op, cause)
            .hint("a front has its ports from start to end: end it, and start it with the others")
    };
    let options: Vec<_> = entrances.iter().map(|entrance| entrance.options()).collect();
    let shares = shares(&options, &sockets);
    let taken: usize = shares.iter().sum();
    if taken != sockets.len() || all && entrances.len() != shares.len() {
        let (ports, there) = (entrances.len(), sockets.len());
        return Err(others(&format!("its keeper has {there} sockets for {ports} ports")));
    }
    let (mut ports, mut sockets) = (Vec::new(), sockets.into_iter());
    for (entrance, share) in entrances.into_iter().zip(shares) {
        let own: Vec<_> = sockets.by_ref().take(share).collect();
        let listen = entrance.options().bound();
        let there = own.first().and_then(|socket| socket.local_addr().ok());
        if there.is_none_or(|there| there.port() != listen.port()) {
            return Err(others(&format!("its keeper has none for `{listen}`")));
        }
        ports.push(Port::of(entrance, own).map_err(|e| others(&e))?);
    }
    Ok(ports)
}

/// Serves connections; ends once every socket is closed. Connections go on and are asked
/// to finish when `hurry` is cancelled.
pub(crate) async fn serve(
    front: Arc<Front>,
    ports: Vec<Port>,
    door: Door,
    hurry: CancellationToken,
) {
    let each = |port: Port| port.accept(front.clone(), door.clone(), hurry.clone());
    join_all(ports.into_iter().map(each)).await;
    door.left.cancel();
}

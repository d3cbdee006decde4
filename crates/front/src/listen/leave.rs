//! Leaving a port that was joined, so that no connection is lost: see [`segue_doors::join`].

use super::accept::{HANDSHAKES, HANDSHAKES_MAX};
use super::several::{Accepted, Several};
use futures_util::future::join_all;
use segue_doors::join::{self, Places};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout, timeout_at};

/// Time for a question to be connected; a server that is overloaded may not take it.
const ASKED: Duration = Duration::from_secs(1);

/// After that, time for it to come out here: it is on its way through this machine only.
const COMES: Duration = Duration::from_millis(200);

/// How long the server's sockets are looked for while it changes them, and the pause after each
/// try. The front serves on meanwhile, and everybody is at the source: nothing is lost by waiting.
const LOOKS: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(250);

/// Rest after a connection that could not be taken: descriptors must get the chance to be freed.
const FAILED: Duration = Duration::from_millis(20);

/// Who has which numbers in the group.
struct Map {
    servers: Vec<u32>,
    /// The front's lowest number, and which of its sockets has it.
    lowest: (u32, usize),
}

/// Gives a joined port back to its server. Connections that come meanwhile are taken; once it
/// returns, the sockets that are left get none any more.
///
/// # Errors
/// Where the server's sockets are could not be learned: connections come here still.
pub(super) async fn leave(
    sockets: &mut Several,
    listen: SocketAddr,
    mut take: impl FnMut(Accepted),
) -> io::Result<()> {
    let until = Instant::now() + LOOKS;
    // Where the front stands at least: what the sockets were opened with.
    let number = sockets.all().len().saturating_sub(1) as u32;
    let Map { lowest: (number, last), .. } =
        find(sockets, listen, number, until, &mut take).await?;
    join::send_to(sockets.any()?, &[number])?;
    empty(sockets, Some(last), &mut take).await;
    sockets.keep_only(last);
    loop {
        let former = join::beside(sockets.all())?;
        let Map { servers, .. } = find(sockets, listen, number, until, &mut take).await?;
        join::send_to(sockets.any()?, &servers)?;
        // Whoever came or went meanwhile may have moved the others.
        if join::beside(sockets.all())? == former {
            empty(sockets, None, &mut take).await;
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(given_up(&"the server changes its sockets all the time"));
        }
        rest(sockets, &mut take).await;
    }
}

/// Says that the server's sockets are not known, and what to do then.
fn given_up(why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!(
        "{why}, for {} s; connections that waited in this moment may be reset: start the server \
         anew once it rests, so that each of its sockets gets connections",
        LOOKS.as_secs()
    ))
}

/// Serves a connection, or rests where there was none to be had.
async fn took(accepted: Accepted, take: &mut impl FnMut(Accepted)) {
    let failed = accepted.is_err();
    take(accepted);
    if failed {
        tokio::time::sleep(FAILED).await;
    }
}

/// Takes connections for the time of a pause.
async fn rest(sockets: &mut Several, take: &mut impl FnMut(Accepted)) {
    let end = Instant::now() + PAUSE;
    while let Ok((_, accepted)) = timeout_at(end, sockets.accept()).await {
        took(accepted, take).await;
    }
}

/// Takes what is under way to all sockets but one, if one is named, which goes on.
async fn empty(sockets: &mut Several, but: Option<usize>, take: &mut impl FnMut(Accepted)) {
    let end = Instant::now() + HANDSHAKES_MAX;
    let mut quiet = Instant::now() + HANDSHAKES;
    while let Ok((number, accepted)) = timeout_at(quiet.min(end), sockets.accept()).await {
        if Some(number) != but {
            quiet = Instant::now() + HANDSHAKES;
        }
        took(accepted, take).await;
    }
}

/// Learns which numbers are whose; tried again while the server changes its sockets, or has none.
async fn find(
    sockets: &mut Several,
    listen: SocketAddr,
    others: u32,
    until: Instant,
    take: &mut impl FnMut(Accepted),
) -> io::Result<Map> {
    loop {
        match ask(sockets, listen, others, take).await {
            Ok(map) => return Ok(map),
            Err(error) if Instant::now() < until => {
                tracing::warn!(%error, %listen, "the server's sockets are looked for again");
                rest(sockets, take).await;
            }
            Err(error) => return Err(given_up(&error)),
        }
    }
}

async fn ask(
    sockets: &mut Several,
    listen: SocketAddr,
    others: u32,
    take: &mut impl FnMut(Accepted),
) -> io::Result<Map> {
    let former = join::beside(sockets.all())?;
    if former.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no server listens there"));
    }
    let own = sockets.all().len();
    let mut questions = Vec::new();
    for _ in 0..former.len() + own {
        let v4 = listen.is_ipv4();
        let socket = if v4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(listen.ip(), 0))?;
        questions.push(socket);
    }
    let from = questions.iter().map(TcpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
    let ports: Vec<_> = from.iter().map(SocketAddr::port).collect();
    Places { source: listen.ip(), ports: &ports, others }.ask(sockets.any()?)?;
    let asking = questions.into_iter().map(|socket| timeout(ASKED, socket.connect(listen)));
    let mut asking = std::pin::pin!(join_all(asking));
    // The connections stay open until all of them came out somewhere.
    let mut asked = None;
    let mut until = Instant::now() + ASKED + COMES;
    let mut ours = vec![None; from.len()];
    while asked.is_none() || ours.iter().flatten().count() < own {
        tokio::select! {
            biased;
            streams = &mut asking, if asked.is_none() => {
                asked = Some(streams);
                until = Instant::now() + COMES;
            }
            (socket, accepted) = sockets.accept() => {
                let peer = accepted.as_ref().ok().map(|(_, peer)| *peer);
                match from.iter().position(|from| Some(*from) == peer) {
                    Some(number) => ours[number] = Some(socket),
                    None => took(accepted, take).await,
                }
            }
            () = tokio::time::sleep_until(until) => break,
        }
    }
    let lowest = ours.iter().enumerate().find_map(|(at, socket)| Some((at as u32, (*socket)?)));
    let here = ours.iter().flatten().count();
    let lowest = lowest.filter(|_| here == own && join::beside(sockets.all()).ok() == Some(former));
    let lowest = lowest.ok_or_else(|| {
        io::Error::other(format!("{here} of {own} questions came out here, or it was reloaded"))
    })?;
    let numbers = (0..).zip(&ours).filter(|(_, ours)| ours.is_none());
    Ok(Map { servers: numbers.map(|(number, _)| number).collect(), lowest })
}

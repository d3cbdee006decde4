//! Sockets: plain questions as a resolver asks them, and signed exchanges (RFC 8945).
//!
//! **Invariant.** Every wait has an end. A [`Trouble`] says whether the server may have
//! acted on what was sent.

use crate::codes;
use crate::message::{Answer, Draft, Transfer};
use domain::base::Message;
use domain::rdata::tsig::Time48;
use domain::tsig::{ClientSequence, ClientTransaction, Key, ValidationError};
use segue_model::{EffectLeft, Fault, FaultKind};
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

/// Longest wait for one answer; a name server that needs longer is as good as dead.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// First wait before a datagram is sent again; doubled each time.
const RESEND: Duration = Duration::from_millis(250);

/// Why an exchange did not succeed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// No connection: nothing was sent.
    Connect(io::Error),
    /// The connection broke after something was sent.
    Broken(io::Error),
    /// No answer in time.
    Silence,
    /// A wrong or missing signature, or the server's word that ours is wrong.
    Signature(ValidationError),
    /// The answer is not what was asked for.
    Answer(String),
}

impl Trouble {
    /// Returns what a changing request may have left behind.
    pub(crate) fn left(&self) -> EffectLeft {
        match self {
            Self::Connect(_)
            | Self::Signature(
                ValidationError::ServerBadKey
                | ValidationError::ServerBadSig
                | ValidationError::ServerBadTime { .. },
            ) => EffectLeft::None,
            _ => EffectLeft::Maybe,
        }
    }

    /// Turns it into the fault of a question, which changes nothing.
    pub(crate) fn fault(self, op: &str, server: SocketAddr) -> Fault {
        let (code, kind, cause, hint) = match self {
            Self::Connect(e) => (
                codes::UNREACHABLE,
                FaultKind::Unreachable,
                format!("no connection: {e}"),
                "check the address in the plan and that the server runs",
            ),
            Self::Broken(e) => (
                codes::UNREACHABLE,
                FaultKind::Unreachable,
                format!("the connection broke: {e}"),
                "see the server's log for the reason, then try again",
            ),
            Self::Silence => (
                codes::NO_ANSWER,
                FaultKind::Timeout,
                "no answer in time".into(),
                "check that the server runs and that UDP and TCP pass the firewalls",
            ),
            Self::Signature(e) => {
                let (cause, hint) = signature(e);
                (codes::SIGNATURE, FaultKind::Denied, cause, hint)
            }
            Self::Answer(cause) => (
                codes::BAD_ANSWER,
                FaultKind::Invalid,
                cause,
                "check that the server is authoritative for the zone and has loaded it",
            ),
        };
        Fault::new(code, kind, format!("{op} at {server}"), cause).hint(hint)
    }
}

fn signature(error: ValidationError) -> (String, &'static str) {
    match error {
        ValidationError::ServerBadKey => (
            "the server does not know the key".into(),
            "compare the key's name and algorithm in the plan with the server's configuration",
        ),
        ValidationError::ServerBadSig => (
            "the server knows the key's name, but its secret differs".into(),
            "compare the key's secret with the server's configuration",
        ),
        ValidationError::ServerBadTime { client, server } => (
            format!("the clocks differ: {client} here, {server} at the server"),
            "set the clock of both machines (NTP); signatures allow 300 s",
        ),
        ValidationError::ServerUnsigned => (
            "the answer is not signed".into(),
            "allow the key at the server for queries, transfers and updates of the zone",
        ),
        other => (
            format!("the answer's signature is wrong: {other}"),
            "make sure that nothing between here and the server changes DNS messages",
        ),
    }
}

/// Returns the end of one wait: the deadline, or the longest wait if that is sooner.
fn soon(until: Instant) -> Instant {
    until.min(Instant::now() + ANSWER_MAX)
}

async fn within<T>(
    until: Instant,
    work: impl Future<Output = io::Result<T>>,
    failed: impl FnOnce(io::Error) -> Trouble,
) -> Result<T, Trouble> {
    match timeout_at(until, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(failed(e)),
        Err(_) => Err(Trouble::Silence),
    }
}

/// Gives the messages of one batch distinct ids.
fn number(drafts: &mut [Draft]) {
    let Some(first) = drafts.first().map(|d| d.header().id()) else { return };
    for (draft, id) in drafts.iter_mut().zip(0..) {
        draft.header_mut().set_id(first.wrapping_add(id));
    }
}

/// Asks unsigned questions by UDP, as a resolver does; by TCP what was truncated.
///
/// Returns the answers in the order of the questions.
///
/// # Errors
/// The first trouble; nothing is asked again after `until`.
pub(crate) async fn ask(
    server: SocketAddr,
    mut drafts: Vec<Draft>,
    until: Instant,
) -> Result<Vec<Answer>, Trouble> {
    number(&mut drafts);
    let questions: Vec<Answer> = drafts.into_iter().map(Draft::into_message).collect();
    let mut answers = by_datagram(server, &questions, soon(until)).await?;
    let truncated = |a: &Option<Answer>| a.as_ref().is_some_and(|a| a.header().tc());
    if answers.iter().any(truncated) {
        let mut stream = connect(server, until).await?;
        for (question, answer) in questions.iter().zip(&mut answers) {
            if truncated(answer) {
                send(&mut stream, question.as_slice(), until).await?;
                let received = receive(&mut stream, until).await?;
                if !received.is_answer(question) {
                    return Err(Trouble::Answer("it answered another question".into()));
                }
                *answer = Some(received);
            }
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

async fn by_datagram(
    server: SocketAddr,
    questions: &[Answer],
    until: Instant,
) -> Result<Vec<Option<Answer>>, Trouble> {
    let socket = datagram_socket(server).await.map_err(Trouble::Connect)?;
    let mut answers: Vec<Option<Answer>> = questions.iter().map(|_| None).collect();
    let mut buffer = vec![0; 4096];
    let mut wait = RESEND;
    while answers.iter().any(Option::is_none) {
        if Instant::now() >= until {
            return Err(Trouble::Silence);
        }
        for (question, _) in questions.iter().zip(&answers).filter(|(_, a)| a.is_none()) {
            socket.send(question.as_slice()).await.map_err(Trouble::Connect)?;
        }
        let round = until.min(Instant::now() + wait);
        wait *= 2;
        while answers.iter().any(Option::is_none) {
            let Ok(received) = timeout_at(round, socket.recv(&mut buffer)).await else { break };
            let length = received.map_err(Trouble::Connect)?;
            let Ok(message) = Message::from_octets(buffer[..length].to_vec()) else { continue };
            let place = questions.iter().position(|q| message.is_answer(q));
            if let Some(place) = place {
                answers[place] = Some(message);
            }
        }
    }
    Ok(answers)
}

async fn datagram_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Sends one datagram, signed if a key is given, and waits a moment for its answer.
///
/// # Errors
/// Silence, or a signature that does not fit.
pub(crate) async fn datagram(
    server: SocketAddr,
    mut draft: Draft,
    key: Option<&Key>,
    until: Instant,
) -> Result<Answer, Trouble> {
    let transaction = match key {
        Some(key) => Some(sign(key, &mut draft)?),
        None => None,
    };
    let question = draft.into_message();
    let socket = datagram_socket(server).await.map_err(Trouble::Connect)?;
    socket.send(question.as_slice()).await.map_err(Trouble::Connect)?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = within(until, socket.recv(&mut buffer), Trouble::Broken).await?;
        let Ok(mut message) = Message::from_octets(buffer[..length].to_vec()) else { continue };
        if message.header().id() != question.header().id() {
            continue;
        }
        if let Some(transaction) = &transaction {
            transaction.answer(&mut message, Time48::now()).map_err(Trouble::Signature)?;
        }
        return Ok(message);
    }
}

fn sign<'k>(key: &'k Key, draft: &mut Draft) -> Result<ClientTransaction<&'k Key>, Trouble> {
    ClientTransaction::request(key, draft, Time48::now()).map_err(too_long)
}

fn too_long(cause: impl std::fmt::Display) -> Trouble {
    Trouble::Connect(io::Error::other(format!("the signature does not fit: {cause}")))
}

async fn connect(server: SocketAddr, until: Instant) -> Result<TcpStream, Trouble> {
    match timeout_at(soon(until), TcpStream::connect(server)).await {
        Ok(Ok(stream)) => {
            stream.set_nodelay(true).map_err(Trouble::Connect)?;
            Ok(stream)
        }
        Ok(Err(e)) => Err(Trouble::Connect(e)),
        Err(_) => Err(Trouble::Connect(io::ErrorKind::TimedOut.into())),
    }
}

async fn send(stream: &mut TcpStream, message: &[u8], until: Instant) -> Result<(), Trouble> {
    let length = u16::try_from(message.len()).map_err(too_long)?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    within(soon(until), stream.write_all(&framed), Trouble::Broken).await
}

/// Lets what arrives be acknowledged at once. A server that answers several questions on one
/// connection sends the second answer when the first is acknowledged (Nagle), which this side
/// otherwise puts off by 40 ms. The kernel forgets it, so it is said before each reading.
fn acknowledge_at_once(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_quickack(true) {
        tracing::debug!(%error, "answers are acknowledged late");
    }
}

async fn receive(stream: &mut TcpStream, until: Instant) -> Result<Answer, Trouble> {
    let until = soon(until);
    acknowledge_at_once(stream);
    let length = within(until, stream.read_u16(), Trouble::Broken).await?;
    acknowledge_at_once(stream);
    let mut buffer = vec![0; usize::from(length)];
    within(until, stream.read_exact(&mut buffer), Trouble::Broken).await?;
    Message::from_octets(buffer).map_err(|e| Trouble::Answer(e.to_string()))
}

/// Transfers a zone without a key, from a server that allows it by address.
///
/// # Errors
/// Any trouble, and an answer that is no complete transfer.
pub(crate) async fn open_transfer(
    server: SocketAddr,
    draft: Draft,
    transfer: &mut Transfer,
    until: Instant,
) -> Result<(), Trouble> {
    let mut stream = connect(server, until).await?;
    let request = draft.into_message();
    send(&mut stream, request.as_slice(), until).await?;
    loop {
        let message = receive(&mut stream, until).await?;
        if message.header().id() != request.header().id() {
            return Err(Trouble::Answer("it answered another question".into()));
        }
        if transfer.take(&message).map_err(Trouble::Answer)? {
            return Ok(());
        }
    }
}

/// A TCP connection whose every message is signed.
pub(crate) struct Signed {
    stream: TcpStream,
    key: Key,
}

impl Signed {
    /// Connects.
    ///
    /// # Errors
    /// [`Trouble::Connect`]: nothing was sent.
    pub(crate) async fn connect(
        server: SocketAddr,
        key: Key,
        until: Instant,
    ) -> Result<Self, Trouble> {
        Ok(Self { stream: connect(server, until).await?, key })
    }

    /// Returns how many octets a signature adds to a message.
    pub(crate) fn signature_len(&self) -> usize {
        usize::from(self.key.compose_len())
    }

    /// Sends all messages at once and returns their answers in the same order.
    ///
    /// The server may work on them in any order.
    ///
    /// # Errors
    /// The first trouble.
    pub(crate) async fn call_all(
        &mut self,
        mut drafts: Vec<Draft>,
        until: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        number(&mut drafts);
        let mut open = Vec::with_capacity(drafts.len());
        for mut draft in drafts {
            let transaction = sign(&self.key, &mut draft)?;
            let message = draft.into_message();
            send(&mut self.stream, message.as_slice(), until).await?;
            open.push((message.header().id(), transaction, None));
        }
        for _ in 0..open.len() {
            let mut answer = receive(&mut self.stream, until).await?;
            let id = answer.header().id();
            let Some((_, transaction, place)) =
                open.iter_mut().find(|(asked, _, place)| *asked == id && place.is_none())
            else {
                return Err(Trouble::Answer("it answered another question".into()));
            };
            transaction.answer(&mut answer, Time48::now()).map_err(Trouble::Signature)?;
            *place = Some(answer);
        }
        Ok(open.into_iter().filter_map(|(_, _, place)| place).collect())
    }

    /// Sends one message and returns its answer.
    ///
    /// # Errors
    /// As [`Signed::call_all`].
    pub(crate) async fn call(&mut self, draft: Draft, until: Instant) -> Result<Answer, Trouble> {
        let mut answers = self.call_all(vec![draft], until).await?;
        answers.pop().ok_or(Trouble::Silence)
    }

    /// Sends a request for a zone transfer and takes its messages until the last.
    ///
    /// # Errors
    /// Any trouble, and an answer that is no complete transfer.
    pub(crate) async fn transfer(
        &mut self,
        mut draft: Draft,
        transfer: &mut Transfer,
        until: Instant,
    ) -> Result<(), Trouble> {
        let mut sequence =
            ClientSequence::request(&self.key, &mut draft, Time48::now()).map_err(too_long)?;
        let request = draft.into_message();
        send(&mut self.stream, request.as_slice(), until).await?;
        loop {
            let mut message = receive(&mut self.stream, until).await?;
            sequence.answer(&mut message, Time48::now()).map_err(Trouble::Signature)?;
            if transfer.take(&message).map_err(Trouble::Answer)? {
                return sequence.done().map_err(Trouble::Signature);
            }
        }
    }
}

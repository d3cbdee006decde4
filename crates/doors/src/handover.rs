//! A process that keeps listening sockets, and the workers that it gives them to.
//!
//! Between a keeper and each of its workers lies one pair of Unix sockets; the worker has its
//! end as standard input. A word is one byte, and a listening socket goes along with one
//! (`SCM_RIGHTS`, unix(7)). Both get the same socket, not a copy: connections that wait in it
//! wait for whoever takes them, and it is closed once the last of them closes it.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use rustix::process::{Signal, kill_process, set_parent_process_death_signal};
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// First descriptor that a service manager hands in (sd_listen_fds(3)).
const FIRST_HANDED: i32 = 3;

/// Most descriptors that are taken from a service manager.
const HANDED_MAX: i32 = 256;

/// One end of the sockets between keeper and worker.
#[derive(Debug)]
pub struct Line {
    socket: UnixStream,
}

impl Line {
    /// Returns the worker's end, its standard input. From now on the worker ends when its
    /// keeper does, in whatever way.
    ///
    /// # Errors
    /// If standard input is no such socket: this process was not started by a keeper.
    pub fn inherited() -> io::Result<Self> {
        let socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Another kind of file has no address.
        socket.peer_addr()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        Self::new(socket)
    }

    fn new(socket: StdUnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)? })
    }

    /// Says a word, with a socket if there is one.
    ///
    /// # Errors
    /// If the other end is gone.
    pub async fn say(&self, word: u8, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let (bytes, sockets) = ([word], socket.map(|socket| [socket]));
        self.socket
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut with = SendAncillaryBuffer::new(&mut space);
                if let Some(sockets) = &sockets {
                    with.push(SendAncillaryMessage::ScmRights(sockets));
                }
                let flags = SendFlags::NOSIGNAL;
                sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut with, flags)?;
                Ok(())
            })
            .await
    }

    /// Waits for a word; none once the other end is gone. May be dropped while it waits.
    ///
    /// # Errors
    /// If the system refuses to read.
    pub async fn hear(&self) -> io::Result<Option<(u8, Option<OwnedFd>)>> {
        self.socket
            .async_io(Interest::READABLE, || {
                let mut bytes = [0];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut with = RecvAncillaryBuffer::new(&mut space);
                let flags = RecvFlags::CMSG_CLOEXEC;
                let into = &mut [IoSliceMut::new(&mut bytes)];
                let read = match recvmsg(&self.socket, into, &mut with, flags) {
                    // It was killed with words of ours unread.
                    Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                    read => read?.bytes,
                };
                let socket = with.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
                    _ => None,
                });
                Ok((read > 0).then_some((bytes[0], socket)))
            })
            .await
    }
}

/// A worker's process. It is killed when its keeper ends, and when this is dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    pid: Pid,
}

impl Worker {
    /// Starts a worker and returns it with the keeper's end of the line. To be called on a
    /// thread that lives as long as the keeper: the kernel ends a worker with it.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(program: &Path, args: &[OsString]) -> io::Result<(Self, Line)> {
        let (own, others) = StdUnixStream::pair()?;
        let child = Command::new(program)
            .args(args)
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .stdin(Stdio::from(OwnedFd::from(others)))
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| io::Error::other("it ended at once"))?;
        Ok((Self { child, pid }, Line::new(own)?))
    }

    /// Returns its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it has ended. May be dropped while it waits.
    ///
    /// # Errors
    /// If the system refuses to wait.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}

/// Asks a worker to end. One that has ended already, but was not waited for, takes no harm.
pub fn ask_to_end(pid: Pid) {
    // It may just have ended.
    let _ = kill_process(pid, Signal::TERM);
}

/// Returns the listening sockets that a service manager handed to this process
/// (sd_listen_fds(3)), as copies: the descriptors that were handed in stay open besides, which
/// changes nothing, for the service manager has the sockets open as well.
///
/// # Errors
/// If one of them is no listening TCP socket, or the kernel is older than Linux 5.6.
pub fn handed_in() -> io::Result<Vec<TcpListener>> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
    let own = getpid();
    if number("LISTEN_PID") != Some(own.as_raw_nonzero().get()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, HANDED_MAX);
    let this = pidfd_open(own, PidfdFlags::empty())?;
    let copy = |at: i32| {
        let socket = pidfd_getfd(&this, FIRST_HANDED + at, PidfdGetfdFlags::empty())?;
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::other("a socket that was handed in does not listen"));
        }
        Ok(TcpListener::from(socket))
    };
    (0..count).map(copy).collect()
}

//! Starting a child so that it dies with the controller.

use super::{Invocation, MARK_VARIABLE};
use segue_model::{Fault, FaultKind};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Where programs are looked for if the controller has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a child gets of the controller's environment. Anything else may be a secret.
const HANDED_ON: [&str; 12] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
];

/// Returns the executable file behind a name, as the kernel would be given it.
///
/// A name with a slash is taken as it is; any other is looked up in `PATH`.
pub fn find_program(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = Path::new(name.as_ref());
    let executable = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if is_path(name) {
        return executable(name).then(|| name.to_owned());
    }
    std::env::split_paths(&search_path()).map(|dir| dir.join(name)).find(|p| executable(p))
}

fn is_path(name: &Path) -> bool {
    name.components().count() != 1 || name.is_absolute()
}

fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").filter(|p| !p.is_empty()).unwrap_or_else(|| PATH.into())
}

/// Starts the invocation in a group of its own, its output piped.
pub(super) async fn spawn(invocation: Invocation, op: &str) -> Result<Child, Fault> {
    let Some(program) = find_program(&invocation.program) else {
        let name = Path::new(&invocation.program);
        let (cause, hint) = match is_path(name) {
            true => ("no such executable file", "correct the path, or let this user execute it"),
            false => ("no such executable file in PATH", "install it, or name its full path"),
        };
        return Err(Fault::new("SG0881", FaultKind::NotFound, op, cause).hint(hint));
    };
    let fail = |cause: String| Fault::new("SG0882", FaultKind::Invalid, op, cause);
    let (reply, answer) = oneshot::channel();
    let order = Order { invocation, program, runtime: Handle::current(), reply };
    let spawner = spawner().as_ref().map_err(|e| fail(e.clone()))?;
    spawner.send(order).map_err(|_| fail("the starting thread is gone".into()))?;
    let started = answer.await.map_err(|_| fail("the starting thread is gone".into()))?;
    started.map_err(|e| fail(e.to_string()).hint("see whether processes or memory ran out"))
}

/// A child to be started.
struct Order {
    invocation: Invocation,
    program: PathBuf,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Returns the way to the one thread that starts children.
///
/// The kernel ties a parent-death signal to the *thread* that forked. A worker of the
/// runtime may end long before the process does, and would take its children along; this
/// thread lives as long as the process.
fn spawner() -> &'static Result<Sender<Order>, String> {
    static SPAWNER: OnceLock<Result<Sender<Order>, String>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (send, receive) = channel::<Order>();
        std::thread::Builder::new()
            .name("segue-children".into())
            .spawn(move || {
                let setpriv = usable_setpriv();
                for order in receive {
                    let _inside = order.runtime.enter();
                    let child = command(&order, setpriv.as_deref()).spawn();
                    // A caller that is gone drops the child, and the drop kills it.
                    let _ = order.reply.send(child);
                }
            })
            .map(|_| send)
            .map_err(|e| format!("no thread for starting children: {e}"))
    })
}

fn command(order: &Order, setpriv: Option<&Path>) -> Command {
    let invocation = &order.invocation;
    let mut words = Vec::new();
    if let Some(setpriv) = setpriv {
        words.push(setpriv.as_os_str().to_owned());
        words.extend(["--pdeathsig", "KILL", "--"].map(Into::into));
    }
    if invocation.nice > 0
        && let Some(nice) = find_program("nice")
    {
        words.extend([nice.into(), "-n".into(), invocation.nice.to_string().into()]);
    }
    words.push(order.program.clone().into());
    words.extend_from_slice(&invocation.args);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", search_path())
        .envs(HANDED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(invocation.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(mark) = &invocation.mark {
        command.env(MARK_VARIABLE, mark);
    }
    if let Some(folder) = &invocation.folder {
        command.current_dir(folder);
    }
    command
}

/// Returns `setpriv` if it knows parent-death signals; other makes of it do not.
fn usable_setpriv() -> Option<PathBuf> {
    let path = find_program("setpriv")?;
    let proof = find_program("true")?;
    let works = std::process::Command::new(&path)
        .args(["--pdeathsig", "KILL", "--"])
        .arg(proof)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        tracing::warn!(
            "setpriv cannot set a parent-death signal; children are ended by their mark"
        );
    }
    works.then_some(path)
}

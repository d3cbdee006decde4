//! The room's view of the file system.
//!
//! Everything is read-only but the rehearsal's folder. What others listen on (sockets below
//! `/run`) and leave their mail in (`/var/spool`) is covered, since a socket or a spool is a way
//! out that no network namespace closes.

use crate::room::{MEMORY, Walls};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Folders that hold ways out.
const COVERED: [&str; 3] = ["/run", "/var/spool", "/dev/shm"];
/// Trees of the kernel's own, which are no disk.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

fn say<T>(what: impl std::fmt::Display, done: Result<T, impl Into<io::Error>>) -> io::Result<T> {
    done.map_err(|e| {
        let e: io::Error = e.into();
        io::Error::new(e.kind(), format!("{what}: {e}"))
    })
}

fn hold(path: &Path) -> io::Result<OwnedFd> {
    say(path.display(), rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()))
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    say(format!("bind `{}` over `{}`", from.display(), to.display()), mount_bind(from, to))
}

/// Binds what is held, also if its path is covered by now.
fn bind_held(held: &OwnedFd, to: &Path) -> io::Result<()> {
    bind(Path::new(&format!("/proc/self/fd/{}", held.as_raw_fd())), to)
}

pub(crate) fn close(walls: &Walls) -> io::Result<()> {
    let home = say(walls.home.display(), walls.home.canonicalize())?;
    // What the covers would hide is held before.
    let below = |path: &Path| COVERED.iter().any(|cover| path.starts_with(cover));
    let mut kept: Vec<(PathBuf, OwnedFd)> = Vec::new();
    for path in walls.kept.iter().filter_map(|path| path.canonicalize().ok()) {
        if below(&path) {
            kept.push((path.clone(), hold(&path)?));
        }
    }
    bind(&home, &home)?;
    let held = hold(&home)?;
    read_only(&home)?;
    cover(&home, &held, &kept)?;
    say(MEMORY, DirBuilder::new().mode(0o700).create(MEMORY))?;
    for (own, other) in &walls.instead {
        if other.exists() {
            bind(own, other)?;
        }
    }
    Ok(())
}

/// Makes every mount read-only but that of `home`.
fn read_only(home: &Path) -> io::Result<()> {
    let table = say("/proc/self/mountinfo", std::fs::read_to_string("/proc/self/mountinfo"))?;
    for line in table.lines() {
        let mut fields = line.split(' ');
        let (Some(path), Some(options)) = (fields.nth(4), fields.next()) else { continue };
        let path = PathBuf::from(unescape(path));
        if path == home || KERNEL.iter().any(|kernel| path.starts_with(kernel)) {
            continue;
        }
        let flags = flags_of(options) | MountFlags::BIND | MountFlags::RDONLY;
        match mount_remount(&path, flags, "") {
            // A mount that lies under another one cannot be reached, from here or from a child.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(e) => return say(format!("make `{}` read-only", path.display()), Err(e)),
        }
    }
    Ok(())
}

/// A mount keeps what it was made with: who did not make it may not take that away.
fn flags_of(options: &str) -> MountFlags {
    let one = |word: &str| match word {
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        _ => MountFlags::empty(),
    };
    options.split(',').fold(MountFlags::empty(), |flags, word| flags | one(word))
}

/// `mountinfo` writes blanks and the like as octal numbers.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

fn cover(home: &Path, held: &OwnedFd, kept: &[(PathBuf, OwnedFd)]) -> io::Result<()> {
    for cover in COVERED {
        let path = Path::new(cover);
        if !path.is_dir() {
            continue;
        }
        // A link such as `/var/run` leads to what is covered already.
        let covered =
            mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755");
        say(format!("cover `{cover}`"), covered)?;
        for (file, held) in kept.iter().filter(|(file, _)| file.starts_with(path)) {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            File::create(file)?;
            bind_held(held, file)?;
        }
        if home.starts_with(path) {
            std::fs::create_dir_all(home)?;
            bind_held(held, home)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{flags_of, unescape};
    use rustix::mount::MountFlags;

    #[test]
    fn a_path_with_a_blank_is_read_back() {
        assert_eq!(unescape(r"/srv/my\040site"), "/srv/my site");
        assert_eq!(unescape(r"/srv/a\b"), r"/srv/a\b");
    }

    #[test]
    fn a_mount_keeps_its_own_restrictions() {
        let flags = flags_of("rw,nosuid,nodev,relatime");
        assert!(flags.contains(MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RELATIME));
        assert!(!flags.contains(MountFlags::NOEXEC));
    }
}

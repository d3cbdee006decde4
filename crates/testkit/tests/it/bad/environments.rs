//! Environments that a look at folders, addresses and programs shows to be wrong.

use super::change::{Case, Said, set, swap};
use super::desk::Desk;
use super::table::Kind;
use segue_testkit::world::Description;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

pub(super) fn play(desk: &mut Desk) {
    let listener = TcpListener::bind("127.0.0.12:0").unwrap();
    let busy = listener.local_addr().unwrap().to_string();
    let cases = addresses(desk.description(), &busy);
    desk.changed(Kind::Environment, cases);
    let cases = places(desk.description());
    desk.changed(Kind::Environment, cases);
    secrets(desk);
    folders(desk);
    disk(desk);
    programs(desk);
}

fn text(value: &dyn std::fmt::Display) -> String {
    format!("\"{value}\"")
}

/// An address at which nothing listens.
fn quiet(address: &str) -> String {
    TcpListener::bind(address).unwrap().local_addr().unwrap().to_string()
}

fn addresses(world: &Description, busy: &str) -> Vec<Case> {
    let secret = |name: &str| format!("\"file:{}/secrets/{name}\"", world.dir.display());
    let silent = quiet("127.0.0.9:0");
    let servers = format!("servers = [\"{silent}\", ");
    vec![
        (
            "a secret that is not there",
            set("[database.source]", "password", secret("no")),
            "SG0801",
        ),
        ("a wrong password", set("[database.target]", "password", secret("shop")), "SG0202"),
        ("no database server", set("[database.target]", "address", text(&silent)), "SG0201"),
        ("a schema that is not there", set("[database]", "schema", "\"shup\""), "SG0245"),
        ("a login that is not there", set("[database]", "logins", "[\"shup\"]"), "SG0250"),
        ("a dead name server", swap("[[zone]]", "servers = [", servers), "SG0303"),
        (
            "nothing to take over",
            set("[[front]]", "listen", text(&quiet("127.0.0.11:0"))),
            "SG0158",
        ),
        (
            "the front's port taken by a stranger",
            set("name = \"target\"", "listen", text(&busy)),
            "SG0159",
        ),
        (
            "an egress address that this machine does not have",
            set("[[front]]", "egress", "\"192.0.2.1\""),
            "SG0160",
        ),
    ]
}

fn places(world: &Description) -> Vec<Case> {
    let file = text(&format!("{}/secrets/shop", world.dir.display()));
    let long = format!("\"{}/{}\"", world.dir.display(), "a".repeat(120));
    vec![
        (
            "a source directory that is not there",
            set("[[tree]]", "source", "\"/nonexistent/site\""),
            "SG0421",
        ),
        ("a file in place of a directory", set("[[tree]]", "target", file), "SG0421"),
        ("a directory of the system", set("[[tree]]", "target", "\"/tmp\""), "SG0722"),
        (
            "a worker's command that is not there",
            set("[worker.source]", "stop", "[\"/nonexistent/stop\"]"),
            "SG0511",
        ),
        (
            "a worker that cannot be asked",
            set("[worker.source]", "running", "[\"/bin/sh\", \"-c\", \"exit 7\"]"),
            "SG0512",
        ),
        (
            "an access log that is not there",
            set("[backend.source]", "access_log", "\"/nonexistent/log\""),
            "SG0521",
        ),
        (
            "a health path that answers 404",
            set("[backend.source]", "health_path", "\"/nothing\""),
            "SG0523",
        ),
        (
            "a marker that the page does not show",
            set("[probe]", "marker", "\"another shop\""),
            "SG0528",
        ),
        ("a probe's page that is not there", set("[probe]", "path", "\"/nothing\""), "SG0528"),
        (
            "a front's folder that is not there",
            set("name = \"target\"", "state", "\"/nonexistent/front.json\""),
            "SG0161",
        ),
        ("a control socket whose path is too long", set("[[front]]", "control", long), "SG0729"),
    ]
}

/// A secret's file that others may read, and one that is empty.
fn secrets(desk: &mut Desk) {
    for (name, mode, content) in
        [("a secret that others may read", 0o644, "x"), ("a secret that is empty", 0o600, "\n")]
    {
        let file = desk.description().dir.join("secrets/odd");
        let done = format!("a password file of mode {mode:o} with {} byte", content.len());
        let plan = set("[database.source]", "password", text(&format!("file:{}", file.display())));
        let plan = plan.of(&desk.sound);
        desk.case(Kind::Environment, name, &done, "SG0801", |desk| {
            std::fs::write(&file, content).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let said = desk.plan(&plan, |_| ());
            std::fs::remove_file(&file).unwrap();
            said.refuses(1, "SG0801")
        });
    }
}

/// Folders that exist and cannot be used.
fn folders(desk: &mut Desk) {
    let sound = desk.sound.clone();
    let target = desk.description().trees.target.clone();
    let name = "a target directory that is not empty";
    let done = "a file stands in the target's tree";
    desk.case(Kind::Environment, name, done, "SG0425", |desk| {
        let file = target.join("somebody's.txt");
        std::fs::write(&file, "mine").unwrap();
        let said = desk.plan(&sound, |_| ());
        let kept = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        if kept != "mine" {
            return Err("the file was touched".into());
        }
        said.refuses(1, "SG0425")
    });
    let link = desk.dir.path().join("link");
    let plan = set("[[tree]]", "target", text(&link.display())).of(&desk.sound);
    let name = "a directory that is a link elsewhere";
    let done = "the target's tree is a symbolic link";
    desk.case(Kind::Environment, name, done, "SG0421", |desk| {
        std::os::unix::fs::symlink("/srv", &link).unwrap();
        desk.plan(&plan, |_| ()).refuses(1, "SG0421 link")
    });
}

/// Plans are asked for by a user who may not write.
fn as_nobody(command: &Command) -> Command {
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    nobody.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    nobody
}

/// Mounts over the target's tree that only this one command sees.
const MOUNTS: [(&str, &str, &str, &str); 2] = [
    (
        "a target without room for the tree",
        "the target's tree lies on a disk of 64 KiB",
        "SG0426",
        "mount -t tmpfs -o size=64k tmpfs TREE",
    ),
    (
        "a target directory that cannot be written",
        "the target's tree is mounted read-only",
        "SG0422",
        "mount --bind TREE TREE && mount -o remount,bind,ro TREE",
    ),
];

/// Disks and owners of folders.
fn disk(desk: &mut Desk) {
    let sound = desk.sound.clone();
    for (name, done, code, mount) in MOUNTS {
        desk.case(Kind::Environment, name, done, code, |desk| {
            std::fs::write(desk.segue.plan_file(), &sound).unwrap();
            let tree = format!("'{}'", desk.description().trees.target.display());
            let script = mount.replace("TREE", &tree) + " && exec \"$0\" \"$@\"";
            let file = desk.segue.plan_file().display().to_string();
            let asked = desk.segue.command(&["plan", &file]);
            let mut inside = Command::new("unshare");
            inside.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
            inside.arg(asked.get_program()).args(asked.get_args()).stdin(Stdio::null());
            Said::by(&mut inside).refuses(1, code)
        });
    }
    desk.case(
        Kind::Environment,
        "a run directory of another user",
        "a user without rights names one of mode 700",
        "SG0805",
        |desk| {
            let dir = desk.dir.path().join("theirs");
            std::fs::create_dir(&dir).unwrap();
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
            let plan = std::path::Path::new("/var/tmp").join(format!("{}", std::process::id()));
            std::fs::write(&plan, &sound).unwrap();
            let file = plan.display().to_string();
            let asked = desk.segue.beside(&dir).command(&["plan", "--offline", &file]);
            let said = if rustix::process::geteuid().is_root() {
                Said::by(&mut as_nobody(&asked))
            } else {
                std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o500)).unwrap();
                Said::by(&mut desk.segue.beside(&dir).command(&["plan", "--offline", &file]))
            };
            std::fs::remove_file(&plan).unwrap();
            let left = std::fs::read_dir(&dir).unwrap().count();
            std::fs::remove_dir_all(&dir).unwrap();
            if left != 0 {
                return Err("something was written".into());
            }
            said.refuses(1, "SG0805")
        },
    );
}

/// The machine itself.
fn programs(desk: &mut Desk) {
    let sound = desk.sound.clone();
    desk.case(
        Kind::Environment,
        "a machine without rsync",
        "PATH names an empty folder",
        "SG0420",
        |desk| {
            let empty = desk.dir.path().join("empty");
            std::fs::create_dir_all(&empty).unwrap();
            let said = desk.plan(&sound, |command| {
                command.env("PATH", &empty);
            });
            said.refuses(1, "SG0420")
        },
    );
}

//! Claims about the world and the shop, on real daemons.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod bad;
mod data;
mod dns;
mod drill;
mod faults;
mod http;
mod joint;
mod lifetime;
mod maintenance;
mod moving;
mod practice;
mod rehearse;
mod run;
mod site;
mod splitting;
mod spread;
mod terminal;
mod verify;

use segue_testkit::world::{Description, Side, World, WorldOptions};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The program under test, as the build made it.
pub(crate) fn shop_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_segue-shop"))
}

/// Returns the folder with `segue` and the other programs.
pub(crate) fn bin() -> PathBuf {
    let shop = shop_program();
    let folder = shop.parent().map(std::path::Path::to_owned).unwrap();
    assert!(folder.join("segue").is_file(), "build `segue` first: cargo build");
    folder
}

/// Starts a small world in a scratch folder that goes with the returned guard.
pub(crate) fn small_world() -> (World, tempfile::TempDir) {
    let dir = tempfile::Builder::new().prefix("w").tempdir().unwrap();
    let options = WorldOptions {
        shop_program: Some(shop_program()),
        ..WorldOptions::small(dir.path().join("world"))
    };
    (World::start(options).unwrap(), dir)
}

/// Waits for a condition with a deadline.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 15 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Connects to a side's database as its administrator.
pub(crate) async fn admin(world: &Description, side: Side) -> mysql_async::Conn {
    let server = world.database.server(side);
    let password = Description::secret(&server.admin_password_file).unwrap();
    let opts = mysql_async::OptsBuilder::default()
        .ip_or_hostname(server.address.ip().to_string())
        .tcp_port(server.address.port())
        .prefer_socket(false)
        .user(Some(&server.admin))
        .pass(Some(password));
    mysql_async::Conn::new(opts).await.unwrap()
}

//! What is sealed stays shut whatever becomes of the packet filter, and opens again afterwards.

use super::*;

/// Names the folder of a tool that can be told to refuse.
const UNWILLING: &str = "SEGUE_TEST_NFT";

/// Puts a tool before the packet filter's own: it refuses everything while a file `all` stands
/// beside it, and once to let new connections through if a file `open` does, which it removes.
fn unwilling(folder: &TempDir, room: &mut Command) {
    let (tool, at) = (folder.path().join("nft"), folder.path().display());
    let path = std::env::var("PATH").unwrap();
    let script = format!(
        "#!/bin/sh\nrules=$(cat)\n\
         case \"$rules\" in *'chain open'*) rm '{at}/open' 2>/dev/null && exit 1 ;; esac\n\
         [ ! -e '{at}/all' ] || exit 1\n\
         printf '%s\\n' \"$rules\" | PATH='{path}:/usr/sbin:/sbin' exec nft \"$@\"\n"
    );
    std::fs::write(&tool, script).unwrap();
    let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, may_run).unwrap();
    room.env("PATH", format!("{at}:{path}")).env(UNWILLING, folder.path());
}

/// Removes the front's table, as somebody does who loads a firewall anew.
fn remove_table() {
    let name = table().name();
    let name = name.strip_prefix("inet ").unwrap();
    let mut nft = Command::new("/usr/sbin/nft");
    assert!(nft.args(["delete", "table", "inet", name]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_seal_is_refused_if_the_table_that_guarded_the_first_is_gone() {
    let (tool, test) = (
        TempDir::new().unwrap(),
        "redirect::seals::a_second_seal_is_refused_if_the_table_that_guarded_the_first_is_gone",
    );
    if !inside_with(test, |room| unwilling(&tool, room)) {
        return;
    }
    let folder = Arc::new(TempDir::new().unwrap());
    let (nginx, mut keeper) = routed(&folder).await;
    let other = segue_model::UnitName::from("other");
    let backends = Sides { source: nginx.address, target: nginx.address };
    let hosts = vec!["other.example.test".into()];
    let site = segue_front::control::SiteRoute { hosts, backends, reach: None };
    let mark = keeper.mark();
    let route = Ask::SetRoute {
        mark,
        unit: other.clone(),
        sites: vec![site],
        write_side: Side::Source,
        concurrency: Sides { source: 64, target: 64 },
    };
    assert!(matches!(keeper.ask(route).await, Reply::Done { .. }));
    sealed(&mut keeper).await;
    let mark = keeper.mark();
    let away = Ask::Release { mark, unit: unit(), hold_id: "h1".into(), to: Side::Target };
    assert!(matches!(keeper.ask(away).await, Reply::Done { .. }));

    let mut hold = keeper.hold("h2");
    if let Ask::Hold { unit, .. } = &mut hold {
        *unit = other.clone();
    }
    assert!(matches!(keeper.ask(hold).await, Reply::Done { .. }));
    std::fs::write(beside_the_tool("all"), "").unwrap();
    remove_table();
    let seal = |keeper: &mut Keeper| {
        let mark = keeper.mark();
        Ask::SealHold { mark, unit: other.clone(), hold_id: "h2".into() }
    };
    let ask = seal(&mut keeper);
    // The first one's guard is of no use to anybody without the table.
    assert_eq!(code(keeper.try_ask(ask).await), "SG0190");
    std::fs::remove_file(beside_the_tool("all")).unwrap();
    let ask = seal(&mut keeper);
    let answer = keeper.ask(ask).await;
    assert!(matches!(answer, Reply::Done { .. }), "{answer:?}");
    kill_all(keeper).await;
    tokio::time::sleep(LAPSES + Duration::from_millis(200)).await;
    assert_eq!(table().standing().await.unwrap(), Standing::Redirects, "made again, and it stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_cannot_be_ended_at_once_is_ended_by_the_next_renewal() {
    let (tool, test) = (
        TempDir::new().unwrap(),
        "redirect::seals::a_guard_that_cannot_be_ended_at_once_is_ended_by_the_next_renewal",
    );
    if !inside_with(test, |room| unwilling(&tool, room)) {
        return;
    }
    let folder = Arc::new(TempDir::new().unwrap());
    let (_nginx, mut keeper) = routed(&folder).await;
    sealed(&mut keeper).await;
    std::fs::write(beside_the_tool("all"), "").unwrap();
    let mark = keeper.mark();
    let back = Ask::Release { mark, unit: unit(), hold_id: "h1".into(), to: Side::Source };
    assert!(matches!(keeper.ask(back).await, Reply::Done { .. }));
    std::fs::remove_file(beside_the_tool("all")).unwrap();
    // Nobody changes anything any more.
    until("connections come again", async || {
        keeper.hello().await.is_some_and(|hello| hello.listening)
    })
    .await;
    kill_all(keeper).await;
    until("the live server has its port back", async || who().await == "server").await;
}

/// Holds the unit, and seals that.
async fn sealed(keeper: &mut Keeper) {
    let hold = keeper.hold("h1");
    assert!(matches!(keeper.ask(hold).await, Reply::Done { .. }));
    let seal = Ask::SealHold { mark: keeper.mark(), unit: unit(), hold_id: "h1".into() };
    assert!(matches!(keeper.ask(seal).await, Reply::Done { .. }));
}

/// Returns a file beside the unwilling tool.
fn beside_the_tool(name: &str) -> PathBuf {
    Path::new(&std::env::var_os(UNWILLING).unwrap()).join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_is_refused_while_the_packet_filter_cannot_be_changed() {
    let (tool, test) = (
        TempDir::new().unwrap(),
        "redirect::seals::a_seal_is_refused_while_the_packet_filter_cannot_be_changed",
    );
    if !inside_with(test, |room| unwilling(&tool, room)) {
        return;
    }
    let folder = Arc::new(TempDir::new().unwrap());
    let (_nginx, mut keeper) = routed(&folder).await;
    let hold = keeper.hold("h1");
    assert!(matches!(keeper.ask(hold).await, Reply::Done { .. }));
    std::fs::write(beside_the_tool("all"), "").unwrap();
    let seal = Ask::SealHold { mark: keeper.mark(), unit: unit(), hold_id: "h1".into() };
    // Sealed it would not be: a front that dies then would open the port.
    assert_eq!(keeper.try_ask(seal).await.unwrap_err().code, "SG0190");
    let held = keeper.hello().await.unwrap().units.remove(0).hold;
    assert!(matches!(held, HoldStatus::Leased { .. }), "as it was: {held:?}");
    std::fs::remove_file(beside_the_tool("all")).unwrap();
    let seal = Ask::SealHold { mark: keeper.mark(), unit: unit(), hold_id: "h1".into() };
    let answer = keeper.ask(seal).await;
    assert!(matches!(answer, Reply::Done { .. }), "{answer:?}");
    kill_all(keeper).await;
    tokio::time::sleep(LAPSES + Duration::from_millis(200)).await;
    assert_eq!(table().standing().await.unwrap(), Standing::Redirects, "it does not lapse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_filter_that_does_not_open_is_asked_again() {
    let (tool, test) = (
        TempDir::new().unwrap(),
        "redirect::seals::a_packet_filter_that_does_not_open_is_asked_again",
    );
    if !inside_with(test, |room| unwilling(&tool, room)) {
        return;
    }
    let folder = Arc::new(TempDir::new().unwrap());
    let (_nginx, mut keeper) = routed(&folder).await;
    let mut led = TcpStream::connect(live()).await.unwrap();
    assert!(over(&mut led).await.contains("x-segue-front"));
    std::fs::write(beside_the_tool("open"), "").unwrap();
    let mark = keeper.mark();
    keeper.ask(Ask::Bypass { mark }).await;
    until("it was refused once", async || !beside_the_tool("open").exists()).await;
    // The connection that is open keeps the table there; a table that merely lapsed leads those
    // that come now nowhere either, but could be one of a guarded port, which does not lapse.
    until("it is open", async || table().standing().await.unwrap() == Standing::Open).await;
    assert_eq!(who().await, "server");
    assert!(over(&mut led).await.contains("x-segue-front"), "it goes on");
    drop(led);
    assert!(keeper.ended().await, "{}", keeper.log());
    assert_eq!(table().standing().await.unwrap(), Standing::None);
}

//! A switch of real servers for mail and data under clients that come and go all the while.

mod servers;
mod speak;

use crate::support::*;
use segue_front::control::{Reply, Request as Ask, Stats};
use segue_model::plan::TcpPlan;
use segue_model::{Side, Sides};
use servers::House;
use speak::{Conn, Kind, Said};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A connection as its client saw it.
#[derive(Debug, Clone)]
struct Visit {
    kind: Kind,
    began: Instant,
    /// Who answered; none if it ended before that was known.
    said: Option<Said>,
    sent: u64,
    received: u64,
    /// Why it ended before its client ended it.
    broke: Option<String>,
}

/// All connections of all clients.
#[derive(Default)]
struct Book {
    visits: Mutex<Vec<Visit>>,
    over: AtomicBool,
}

impl Book {
    fn visits(&self) -> Vec<Visit> {
        self.visits.lock().unwrap().clone()
    }

    /// How many connections of each kind got to this server and were ended by their client.
    fn least(&self, house: &House) -> usize {
        let visits = self.visits();
        let whole = |kind| {
            let at = visits.iter().filter(|v| v.kind == kind && v.broke.is_none());
            at.filter(|v| v.said.as_ref().is_some_and(|s| s.who == house.word(kind))).count()
        };
        Kind::ALL.into_iter().map(whole).min().unwrap()
    }

    /// A client that comes again and again, and stays for so many words each time.
    async fn client(self: Arc<Self>, kind: Kind, server: SocketAddr, words: usize) {
        while !self.over.load(Ordering::SeqCst) {
            let began = Instant::now();
            let mut conn = within("a connect", Conn::open(&kind.client(), server)).await.unwrap();
            let mut said = None;
            let talk = within("a session", self.session(kind, &mut conn, words, &mut said)).await;
            let broke = talk.err().map(|error| error.to_string());
            let Conn { sent, received, .. } = conn;
            let visit = Visit { kind, began, said, sent, received, broke };
            self.visits.lock().unwrap().push(visit);
            // So fast it comes again: a client's pace, which waits for nothing.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn session(
        &self,
        kind: Kind,
        conn: &mut Conn,
        words: usize,
        said: &mut Option<Said>,
    ) -> io::Result<()> {
        *said = Some(kind.begin(conn).await?);
        for _ in 0..words {
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            kind.go_on(conn).await?;
            // So fast it speaks.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        kind.end(conn).await
    }
}

/// A front with a port for each kind of server.
async fn front(
    folder: Arc<TempDir>,
    houses: &Sides<House>,
) -> (Running, BTreeMap<Kind, SocketAddr>) {
    let shop = Shop::start("source").await;
    let mut options = options(folder.path(), free_address(), shop.address);
    let mut listen = BTreeMap::new();
    for kind in Kind::ALL {
        let backends = Sides::from_fn(|side| houses.get(side).at(kind));
        let at = free_address();
        listen.insert(kind, at);
        let tcp = TcpPlan { backends, proxy_out: kind.told_the_client(), by_name: false };
        options.ports.push(tcp_port(at, tcp));
    }
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&shop, &shop, 64).await.unwrap();
    (front, listen)
}

async fn stats(front: &Running) -> Stats {
    match front.ask(Ask::UnitStats { unit: unit() }).await.unwrap() {
        Reply::Stats(stats) => stats,
        other => panic!("{other:?}"),
    }
}

/// One that stays, and one that comes and goes, of each kind.
const CLIENTS: usize = 2 * 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_servers_switch_under_their_clients_as_root() {
    let folder = Arc::new(TempDir::new().unwrap());
    servers::prepare(folder.path());
    let houses = Sides {
        source: House::start("source", folder.path()),
        target: House::start("target", folder.path()),
    };
    tokio::join!(houses.source.ready(), houses.target.ready());
    let (front, listen) = front(folder, &houses).await;
    let book = Arc::new(Book::default());
    let clients: Vec<_> = Kind::ALL
        .into_iter()
        .flat_map(|kind| [(kind, 1), (kind, usize::MAX)])
        .map(|(kind, words)| tokio::spawn(book.clone().client(kind, listen[&kind], words)))
        .collect();
    until("all of them work", async || book.least(&houses.source) >= 2).await;

    assert!(done(&front.hold("h1").await));
    // Who stays is ended, and comes again at once: then everybody waits.
    front.held(CLIENTS).await;
    let (held, before) = (Instant::now(), book.visits().len());
    // Longer than a session takes: that none ends is what is looked at.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(book.visits().len(), before, "nobody was answered, and nobody refused");
    assert_eq!(stats(&front).await.tcp.target.connections, 0);
    assert!(done(&front.release("h1", Side::Target).await));
    until("all of them work", async || book.least(&houses.target) >= 3).await;
    book.over.store(true, Ordering::SeqCst);
    for client in clients {
        within("a client's end", client).await.unwrap();
    }
    until("no stream is left", async || front.status().await.streams == 0).await;
    judge(&book.visits(), &stats(&front).await, &houses, held);
    front.stop().await;
}

fn judge(visits: &[Visit], stats: &Stats, houses: &Sides<House>, held: Instant) {
    let at = |side| {
        let said = move |v: &&Visit| {
            v.said.as_ref().is_some_and(|said| said.who == houses.get(side).word(v.kind))
        };
        visits.iter().filter(said).collect::<Vec<_>>()
    };
    let (source, target) = (at(Side::Source), at(Side::Target));
    let broke: Vec<_> = visits.iter().filter(|v| v.broke.is_some()).collect();
    let unknown = visits.len() - source.len() - target.len();
    // Only what was open when the hold began was ended, and by nothing else.
    assert!(broke.iter().all(|v| v.began < held), "{broke:?}");
    let closed = stats.holds[0].closed_streams as usize;
    assert!((7..=closed).contains(&broke.len()) && closed <= CLIENTS, "{closed} {broke:?}");
    assert_eq!((stats.holds[0].refused_503, stats.holds[0].held_count), (0, CLIENTS as u64));
    // Who asked before the hold got to the source, and who waited or came later to the target.
    assert!(source.iter().all(|v| v.began < held));
    let early = target.iter().filter(|v| v.began < held).count();
    assert_eq!(early, CLIENTS, "those who waited");

    let counted = &stats.tcp;
    let connections = (counted.source.connections as usize, counted.target.connections as usize);
    assert_eq!(connections, (source.len() + unknown, target.len()));
    assert_eq!((counted.source.failed, counted.target.failed), (0, 0));
    let sum = |of: fn(&Visit) -> u64| target.iter().map(|v| of(v)).sum::<u64>();
    assert_eq!(counted.target.received, sum(|v| v.sent));
    assert_eq!(counted.target.sent, sum(|v| v.received));

    // The front stands at the source, so everybody who came after the switch is late.
    assert_eq!(stats.straggler_count, 7);
    for kind in Kind::ALL {
        let client: IpAddr = kind.client().parse().unwrap();
        let late = stats.stragglers.iter().find(|late| late.client == client).unwrap();
        let came = target.iter().filter(|v| v.kind == kind).count() as u64;
        assert_eq!(late.sides, Sides { source: 0, target: came }, "{kind:?}");
        let log = houses.target.mail_log();
        let known = match kind {
            Kind::Imap => log.contains(&format!(
                "imap-login: Info: Login: user=<one>, method=PLAIN, rip={client}"
            )),
            Kind::Smtp => log.contains(&format!("client=unknown[{client}]")),
            Kind::Pop3 => log.contains("user=<two>, method=PLAIN, rip=127.0.0.1"),
            Kind::Submission => log.contains("client=unknown[127.0.0.1]"),
            Kind::MySql | Kind::Postgres => target.iter().filter(|v| v.kind == kind).all(|v| {
                let expected =
                    if kind.told_the_client() { kind.client() } else { "127.0.0.1".into() };
                v.said.as_ref().unwrap().client == Some(expected)
            }),
            Kind::Redis => true,
        };
        assert!(known, "{kind:?}: who its server takes for the client\n{log}");
    }
}

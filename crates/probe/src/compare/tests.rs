use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A site; `page` gets the path and how many requests came before.
async fn site(page: impl Fn(&str, u64) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    told(move |path, number, _| page(path, number)).await
}

/// A site whose `page` also gets the whole head, in lower case.
async fn told(
    page: impl Fn(&str, u64, &str) -> Option<String> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (page, number) = (Arc::new(page), AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.starts_with("GET ") && !head.to_ascii_lowercase().contains("cookie"));
            let path = head.split(' ').nth(1).unwrap();
            let low = head.to_ascii_lowercase();
            if let Some(answer) = page(path, number.fetch_add(1, Ordering::Relaxed), &low) {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    address
}

fn answer(status: u16, kind: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn comparison(source: SocketAddr, target: SocketAddr, scheme: &'static str) -> Comparison {
    let server = |address| Server { address, egress: None, tls: false };
    Comparison {
        host: "shop.test".into(),
        servers: Sides { source: server(source), target: server(target) },
        scheme,
        every: Duration::ZERO,
        headers: vec!["content-type".into()],
    }
}

#[tokio::test]
async fn servers_are_asked_as_fronts_ask_and_answers_like_no_logged_one_are_told() {
    let page = |path: &str, _: u64, head: &str| match path {
        "/always" => answer(301, "text/html", ""),
        "/seldom" if head.contains("x-forwarded-proto: https\r\n") => answer(200, "text/html", "x"),
        "/same" => answer(200, "text/html", "x"),
        _ => answer(301, "text/html", ""),
    };
    let (source, target) = (told(page).await, told(page).await);
    let urls = [
        Logged::once("/always?key=secret", 200),
        Logged::once("/seldom", 200),
        Logged::once("/same", 304),
        Logged::once("/else", 302),
    ];
    let urls = [&urls[..], &[Logged::once("/always", 200)]].concat();
    let asked = async |scheme| {
        let replayed = compare(&comparison(source, target, scheme), &urls, |_| {}).await;
        assert_eq!((replayed.compared.asked, replayed.compared.same), (5, 5));
        replayed.otherwise
    };
    let secure = asked("https").await;
    assert_eq!(secure.count, 2, "{secure:?}");
    assert_eq!(secure.examples, ["/always?key=*: 301, logged 200", "/always: 301, logged 200"]);
    let clear = asked("http").await;
    assert_eq!(clear.count, 3, "a site that leads everybody to TLS shows no page: {clear:?}");
}

#[test]
fn what_visitors_speak_is_what_servers_are_told() {
    let plan = plain_unit();
    let site = plan.sites[0].clone();
    let of = |plan: &UnitPlan| {
        let comparison = Comparison::of(plan, &plan.sites[0]);
        (comparison.scheme, comparison.servers)
    };
    let address = site.backends.source.address;
    let (scheme, servers) = of(&plan);
    assert_eq!((scheme, servers.source.address, servers.source.tls), ("http", address, false));
    let mut secure = plan.clone();
    secure.fronts[0].ports[0].kind = PortKind::Tls;
    let (scheme, servers) = of(&secure);
    assert_eq!((scheme, servers.source.address, servers.source.tls), ("https", address, false));
    let unread: SocketAddr = "192.0.2.1:443".parse().unwrap();
    secure.sites[0].backends.source.passthrough = Some(unread);
    let (_, servers) = of(&secure);
    assert_eq!((servers.source.address, servers.source.tls), (unread, true));
    assert!(!servers.target.tls);
}

fn plain_unit() -> UnitPlan {
    let front = serde_json::json!({
        "name": "source", "side": "source", "listen": "192.0.2.1:80", "take_over": false,
        "egress": null, "control": "/run/a.sock", "state": "/var/a.json",
    });
    let server = serde_json::json!({
        "address": "192.0.2.1:8080", "health_path": "/", "access_log": null, "concurrency": 1,
    });
    let site = serde_json::json!({
        "name": "shop", "hosts": ["shop.test"], "probe": null,
        "backends": { "source": server, "target": server },
    });
    let unit = serde_json::json!({
        "name": "shop", "sites": [site], "fronts": [front], "databases": [], "trees": [],
        "zones": [], "workers": [], "requests_per_day": null, "created": null,
    });
    serde_json::from_value(unit).unwrap()
}

#[tokio::test]
async fn finds_what_differs_and_takes_noise_for_noise() {
    let page = |own: &'static str| {
        move |path: &str, number: u64| match path {
            "/noisy" => answer(200, "text/html", &format!("top\ntoken {own}{number}\nend\n")),
            "/torn" if own == "target" => {
                answer(200, "text/html", &format!("top\n{number}\nEND\n"))
            }
            "/torn" => answer(200, "text/html", &format!("top\n{number}\nend\n")),
            "/kind" if own == "target" => answer(200, "text/plain", "x"),
            "/gone" if own == "target" => answer(404, "text/html", "x"),
            "/body" if own == "target" => answer(200, "text/html", "other"),
            "/dead" if own == "target" => None,
            _ => answer(200, "text/html", "x"),
        }
    };
    let (source, target) = (site(page("source")).await, site(page("target")).await);
    let comparison = comparison(source, target, "http");
    let paths = ["/", "/noisy", "/torn", "/kind", "/gone", "/body?key=secret", "/dead"];
    let urls: Vec<Logged> = paths.iter().map(|path| Logged::once(*path, 200)).collect();
    let mut done = 0;
    let replayed = compare(&comparison, &urls, |now| done = now).await;
    assert_eq!(replayed.otherwise, Otherwise::default());
    let all = replayed.compared;
    assert_eq!((done, all.asked, all.same, all.noisy), (7, 7, 3, 2), "{all:?}");
    let mut found: Vec<_> = all
        .differences
        .iter()
        .map(|one| (one.kind, one.text.as_str(), one.count, one.examples.join(" ")))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            (Kind::Unanswered, "no answer at the target", 1, "/dead".into()),
            (Kind::Status, "200 at the source, 404 at the target", 1, "/gone".into()),
            (Kind::Header, "header `content-type`", 1, "/kind".into()),
            (Kind::Body, "body", 1, "/torn".into()),
        ]
    );
    assert!(all.time_ratio.is_some() && all.time_bounds.is_some());
}

#[test]
fn asks_only_for_what_is_allowed_and_shows_no_secrets() {
    let folder = tempfile::TempDir::new().unwrap();
    let log = folder.path().join("access.log");
    let line = |request: &str, status: u16| {
        format!("192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"{request}\" {status} 5 \"-\" \"x\"\n")
    };
    let text = [
        line("GET /a HTTP/1.1", 200),
        line("GET /b?key=secret&x HTTP/1.1", 200),
        line("GET /b?key=secret&x HTTP/1.1", 304),
        line("GET /admin/logout HTTP/1.1", 302),
        line("GET /b/..%2fadmin/logout HTTP/1.1", 200),
        line("GET /b?to=/../x HTTP/1.1", 200),
        line("POST /a HTTP/1.1", 200),
        line("GET /gone HTTP/1.1", 404),
        line("GET http://other/ HTTP/1.1", 200),
        "nonsense\n".to_owned(),
    ];
    std::fs::write(&log, text.concat()).unwrap();
    let read = |paths: &[&str], queries| {
        let paths: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
        logged(&log, 1 << 20, &paths, queries).unwrap()
    };
    let urls = |all: &[Logged]| all.iter().map(|one| one.path.clone()).collect::<Vec<_>>();
    assert_eq!(urls(&read(&["/a", "/b"], false)), ["/a", "/admin/logout"]);
    let all = read(&["/b", "/a"], true);
    assert_eq!(urls(&all)[0], "/b?key=secret&x");
    assert_eq!(urls(&all)[1..], ["/a", "/admin/logout", "/b?to=/../x"]);
    assert_eq!((all[0].count, all[0].masked().as_str()), (2, "/b?key=*&*"));
    assert_eq!(read(&["/never"], true), []);
}

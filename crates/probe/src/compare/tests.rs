use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A site; `page` gets the path and how many requests came before.
async fn site(page: impl Fn(&str, u64) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
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
            if let Some(answer) = page(path, number.fetch_add(1, Ordering::Relaxed)) {
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
    let comparison = Comparison {
        host: "shop.test".into(),
        servers: Sides { source: (source, None), target: (target, None) },
        every: Duration::ZERO,
        headers: vec!["content-type".into()],
    };
    let paths = ["/", "/noisy", "/torn", "/kind", "/gone", "/body?key=secret", "/dead"];
    let urls: Vec<Logged> =
        paths.iter().map(|path| Logged { path: (*path).into(), count: 1 }).collect();
    let mut done = 0;
    let all = compare(&comparison, &urls, |now| done = now).await;
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

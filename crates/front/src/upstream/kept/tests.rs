#![allow(clippy::unwrap_used)]

use super::*;
use crate::clock;
use crate::limits::Limits;
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What a backend does with one request: it writes these pieces, then goes on or closes.
#[derive(Clone)]
struct Say(Vec<Vec<u8>>, bool);

fn say(text: &str) -> Say {
    Say(vec![text.as_bytes().to_vec()], true)
}

impl Say {
    fn byte_by_byte(&self) -> Self {
        Self(self.0.concat().chunks(1).map(<[u8]>::to_vec).collect(), self.1)
    }

    fn and_closes(mut self) -> Self {
        self.1 = false;
        self
    }
}

/// A backend that answers each request, over whatever connection it comes, with the next
/// of these. Returns its pool.
async fn backend(says: Vec<Say>) -> Arc<Pool> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = Pool::new(listener.local_addr().unwrap(), None, Arc::new(Limits::default()));
    let mut says = says.into_iter();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while request(&mut stream).await {
                let Some(Say(pieces, stays)) = says.next() else { return };
                for piece in &pieces {
                    stream.write_all(piece).await.unwrap();
                    if pieces.len() > 1 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                if !stays {
                    break;
                }
            }
        }
    });
    Arc::new(pool)
}

/// Reads a request's head; false at the end of the connection.
async fn request(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

#[derive(Debug, PartialEq)]
struct Got {
    status: u16,
    body: String,
    trailers: Option<HeaderMap>,
    kept: bool,
}

/// Asks once; keeps the connection for the next time if that is possible.
async fn ask_by(pool: &Arc<Pool>, method: Method) -> Result<Got, String> {
    let now = clock::now_us();
    let mut fetch = Fetch::begin(pool.clone(), now, method == Method::HEAD, None, |into| {
        write_head(into, &method, &Uri::from_static("/x?y"), &HeaderMap::new());
        into.extend_from_slice(b"\r\n");
    });
    let asked = async {
        let response = poll_fn(|cx| fetch.poll(cx)).await.map_err(|e| e.to_string())?;
        let (parts, mut body) = response.into_parts();
        let (mut data, mut trailers) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.map_err(|e| e.to_string())?.into_data() {
                Ok(part) => data.extend_from_slice(&part),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let kept = body.into_kept();
        let got = Got {
            status: parts.status.as_u16(),
            body: String::from_utf8(data).unwrap(),
            trailers,
            kept: kept.is_some(),
        };
        if let Some(kept) = kept {
            pool.put(kept, now);
        }
        Ok(got)
    };
    tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap()
}

async fn ask_once(pool: &Arc<Pool>) -> Result<Got, String> {
    ask_by(pool, Method::GET).await
}

fn got(status: u16, body: &str, kept: bool) -> Result<Got, String> {
    Ok(Got { status, body: body.into(), trailers: None, kept })
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn reads_every_kind_of_body_in_one_piece_and_byte_by_byte() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, expected) in [
        (say(HELLO), got(200, "hello", true)),
        (say("HTTP/1.1 204 No\r\n\r\n"), got(204, "", true)),
        (say("HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n"), got(304, "", true)),
        (say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), got(200, "", true)),
        (say("HTTP/1.1 200\r\nContent-Length: 1, 1\r\n\r\nx"), got(200, "x", true)),
        (say(&format!("HTTP/1.1 103 Early\r\nLink: a\r\n\r\n{HELLO}")), got(200, "hello", true)),
        (say(&format!("{chunked}5\r\nhello\r\n0\r\n\r\n")), got(200, "hello", true)),
        (say(&format!("{chunked}2 ;x=y\r\nhe\r\n03\r\nllo\r\n0\r\n\r\n")), got(200, "hello", true)),
        (say("HTTP/1.0 200 OK\r\n\r\nhello").and_closes(), got(200, "hello", false)),
        (say("HTTP/1.1 101 Changed\r\n\r\n"), got(101, "", true)),
    ] {
        let text = String::from_utf8(answer.0.concat()).unwrap();
        for answer in [answer.byte_by_byte(), answer] {
            let pool = backend(vec![answer]).await;
            assert_eq!(ask_once(&pool).await, expected, "{text:?}");
        }
    }
}

#[tokio::test]
async fn passes_trailers_on() {
    let answer =
        say("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\nSum: 9\r\n\r\n");
    let pool = backend(vec![answer]).await;
    let got = ask_once(&pool).await.unwrap();
    assert_eq!((got.body.as_str(), got.kept), ("x", true));
    assert_eq!(got.trailers.unwrap()["sum"], "9");
}

#[tokio::test]
async fn an_answer_whose_end_is_not_clear_is_none() {
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for head in [
        format!("HTTP/1.1 200 OK\r\n{length}{chunked}\r\n5\r\nhello\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{length}Content-Length: 6\r\n\r\nhello"),
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\nhello".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello".into(),
        format!("HTTP/1.1 200 OK\r\n{chunked}{chunked}\r\n5\r\nhello\r\n0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".into(),
        format!("HTTP/1.0 200 OK\r\n{chunked}\r\n5\r\nhello\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n5\nhello\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n5\r\nhello!\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n0x5\r\nhello\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n-5\r\nhello\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n\r\nhello\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n11111111111111111\r\nhello\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n5{}\r\nhello\r\n0\r\n\r\n", " ;x".repeat(600)),
        format!("HTTP/1.1 200 OK\r\n{chunked}\r\n0\r\nno trailer\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n{length}\r\nhello", "x".repeat(70_000)),
        format!("HTTP/1.1 200 OK\r\n{}{length}\r\nhello", "A: b\r\n".repeat(300)),
        "HTTP/1.1 200 OK\r\nA b\r\n\r\n".into(),
        "HTTP/1.1 999999\r\n\r\n".into(),
        "220 mail.example.test ESMTP\r\n".into(),
    ] {
        let pool = backend(vec![say(&head).and_closes()]).await;
        let shown = head.chars().take(90).collect::<String>();
        assert!(ask_once(&pool).await.is_err(), "{shown:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_an_error() {
    for text in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Len",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let pool = backend(vec![say(text).and_closes()]).await;
        assert!(ask_once(&pool).await.is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_one_that_was_left_is_not() {
    let pool = backend(vec![say(HELLO), say(HELLO).and_closes(), say(HELLO), say(HELLO)]).await;
    let is_kept = || pool.idle.lock().unwrap().len();
    assert_eq!(ask_once(&pool).await, got(200, "hello", true));
    assert_eq!(is_kept(), 1);
    assert_eq!(ask_once(&pool).await, got(200, "hello", true), "over the same one");
    // The backend closed: nobody notices.
    assert_eq!(ask_once(&pool).await, got(200, "hello", true), "over a new one");
    assert_eq!(ask_once(&pool).await, got(200, "hello", true));
    assert_eq!(is_kept(), 1);
}

#[tokio::test]
async fn is_sent_again_only_if_nothing_was_heard() {
    let cut = "HTTP/1.1 2";
    let pool = backend(vec![say(HELLO), say("").and_closes(), say(HELLO)]).await;
    assert!(ask_once(&pool).await.is_ok());
    assert_eq!(ask_once(&pool).await, got(200, "hello", true), "closed without a byte");
    let pool = backend(vec![say(HELLO), say(cut).and_closes(), say(HELLO)]).await;
    assert!(ask_once(&pool).await.is_ok());
    assert!(ask_once(&pool).await.is_err(), "closed in the middle");
    let pool = backend(vec![say("").and_closes(), say(HELLO)]).await;
    assert!(ask_once(&pool).await.is_err(), "over a connection that is new");
}

#[tokio::test]
async fn what_comes_behind_an_answer_spoils_the_connection() {
    let pool = backend(vec![say(&format!("{HELLO}more")), say(HELLO)]).await;
    assert_eq!(ask_once(&pool).await, got(200, "hello", false));
    let pool = backend(vec![Say(vec![HELLO.into(), b"more".to_vec()], true), say(HELLO)]).await;
    assert_eq!(ask_once(&pool).await, got(200, "hello", true));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(pool.reuse(clock::now_us(), None).is_none(), "it says something nobody asked for");
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let pool = backend(vec![say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), say(HELLO)]).await;
    assert_eq!(ask_by(&pool, Method::HEAD).await, got(200, "", true));
    assert_eq!(ask_once(&pool).await, got(200, "hello", true));
}

#[tokio::test]
async fn a_long_body_arrives_whole() {
    let text = "0123456789abcdef".repeat(1 << 16);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
    let pool = backend(vec![say(&(head + &text)), say(HELLO)]).await;
    assert_eq!(ask_once(&pool).await, got(200, &text, true));
    assert_eq!(ask_once(&pool).await, got(200, "hello", true));
}

/// A backend that writes an answer's head, says so, and writes the body once it is told to.
async fn head_first(said: Arc<AtomicBool>, mut goes_on: mpsc::Receiver<()>) -> Arc<Pool> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = Pool::new(listener.local_addr().unwrap(), None, Arc::new(Limits::default()));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (head, body) = HELLO.split_at(HELLO.len() - 5);
        while request(&mut stream).await {
            stream.write_all(head.as_bytes()).await.unwrap();
            said.store(true, Ordering::SeqCst);
            goes_on.recv().await.unwrap();
            said.store(false, Ordering::SeqCst);
            stream.write_all(body.as_bytes()).await.unwrap();
        }
    });
    Arc::new(pool)
}

/// Asks up to the answer's head; `waits` is told whenever it waits though the head was said.
async fn up_to_head(pool: &Arc<Pool>, said: &AtomicBool, waits: impl Fn()) -> Arriving {
    let mut fetch = Fetch::begin(pool.clone(), clock::now_us(), false, None, |into| {
        write_head(into, &Method::GET, &Uri::from_static("/"), &HeaderMap::new());
        into.extend_from_slice(b"\r\n");
    });
    let asked = poll_fn(|cx| {
        let was_said = said.load(Ordering::SeqCst);
        let polled = fetch.poll(cx);
        if was_said && polled.is_pending() {
            waits();
        }
        polled
    });
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap();
    asked.unwrap().into_body()
}

async fn whole(mut body: Arriving) -> (Vec<u8>, Option<Box<Kept>>) {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        whole.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    (whole, body.into_kept())
}

#[tokio::test]
async fn a_head_takes_a_body_along_that_is_close_behind() {
    let (go_on, goes_on) = mpsc::channel(1);
    let said = Arc::new(AtomicBool::new(false));
    let pool = head_first(said.clone(), goes_on).await;
    let mut together = 0;
    for _ in 0..40 {
        let mut body = up_to_head(&pool, &said, || _ = go_on.try_send(())).await;
        let first = tokio::time::timeout(Duration::ZERO, body.frame()).await;
        together += usize::from(first.is_ok());
        if first.is_err() && said.load(Ordering::SeqCst) {
            // It did not wait.
            let _ = go_on.try_send(());
        }
        let rest = whole(body).await;
        pool.put(rest.1.unwrap(), clock::now_us());
    }
    assert!(together > 0);
}

#[tokio::test]
async fn a_head_does_not_wait_long_for_its_body() {
    let (go_on, goes_on) = mpsc::channel(1);
    let said = Arc::new(AtomicBool::new(false));
    let pool = head_first(said.clone(), goes_on).await;
    for _ in 0..3 {
        let body = up_to_head(&pool, &said, || {}).await;
        go_on.send(()).await.unwrap();
        let (whole, kept) = whole(body).await;
        assert_eq!(whole, b"hello");
        pool.put(kept.unwrap(), clock::now_us());
    }
}

#[test]
fn writes_a_head_as_it_is() {
    let mut headers = HeaderMap::new();
    headers.insert("host", "a.test".parse().unwrap());
    headers.append("cookie", "a=1".parse().unwrap());
    headers.append("cookie", "b=2".parse().unwrap());
    let mut written = Vec::new();
    write_head(&mut written, &Method::GET, &Uri::from_static("/p?q=1"), &headers);
    let text = String::from_utf8(written).unwrap();
    assert_eq!(text, "GET /p?q=1 HTTP/1.1\r\nhost: a.test\r\ncookie: a=1\r\ncookie: b=2\r\n");
}

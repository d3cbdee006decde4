//! Servers that are told with the PROXY protocol who the client of a connection is.

use crate::certificates::*;
use crate::support::*;
use crate::takeover::Nginx;
use crate::tls::tls_options;
use segue_front::FrontOptions;
use segue_front::control::{Reach, ServerTls, Servers, Verify};
use segue_model::Sides;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// nginx that wants the PROXY protocol, in clear and over TLS.
struct Told {
    _nginx: Nginx,
    clear: SocketAddr,
    tls: SocketAddr,
}

impl Told {
    async fn start(folder: &Path, certificate: &Certificate) -> Self {
        certificate.lay(folder);
        let (clear, tls, folder) = (free_address(), free_address(), folder.display());
        let config = format!(
            "daemon off; pid {folder}/pid; error_log {folder}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen {clear} proxy_protocol; listen {tls} ssl proxy_protocol;\n\
             ssl_certificate {folder}/fullchain.pem; ssl_certificate_key {folder}/privkey.pem;\n\
             add_header x-client $proxy_protocol_addr:$proxy_protocol_port;\n\
             add_header x-listen $proxy_protocol_server_addr:$proxy_protocol_server_port;\n\
             add_header x-connection $connection; location / {{ return 200 \"ok\\n\"; }} }} }}\n"
        );
        let nginx = Nginx::with(&folder.to_string(), config, tls).await;
        Self { _nginx: nginx, clear, tls }
    }
}

/// A front whose unit's servers at the source are these.
async fn front(
    server: SocketAddr,
    servers: Servers,
    change: impl FnOnce(&mut FrontOptions),
) -> Running {
    let folder = Arc::new(TempDir::new().unwrap());
    let mut options = options(folder.path(), free_address(), free_address());
    change(&mut options);
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    route(&front, server, Sides { source: servers, ..Sides::default() }).await;
    front
}

async fn route(front: &Running, source: SocketAddr, servers: Sides<Servers>) {
    let reach = Reach { servers, ..Reach::default() };
    let backends = Sides { source, target: free_address() };
    assert!(done(&front.reach(backends, reach).await));
}

fn told() -> Servers {
    Servers { proxy_out: true, ..Servers::default() }
}

/// A client with a connection of its own, which stays open.
struct Caller {
    stream: TcpStream,
    address: SocketAddr,
}

impl Caller {
    async fn from(client: &str, front: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{client}:0").parse().unwrap()).unwrap();
        let stream = socket.connect(front).await.unwrap();
        let address = stream.local_addr().unwrap();
        Self { stream, address }
    }

    /// Asks once, and returns what the server says of the connection.
    async fn asks(&mut self, method: &str, more: &str) -> HashMap<String, String> {
        let head =
            format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n{more}Content-Length: 2\r\n\r\nhi");
        let head = if method == "GET" {
            head.replace("Content-Length: 2\r\n\r\nhi", "\r\n")
        } else {
            head
        };
        self.stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.contains("\r\n\r\nok\n") {
            let mut room = [0; 2_048];
            let read = within("an answer", self.stream.read(&mut room)).await.unwrap();
            assert!(read > 0, "{text}");
            text.push_str(std::str::from_utf8(&room[..read]).unwrap());
        }
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let fields = text.lines().filter_map(|line| line.split_once(": "));
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_knows_every_client_and_no_two_share_a_connection() {
    let folder = TempDir::new().unwrap();
    let certificate = Certificate::made(&[HOST]);
    let nginx = Told::start(folder.path(), &certificate).await;
    let pins = Verify::Pins { sha256: vec![certificate.sha256()] };
    let tls = Servers { tls: Some(ServerTls { name: None, verify: pins }), ..told() };
    for (server, servers) in [(nginx.clear, told()), (nginx.tls, tls)] {
        let front = front(server, servers, |_| {}).await;
        let mut callers = Vec::new();
        for client in ["127.0.0.2", "127.0.0.3", "127.0.0.3"] {
            callers.push(Caller::from(client, front.address).await);
        }
        let (mut of, mut gets) = (HashMap::new(), Vec::new());
        for method in ["GET", "GET", "POST", "GET"] {
            for caller in &mut callers {
                let said = caller.asks(method, "").await;
                assert_eq!(said["x-client"], caller.address.to_string(), "{method}");
                assert_eq!(said["x-listen"], front.address.to_string());
                let connection = said["x-connection"].clone();
                let other = of.insert(connection.clone(), caller.address);
                assert!(other.is_none_or(|other| other == caller.address), "shared");
                if method == "GET" {
                    gets.push(connection);
                }
            }
        }
        assert_eq!(gets[..3], gets[3..6], "a client's own connection is used again");
        assert_eq!(gets[..3], gets[6..]);
        front.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_behind_a_trusted_proxy_are_told_apart_over_one_connection() {
    let folder = TempDir::new().unwrap();
    let nginx = Told::start(folder.path(), &Certificate::made(&[HOST])).await;
    let trusted = |options: &mut FrontOptions| {
        options.trusted = vec!["127.0.0.1".parse().unwrap()];
    };
    let front = front(nginx.clear, told(), trusted).await;
    let mut proxy = Caller::from("127.0.0.1", front.address).await;
    let mut connections = Vec::new();
    for client in ["203.0.113.7", "2001:db8::9", "203.0.113.7", "2001:db8::9"] {
        let said = proxy.asks("GET", &format!("X-Forwarded-For: {client}\r\n")).await;
        // Its port is not known: 0, which nginx does not show.
        assert_eq!(said["x-client"], format!("{client}:"));
        connections.push(said["x-connection"].clone());
    }
    assert_ne!(connections[0], connections[1]);
    assert_eq!(connections[..2], connections[2..]);
    let said = proxy.asks("GET", "").await;
    assert_eq!(said["x-client"], proxy.address.to_string(), "the proxy's own request");
    front.stop().await;
}

/// Reads the header of IPv4 that a connection begins with; returns address and port.
async fn introduced(stream: &mut TcpStream) -> String {
    let mut header = [0; 28];
    within("a header", stream.read_exact(&mut header)).await.unwrap();
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    let [a, b, c, d] = [header[16], header[17], header[18], header[19]];
    format!("{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([header[24], header[25]]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_http_and_what_is_not_read_is_introduced_too() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = server.local_addr().unwrap();
    let folder = Arc::new(TempDir::new().unwrap());
    Certificate::made(&["other.example.test"]).lay(&folder.path().join("certificates/own"));
    let mut options = tls_options(folder.path(), free_address(), own);
    let clear = free_address();
    options.ports.push(segue_front::PortOptions {
        kind: segue_model::plan::PortKind::Http,
        listen: clear,
        tls: None,
        ..options.ports[0].clone()
    });
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    let unread = |address| Servers { passthrough: Some(address), ..told() };
    let servers = Sides { source: unread(own), target: unread(free_address()) };
    route(&front, own, servers).await;

    let mut socket = Caller::from("127.0.0.2", clear).await;
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    socket.stream.write_all(head.as_bytes()).await.unwrap();
    let (mut stream, _) = within("a connection", server.accept()).await.unwrap();
    assert_eq!(introduced(&mut stream).await, socket.address.to_string());
    let mut request = [0; 7];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"GET /ws");
    drop((socket, stream));

    let trust = Trust::of(&[], rustls::ALL_VERSIONS);
    let address = front.address;
    let client = tokio::spawn(async move { trust.connect(address, HOST).await.is_ok() });
    let (mut stream, _) = within("a connection", server.accept()).await.unwrap();
    assert!(introduced(&mut stream).await.starts_with("127.0.0.1:"));
    let mut record = [0; 3];
    stream.read_exact(&mut record).await.unwrap();
    assert_eq!(record[..2], [22, 3], "the client's own first message");
    drop(stream);
    assert!(!within("the client's end", client).await.unwrap());
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_of_the_fronts_own_names_no_client() {
    let (one, two) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let beside = vec![two.local_addr().unwrap()];
    let servers = Servers { beside, check: Some("/up".into()), ..told() };
    let front = front(one.local_addr().unwrap(), servers, |_| {}).await;
    let (mut looked, _) = within("a look", one.accept()).await.unwrap();
    let mut header = [0; 23];
    within("a header", looked.read_exact(&mut header)).await.unwrap();
    assert_eq!(&header, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /up");
    front.stop().await;
}

use super::*;

#[test]
fn strips_what_the_connection_header_names_but_never_the_framing() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "keep-alive, X-Private, content-length"),
        ("x-private", "1"),
        ("x-second", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("content-length", "3"),
        ("cookie", "sid=1"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(CONNECTION, HeaderValue::from_static("x-second"));
    let seen = Seen::of(&headers);
    strip(&mut headers, seen);
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-length", "cookie"]);
}

#[test]
fn honours_a_wish_only_for_reading_from_loopback_in_the_name_of_the_run() {
    for (method, loopback, wish, expected) in [
        (Method::GET, true, "target run-1", Some(Side::Target)),
        (Method::HEAD, true, "source run-1", Some(Side::Source)),
        (Method::GET, false, "target run-1", None),
        (Method::POST, true, "target run-1", None),
        (Method::GET, true, "target", None),
        (Method::GET, true, "target run-2", None),
        (Method::GET, true, "elsewhere run-1", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(TO, HeaderValue::from_static(wish));
        let seen = Seen::of(&headers);
        let claimed = |run: &[u8]| run == b"run-1";
        let taken = take_wish(&method, &mut headers, seen, loopback, claimed);
        assert_eq!(taken, expected, "{method} {wish}");
        assert!(headers.is_empty());
    }
}

#[test]
fn changes_to_a_protocol_only_where_nothing_of_http_is_left() {
    let wanted = |method: &str, version, protocol: &'static str, body: &str| {
        let request = Request::builder().method(method).version(version);
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, protocol);
        let request = request.body(body.to_owned()).unwrap();
        wanted_upgrade(&request, Seen::of(request.headers())).is_some()
    };
    assert!(wanted("GET", Version::HTTP_11, "websocket", ""));
    assert!(wanted("POST", Version::HTTP_11, "SPDY/3.1", ""));
    assert!(wanted("POST", Version::HTTP_11, "tcp", "{\"Tty\":true}"));
    assert!(wanted("GET", Version::HTTP_11, "websocket", "body"));
    assert!(wanted("POST", Version::HTTP_11, "tcp", &"x".repeat(16 << 10)));
    assert!(!wanted("POST", Version::HTTP_11, "tcp", &"x".repeat((16 << 10) + 1)));
    assert!(!wanted("GET", Version::HTTP_10, "websocket", ""));
    assert!(!wanted("GET", Version::HTTP_11, "h2c", ""));
    assert!(!wanted("POST", Version::HTTP_11, "h2c", ""));
    assert!(!wanted("GET", Version::HTTP_11, "websocket, H2C", ""));
}

#[test]
fn refuses_unclear_hosts_and_brings_absolute_targets_home() {
    let build = |uri: &str, hosts: &[&'static str]| {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_static(host));
        }
        request
    };
    let check = |request: &mut Request<()>| {
        let seen = Seen::of(request.headers());
        check(request, seen)
    };
    assert!(check(&mut build("/", &[])).is_err());
    assert!(check(&mut build("/", &["a.test", "b.test"])).is_err());
    let mut absolute = build("http://b.test:81/x?y=1", &["a.test"]);
    check(&mut absolute).unwrap();
    assert_eq!(host(absolute.headers()), "b.test:81");
    assert_eq!(absolute.uri(), "/x?y=1");
}

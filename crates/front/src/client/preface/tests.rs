#![allow(clippy::unwrap_used)]

use super::*;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns a header of version 2 that names a client and the address it came to.
fn write(client: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(0x21);
    let (from, at) = (client.ip().to_canonical(), to.ip().to_canonical());
    if let (IpAddr::V4(from), IpAddr::V4(at)) = (from, at) {
        header.extend_from_slice(&[0x11, 0, 12]);
        header.extend_from_slice(&from.octets());
        header.extend_from_slice(&at.octets());
    } else {
        header.extend_from_slice(&[0x21, 0, 36]);
        header.extend_from_slice(&wide(from).octets());
        header.extend_from_slice(&wide(at).octets());
    }
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&to.port().to_be_bytes());
    header
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// What a connection says whose client sent these pieces, and what is left of them.
async fn read_from(pieces: &[&[u8]]) -> (Result<Option<SocketAddr>, NoPreface>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let reading = tokio::spawn(async move {
        let outcome = read(&mut stream).await;
        let mut left = Vec::new();
        let _ = stream.read_to_end(&mut left).await;
        (outcome, left)
    });
    for piece in pieces {
        if client.write_all(piece).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = client.shutdown().await;
    tokio::time::timeout(Duration::from_secs(5), reading).await.unwrap().unwrap()
}

#[tokio::test]
async fn reads_both_versions_and_nothing_behind_them() {
    let v4 = write(address("192.0.2.7:4711"), address("198.51.100.1:80"));
    let v6 = write(address("[2001:db8::7]:4711"), address("[2001:db8::1]:80"));
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n".to_vec();
    let six = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec();
    for (header, client) in [
        (v4, Some("192.0.2.7:4711")),
        (v6, Some("[2001:db8::7]:4711")),
        (line, Some("192.0.2.7:4711")),
        (six, Some("[2001:db8::7]:4711")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN what ever\r\n".to_vec(), None),
    ] {
        let client = client.map(address);
        let mut whole = header.clone();
        whole.extend_from_slice(b"GET / HTTP/1.1\r\n\r\nmore");
        let (outcome, left) = read_from(&[&whole]).await;
        assert_eq!(outcome.unwrap(), client);
        assert_eq!(left, b"GET / HTTP/1.1\r\n\r\nmore");
        // Byte by byte it is the same.
        let pieces: Vec<&[u8]> = header.chunks(1).chain([&b"rest\n"[..]]).collect();
        let (outcome, left) = read_from(&pieces).await;
        assert_eq!((outcome.unwrap(), left), (client, b"rest\n".to_vec()));
    }
}

#[tokio::test]
async fn what_is_cut_off_or_something_else_is_no_header() {
    let whole = write(address("192.0.2.7:4711"), address("198.51.100.1:80"));
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    for text in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"PROXY TCP4", &long, &whole[..20]] {
        assert!(read_from(&[text]).await.0.is_err(), "{text:?}");
    }
}

#[test]
fn a_line_is_read_to_the_letter() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 080\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +4711 80\r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 4711 80\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 4711 80\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 4711 80\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 4711 80\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 4711 80\r\n",
        "proxy TCP4 192.0.2.7 198.51.100.1 4711 80\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY \r\n",
    ] {
        assert!(text(line.as_bytes()).is_err(), "{line:?}");
    }
}

#[test]
fn version_2_is_read_to_the_bit() {
    let header = |command: u8, family: u8, length: u16| {
        let mut head = [0; HEAD_2];
        head[..12].copy_from_slice(SIGNATURE);
        head[12..14].copy_from_slice(&[command, family]);
        head[14..].copy_from_slice(&length.to_be_bytes());
        head
    };
    let rest = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80, 3, 0, 1, 0];
    let client = Ok(Some(address("192.0.2.7:4711")));
    assert_eq!(binary(&header(0x21, 0x11, 12), &rest[..12]), client);
    assert_eq!(binary(&header(0x21, 0x11, 16), &rest), client, "notes behind are not read");
    assert!(binary(&header(0x21, 0x11, 11), &rest[..11]).is_err());
    assert!(binary(&header(0x21, 0x21, 12), &rest[..12]).is_err());
    assert_eq!(binary(&header(0x20, 0x77, 0), &[]), Ok(None), "LOCAL");
    assert_eq!(binary(&header(0x21, 0x00, 0), &[]), Ok(None), "nothing known");
    for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x21, 0x13), (0x21, 0x41), (0x01, 0)] {
        assert!(binary(&header(command, family, 12), &rest[..12]).is_err(), "{command} {family}");
    }
    assert!(rest_of(&header(0x21, 0x11, 2_048)).is_ok());
    assert!(rest_of(&header(0x21, 0x11, 2_049)).is_err());
}

#[test]
fn mixed_families_are_written_as_ipv6() {
    let header = write(address("192.0.2.7:1"), address("[2001:db8::1]:2"));
    let (head, rest) = header.split_first_chunk::<HEAD_2>().unwrap();
    let client = binary(head, rest).unwrap().unwrap();
    assert_eq!((client.ip().to_canonical(), client.port()), (address("192.0.2.7:1").ip(), 1));
}

/// Headers with some octets changed: one that is taken names what stands in it, and nothing
/// breaks off. `SEGUE_FUZZ_SECONDS` says for how long.
#[test]
fn mutations_name_what_they_hold_or_nobody() {
    let seconds = std::env::var("SEGUE_FUZZ_SECONDS").ok().and_then(|value| value.parse().ok());
    let end = std::time::Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    let (mut dice, mut made, mut named) = (0x9e37_79b9_u64, 0_u64, 0_u64);
    let mut below = |bound: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % bound as u64) as usize
    };
    let lines = [
        &b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"[..],
        b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n",
        b"PROXY UNKNOWN\r\n",
    ];
    let binaries = [
        write(address("192.0.2.7:4711"), address("192.0.2.1:80")),
        write(address("[2001:db8::7]:4711"), address("[2001:db8::1]:80")),
    ];
    while std::time::Instant::now() < end {
        let is_line = below(2) == 0;
        let mut bytes = if is_line { lines[below(3)].to_vec() } else { binaries[below(2)].clone() };
        for _ in 0..below(4) {
            let place = below(bytes.len());
            match below(3) {
                0 => bytes[place] = b"\r\n\0 .:0159afTCPU\x20\x21\x11"[below(19)],
                1 if bytes.len() > 17 => drop(bytes.remove(place)),
                _ => bytes.insert(place, below(256) as u8),
            }
        }
        made += 1;
        if is_line {
            if let Ok(Some(client)) = text(&bytes) {
                let said = String::from_utf8(bytes).unwrap();
                let words: Vec<&str> = said.trim_end().split(' ').collect();
                assert_eq!(words.len(), 6, "{said}");
                assert_eq!(words[2].parse::<IpAddr>().unwrap(), client.ip());
                assert_eq!(words[4], client.port().to_string());
                named += 1;
            }
        } else if let Some((head, rest)) = bytes.split_first_chunk::<HEAD_2>()
            && rest_of(head).is_ok()
            && let Ok(Some(client)) = binary(head, rest)
        {
            let octets = match client.ip() {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            assert!(rest.starts_with(&octets), "{}", bytes.escape_ascii());
            named += 1;
        }
    }
    println!("{made} headers, {named} of them name a client");
    assert!(named > 100 && made > named);
}

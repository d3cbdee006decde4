//! Frames of HTTP/2 as no good client sends them.

use crate::certificates::Trust;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that came back.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection on which any octets can be sent.
pub(crate) struct Raw {
    stream: TlsStream<TcpStream>,
    next: u32,
}

impl Raw {
    /// Connects, and sends preface and settings.
    pub(crate) async fn connect(
        address: SocketAddr,
        trust: &Trust,
        name: &str,
        settings: &[(u16, u32)],
    ) -> Self {
        let mut stream = trust.connect_for(address, name, b"h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream.write_all(PREFACE).await.unwrap();
        let mut this = Self { stream, next: 1 };
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        this.send(SETTINGS, 0, 0, &settings).await.unwrap();
        this
    }

    pub(crate) async fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Opens a stream with these fields, as they are.
    pub(crate) async fn ask(&mut self, fields: &[(&str, &str)], flags: u8) -> std::io::Result<u32> {
        let stream = self.next;
        self.next += 2;
        self.send(HEADERS, flags | END_HEADERS, stream, &block(fields)).await?;
        Ok(stream)
    }

    /// Returns the next frame; none at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & !(1 << 31);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// What became of a stream: `200`, `reset 1`, `goaway 11`, or `end`.
    pub(crate) async fn outcome(&mut self, stream: u32) -> String {
        while let Some(frame) = self.frame().await {
            match frame.kind {
                HEADERS if frame.stream == stream => return status(&frame.payload),
                RESET if frame.stream == stream => return format!("reset {}", frame.payload[3]),
                GOAWAY if frame.payload[7] != 0 => return format!("goaway {}", frame.payload[7]),
                SETTINGS if frame.flags == 0 => {
                    let _ = self.send(SETTINGS, 1, 0, &[]).await;
                }
                _ => {}
            }
        }
        "end".to_owned()
    }
}

/// The status of an answer, of those that the tables of HPACK have or that stand there in plain
/// or Huffman digits.
fn status(block: &[u8]) -> String {
    // A change of the table's size comes first.
    let block = block.strip_prefix(&[0x20][..]).unwrap_or(block);
    let known = ["200", "204", "206", "304", "400", "404", "500"];
    match block {
        [index @ 0x88..=0x8e, ..] => known[usize::from(index - 0x88)].to_owned(),
        // A literal with the name of `:status`.
        [0x48, length, rest @ ..] if length & 0x80 == 0 => {
            String::from_utf8_lossy(&rest[..usize::from(*length)]).into_owned()
        }
        [0x48, length, rest @ ..] => digits(&rest[..usize::from(length & 0x7f)]),
        other => format!("{other:02x?}"),
    }
}

/// Three digits in the Huffman code of RFC 7541 B.
fn digits(bytes: &[u8]) -> String {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut text) = (0, String::new());
    while text.len() < 3 {
        let five = u8::from_str_radix(&bits[at..at + 5], 2).unwrap();
        if five <= 2 {
            text.push(char::from(b'0' + five));
            at += 5;
        } else {
            let six = u8::from_str_radix(&bits[at..at + 6], 2).unwrap();
            text.push(char::from(b'3' + six - 0b01_1001));
            at += 6;
        }
    }
    text
}

/// Fields as literals that no table keeps.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            match text.len() {
                short @ ..127 => block.push(short as u8),
                long => {
                    block.push(127);
                    let mut rest = long - 127;
                    while rest >= 128 {
                        block.push((rest % 128) as u8 | 128);
                        rest /= 128;
                    }
                    block.push(rest as u8);
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

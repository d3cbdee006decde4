//! One connection to the site, and one exchange on it.

use crate::fail::Fail;
use crate::wire::{Body, Framing, Head, parse_head};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    /// Address it was opened to.
    pub(crate) address: SocketAddr,
    rest: Vec<u8>,
}

impl Conn {
    /// Opens a connection.
    ///
    /// # Errors
    /// What the socket says.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Fail> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address, rest: Vec::new() })
    }

    /// Whether the connection can carry another request: the peer neither ended it nor
    /// sent bytes that nobody asked for. Asks the kernel, not the runtime's last view.
    pub(crate) fn alive(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(&self.stream).peek(&mut byte);
        self.rest.is_empty()
            && matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// What the socket says.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<(), Fail> {
        Ok(self.stream.write_all(request).await?)
    }

    /// Reads the head of the answer, passing over interim answers.
    ///
    /// # Errors
    /// [`Fail::Eof`] if the connection ends first.
    pub(crate) async fn head(&mut self) -> Result<Head, Fail> {
        loop {
            while let Some((head, length)) = parse_head(&self.rest)? {
                self.rest.drain(..length);
                if head.status >= 200 {
                    return Ok(head);
                }
            }
            if self.fill().await? == 0 {
                return Err(Fail::Eof);
            }
        }
    }

    /// Takes what is there of a body into `out`, waiting for more if nothing is.
    /// Returns false once the body is complete.
    ///
    /// # Errors
    /// [`Fail::Eof`] if the connection ends where the body does not.
    pub(crate) async fn more(&mut self, body: &mut Body, out: &mut Vec<u8>) -> Result<bool, Fail> {
        if body.complete() {
            return Ok(false);
        }
        if self.rest.is_empty() && self.fill().await? == 0 {
            return if body.may_end_here() { Ok(false) } else { Err(Fail::Eof) };
        }
        let used = body.take(&self.rest, out)?;
        self.rest.drain(..used);
        Ok(!body.complete())
    }

    /// Reads the whole body that follows a head.
    ///
    /// # Errors
    /// What broke the answer off.
    pub(crate) async fn body(&mut self, framing: Framing) -> Result<Vec<u8>, Fail> {
        let mut body = Body::new(framing);
        let mut bytes = Vec::new();
        while self.more(&mut body, &mut bytes).await? {}
        Ok(bytes)
    }

    async fn fill(&mut self) -> Result<usize, Fail> {
        self.rest.reserve(4096);
        Ok(self.stream.read_buf(&mut self.rest).await?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers one request with `bytes`, then ends the connection: cleanly or with a reset.
    async fn answering(bytes: &'static [u8], reset: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            if reset {
                socket2::SockRef::from(&stream)
                    .set_linger(Some(std::time::Duration::ZERO))
                    .unwrap();
            }
        });
        address
    }

    async fn ask(address: SocketAddr) -> Result<(Head, Vec<u8>), Fail> {
        let mut conn = Conn::open(address).await?;
        conn.send(b"GET / HTTP/1.1\r\n\r\n").await?;
        let head = conn.head().await?;
        let body = conn.body(head.framing).await?;
        Ok((head, body))
    }

    #[tokio::test]
    async fn tells_the_ways_apart_in_which_an_answer_breaks_off() {
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345";
        let cut_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n";
        assert_eq!(ask(answering(b"", false).await).await.unwrap_err(), Fail::Eof);
        assert_eq!(ask(answering(b"", true).await).await.unwrap_err(), Fail::Reset);
        assert_eq!(ask(answering(cut, false).await).await.unwrap_err(), Fail::Eof);
        assert_eq!(ask(answering(cut_chunk, false).await).await.unwrap_err(), Fail::Eof);
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ask(nobody).await.unwrap_err(), Fail::Refused);
    }

    #[tokio::test]
    async fn takes_a_body_that_ends_with_the_connection() {
        let bytes = b"HTTP/1.0 200 OK\r\n\r\nall";
        let (head, body) = ask(answering(bytes, false).await).await.unwrap();
        assert_eq!(body, b"all");
        assert!(!head.keep);
    }

    #[tokio::test]
    async fn sees_that_the_peer_ended_an_idle_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let conn = Conn::open(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        assert!(conn.alive());
        drop(peer);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while conn.alive() {
            assert!(std::time::Instant::now() < deadline, "the end was never seen");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

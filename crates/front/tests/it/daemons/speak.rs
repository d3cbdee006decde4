//! What clients of mail and databases say, as much of it as shows who answers.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    MySql,
    Postgres,
    Redis,
    Imap,
    Pop3,
    Smtp,
    Submission,
}

/// What a server said of itself, and of its client as far as it can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) who: String,
    pub(crate) client: Option<String>,
}

/// A client's connection, counted in bytes.
pub(crate) struct Conn {
    stream: BufReader<TcpStream>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Conn {
    pub(crate) async fn open(client: &str, server: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(client.parse().unwrap(), 0))?;
        let stream = BufReader::new(socket.connect(server).await?);
        Ok(Self { stream, sent: 0, received: 0 })
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.sent += bytes.len() as u64;
        Ok(())
    }

    /// Reads a line, without its end.
    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.received += self.stream.read_line(&mut line).await? as u64;
        match line.pop() {
            Some('\n') => Ok(line.trim_end().to_owned()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads lines up to one that begins so.
    async fn until(&mut self, begin: &str) -> io::Result<String> {
        loop {
            let line = self.line().await?;
            if line.starts_with(begin) {
                return Ok(line);
            }
            if ["a NO", "a BAD", "-ERR", "4", "5"].iter().any(|bad| line.starts_with(bad)) {
                return Err(io::Error::other(line));
            }
        }
    }

    /// Says a line and reads what comes up to one that begins so.
    async fn ask(&mut self, line: &str, begin: &str) -> io::Result<String> {
        self.say(format!("{line}\r\n").as_bytes()).await?;
        self.until(begin).await
    }

    async fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await?;
        self.received += count as u64;
        Ok(bytes)
    }

    /// Reads to the end that the server makes.
    async fn rest(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// A packet of MySQL's protocol.
    async fn packet(&mut self) -> io::Result<Vec<u8>> {
        let head = self.exactly(4).await?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        let packet = self.exactly(length).await?;
        match packet.first() {
            Some(0xff) => Err(io::Error::other(String::from_utf8_lossy(&packet).into_owned())),
            _ => Ok(packet),
        }
    }

    async fn say_packet(&mut self, number: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = (body.len() as u32).to_le_bytes()[..3].to_vec();
        packet.push(number);
        packet.extend(body);
        self.say(&packet).await
    }

    /// Asks MySQL for one value.
    async fn select(&mut self, what: &str) -> io::Result<String> {
        self.say_packet(0, format!("\x03select {what}").as_bytes()).await?;
        let (mut row, mut ends) = (String::new(), 0);
        while ends < 2 {
            let packet = self.packet().await?;
            match packet[0] {
                0xfe => ends += 1,
                _ if ends == 1 => row = String::from_utf8_lossy(&packet[1..]).into_owned(),
                _ => {}
            }
        }
        Ok(row)
    }

    /// Reads PostgreSQL's messages until it is ready for the next; the last value of a row.
    async fn ready(&mut self) -> io::Result<String> {
        let mut value = String::new();
        loop {
            let head = self.exactly(5).await?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let body = self.exactly(length).await?;
            match head[0] {
                b'Z' => return Ok(value),
                b'D' => value = String::from_utf8_lossy(&body[6..]).into_owned(),
                b'E' => return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
                _ => {}
            }
        }
    }

    async fn query(&mut self, query: &str) -> io::Result<String> {
        let mut message = vec![b'Q'];
        message.extend((query.len() as u32 + 5).to_be_bytes());
        message.extend([query.as_bytes(), b"\0"].concat());
        self.say(&message).await?;
        self.ready().await
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::MySql,
        Self::Postgres,
        Self::Redis,
        Self::Imap,
        Self::Pop3,
        Self::Smtp,
        Self::Submission,
    ];

    /// Whether its servers are told with the PROXY protocol who the client is.
    pub(crate) fn told_the_client(self) -> bool {
        matches!(self, Self::MySql | Self::Imap | Self::Smtp)
    }

    /// Where its clients come from.
    pub(crate) fn client(self) -> String {
        format!("127.0.9.{}", self as u8 + 1)
    }

    /// Begins a session, does something in it, and asks the server who it is.
    pub(crate) async fn begin(self, conn: &mut Conn) -> io::Result<Said> {
        let named = |banner: &str| {
            let names = ["source", "target"];
            let who = names.into_iter().find(|name| banner.contains(name)).unwrap_or(banner);
            Said { who: who.to_owned(), client: None }
        };
        match self {
            Self::MySql => mysql(conn).await,
            Self::Postgres => {
                let asks = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
                conn.say(&[&(asks.len() as u32 + 4).to_be_bytes()[..], asks].concat()).await?;
                conn.ready().await?;
                let who = conn.query("select inet_server_port()").await?;
                let client = conn.query("select host(inet_client_addr())").await?;
                Ok(Said { who, client: Some(client) })
            }
            Self::Redis => {
                conn.ask("CONFIG GET port", "$4").await?;
                conn.until("$").await?;
                Ok(Said { who: conn.line().await?, client: None })
            }
            Self::Imap => {
                let banner = conn.until("* OK").await?;
                conn.ask("a LOGIN one x", "a OK").await?;
                conn.ask("a SELECT INBOX", "a OK").await?;
                Ok(named(&banner))
            }
            Self::Pop3 => {
                let banner = conn.until("+OK").await?;
                conn.ask("USER two", "+OK").await?;
                conn.ask("PASS x", "+OK").await?;
                conn.ask("STAT", "+OK").await?;
                Ok(named(&banner))
            }
            Self::Smtp | Self::Submission => {
                let banner = conn.until("220 ").await?;
                conn.ask("EHLO client.test", "250 ").await?;
                conn.ask("MAIL FROM:<one@client.test>", "250 ").await?;
                conn.ask("RCPT TO:<two@shop.test>", "250 ").await?;
                conn.ask("DATA", "354 ").await?;
                conn.ask("Subject: hello\r\n\r\nhello\r\n.", "250 ").await?;
                Ok(named(&banner))
            }
        }
    }

    /// Shows that the session is still there.
    pub(crate) async fn go_on(self, conn: &mut Conn) -> io::Result<()> {
        match self {
            Self::MySql => conn.select("1").await.map(drop),
            Self::Postgres => conn.query("select 1").await.map(drop),
            Self::Redis => conn.ask("PING", "+PONG").await.map(drop),
            Self::Imap => conn.ask("a NOOP", "a OK").await.map(drop),
            Self::Pop3 => conn.ask("NOOP", "+OK").await.map(drop),
            Self::Smtp | Self::Submission => conn.ask("NOOP", "250 ").await.map(drop),
        }
    }

    /// Ends the session as its protocol has it.
    pub(crate) async fn end(self, conn: &mut Conn) -> io::Result<()> {
        match self {
            Self::MySql => conn.say_packet(0, &[1]).await?,
            Self::Postgres => conn.say(b"X\0\0\0\x04").await?,
            Self::Imap => conn.say(b"a LOGOUT\r\n").await?,
            _ => conn.say(b"QUIT\r\n").await?,
        }
        conn.rest().await
    }
}

/// Logs in without a password, and asks for port and client.
async fn mysql(conn: &mut Conn) -> io::Result<Said> {
    conn.packet().await?;
    // The protocol of 4.1, a salted password (none), and a plugin by name.
    let mut answer = 0x0008_8200_u32.to_le_bytes().to_vec();
    answer.extend(0x0100_0000_u32.to_le_bytes());
    answer.push(33);
    answer.extend([0; 23]);
    answer.extend(b"probe\0\0mysql_native_password\0");
    conn.say_packet(1, &answer).await?;
    conn.packet().await?;
    let said = conn.select("concat(@@port, ' ', user())").await?;
    let (who, user) = said.split_once(' ').unwrap();
    let client = user.split_once('@').unwrap().1.to_owned();
    Ok(Said { who: who.to_owned(), client: Some(client) })
}

//! A name server that follows its provider's records: each change when it is due.

use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder, ToName};
use domain::zonefile::inplace::{Entry, Zonefile};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Octets of a datagram.
const DATAGRAM_MAX: usize = 1232;

/// Sets by name (no dot at its end) and type: TTL and data.
pub(crate) type Sets = BTreeMap<(String, String), (u32, Vec<String>)>;

/// A set as it shall be; none if it shall be gone.
pub(crate) type Patch = Vec<((String, String), Option<(u32, Vec<String>)>)>;

/// One name server.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

struct Inside {
    sets: Sets,
    due: Vec<(Instant, Patch)>,
}

impl Inside {
    fn catch_up(&mut self) {
        let now = Instant::now();
        // In the order in which they were sent.
        let due = std::mem::take(&mut self.due);
        for (at, patch) in due {
            if at > now {
                self.due.push((at, patch));
                continue;
            }
            for (key, set) in patch {
                match set {
                    Some(set) => self.sets.insert(key, set),
                    None => self.sets.remove(&key),
                };
            }
        }
    }
}

impl Edge {
    pub(crate) async fn start(sets: Sets) -> Self {
        let address = crate::named::free_port();
        let socket = UdpSocket::bind(address).await.unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let inside = Arc::new(Mutex::new(Inside { sets, due: Vec::new() }));
        let edge = Self { address, inside };
        let serving = edge.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if let Some(mut answer) = serving.answer(&buffer[..length]) {
                    if answer.len() > DATAGRAM_MAX {
                        // Too much for a datagram: header and question, and the bit that says so.
                        answer = answer[..length].to_vec();
                        answer[2] |= 2;
                        answer[6..8].fill(0);
                    }
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        let serving = edge.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut question = vec![0; usize::from(length)];
                        stream.read_exact(&mut question).await.unwrap();
                        let Some(answer) = serving.answer(&question) else { return };
                        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        edge
    }

    /// Lets it have a change from a moment on.
    pub(crate) fn later(&self, at: Instant, patch: Patch) {
        self.inside.lock().unwrap().due.push((at, patch));
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_octets(question).ok()?;
        let asked = question.sole_question().ok()?;
        let name = asked.qname().to_canonical_name::<Vec<u8>>();
        let mut inside = self.inside.lock().unwrap();
        inside.catch_up();
        let key = (name.to_string(), asked.qtype().to_string());
        let exists = inside.sets.keys().any(|(known, _)| *known == key.0);
        let rcode = if exists { Rcode::NOERROR } else { Rcode::NXDOMAIN };
        let mut answer = MessageBuilder::new_vec().start_answer(&question, rcode).ok()?;
        answer.header_mut().set_aa(true);
        if let Some((ttl, data)) = inside.sets.get(&key) {
            for text in data {
                let line = format!("{}. {ttl} IN {} {text}\n", key.0, key.1);
                let mut file = Zonefile::from(line.as_str());
                file.set_default_class(Class::IN);
                let Ok(Some(Entry::Record(record))) = file.next_entry() else {
                    panic!("{line}");
                };
                answer.push(record).ok()?;
            }
        }
        Some(answer.finish())
    }
}

//! What the lines of one interval say.

use super::passing::{Passing, is_here};
use segue_model::plan::OWN_AGENT;
use std::net::IpAddr;

/// Addresses that are named of those who came around.
const NAMED_MAX: usize = 3;

/// What stands before the address of the connection, at the end of a line. Only a server's own
/// configuration writes there: whatever a visitor says stands in quotes before it.
const PEER: &str = "peer=";

/// Who asks servers around the fronts, or as a front that looks whether they are well.
const AGENTS: [&str; 2] = [OWN_AGENT, "segue-front"];

/// Lines of one interval.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) all: u64,
    /// Those of a front, by their address.
    pub(super) fronts: u64,
    pub(super) direct: u64,
    /// Whether a line has the address of its connection.
    pub(super) told: bool,
    /// Some addresses of those who came around.
    pub(super) from: Vec<IpAddr>,
    /// First field of a line that is no address.
    pub(super) odd: Option<String>,
}

impl Lines {
    /// Takes a line. What Segue itself asked for around the fronts is nobody's.
    pub(super) fn take(&mut self, line: &[u8], passing: &Passing, own_paths: &[String]) {
        let first = line.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        if first.is_empty() {
            return;
        }
        self.all += 1;
        let peer = peer(line);
        self.told |= peer.is_some();
        let first = String::from_utf8_lossy(first);
        let Some(address) = peer.or_else(|| first.parse().ok()) else {
            self.odd = Some(first.into_owned());
            return;
        };
        let passes = passing.has(address);
        let asks = |own: &String| path(line) == Some(own.as_str());
        // Where others share the address, a visitor may have asked a front for that path.
        let asked = passing.is_alone() && passes && own_paths.iter().any(asks);
        if asked || is_marked(line) && (passing.is_alone() && passes || is_here(address)) {
            return;
        }
        if passes {
            self.fronts += 1;
            return;
        }
        self.direct += 1;
        if self.from.len() < NAMED_MAX && !self.from.contains(&address) {
            self.from.push(address);
        }
    }
}

/// Returns the path in `... "GET /path HTTP/1.1" ...`.
fn path(line: &[u8]) -> Option<&str> {
    let request = line.split(|b| *b == b'"').nth(1)?;
    std::str::from_utf8(request).ok()?.split(' ').nth(1)
}

/// Returns whether the `User-Agent` is Segue's: the third field in quotes, as the combined format
/// has it, whatever follows, or the last one.
fn is_marked(line: &[u8]) -> bool {
    let fields = || line.split(|b| *b == b'"');
    let own = |field: &[u8]| AGENTS.iter().any(|agent| agent.as_bytes() == field);
    fields().nth(5).is_some_and(own) || line.rsplit(|b| *b == b'"').nth(1).is_some_and(own)
}

/// Returns the address in `... peer=192.0.2.1`, behind the last quote.
fn peer(line: &[u8]) -> Option<IpAddr> {
    let end = line.rsplit(|b| *b == b'"').next()?;
    let mut words = std::str::from_utf8(end).ok()?.split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix(PEER)?.parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FRONT: &str = "192.0.2.250";

    fn lines(all: &[&str]) -> Lines {
        let passing = Passing::only([FRONT.parse().unwrap()]);
        let mut lines = Lines::default();
        all.iter().for_each(|line| lines.take(line.as_bytes(), &passing, &["/up".into()]));
        lines
    }

    fn line(from: &str, path: &str, agent: &str, end: &str) -> String {
        format!("{from} - - [x] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"{agent}\"{end}\n")
    }

    #[test]
    fn the_address_of_the_connection_counts_where_a_line_has_it() {
        let all = [
            line("198.51.100.1", "/", "x", " peer=192.0.2.250"),
            line("198.51.100.1", "/", "x", " 0.004 peer=198.51.100.1"),
            line("shop.example.test", "/", "x", " peer=::ffff:192.0.2.250"),
            // What a visitor says is no such address.
            line("198.51.100.2", "/", "peer=192.0.2.250", ""),
            line("198.51.100.3", "/", "x\\\" peer=192.0.2.250", ""),
        ];
        let all = lines(&all.each_ref().map(String::as_str));
        assert_eq!((all.all, all.fronts, all.direct, all.told), (5, 2, 3, true));
        assert_eq!(all.odd, None);
    }

    #[test]
    fn what_segue_asks_itself_is_nobodys() {
        let all = [
            line(FRONT, "/up", "x", ""),
            line(FRONT, "/a", OWN_AGENT, ""),
            line("127.0.0.1", "/a", OWN_AGENT, ""),
            // Elsewhere anybody can say so.
            line("198.51.100.2", "/a", OWN_AGENT, ""),
            line("198.51.100.2", "/up", "x", ""),
        ];
        let all = lines(&all.each_ref().map(String::as_str));
        assert_eq!((all.all, all.fronts, all.direct, all.told), (5, 0, 2, false));
    }

    #[test]
    fn where_others_share_the_address_a_path_alone_makes_no_request_segues_own() {
        let mut lines = Lines::default();
        for line in [
            line("127.0.0.1", "/up", "x", ""),
            line("127.0.0.1", "/up", OWN_AGENT, ""),
            line("127.0.0.1", "/up", "segue-front", ""),
            // nginx's own format has a field more.
            line("127.0.0.1", "/up", OWN_AGENT, " \"-\""),
            line("198.51.100.2", "/up", OWN_AGENT, ""),
        ] {
            let passing = Passing::shared(["127.0.0.1".parse().unwrap()]);
            lines.take(line.as_bytes(), &passing, &["/up".into()]);
        }
        assert_eq!((lines.all, lines.fronts, lines.direct), (5, 1, 1));
    }
}

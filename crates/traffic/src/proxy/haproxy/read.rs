//! What HAProxy says, taken apart.

use super::super::driver::Held;
use segue_front::control::{HoldId, Running};
use segue_model::{Side, Sides};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The end of a hold that has none, milliseconds.
const NEVER_MS: u64 = 99_999_999_999_999;

/// Writes a hold as the script reads it.
pub(super) fn written(held: Option<&Held>) -> String {
    match held {
        None => "0,0,0,-".to_owned(),
        Some(Held { id, until_ms, age_max_ms, count_max }) => {
            let until = until_ms.unwrap_or(NEVER_MS);
            format!("{until},{age_max_ms},{count_max},{id}")
        }
    }
}

/// Reads a hold as it was written; none if there never was one.
pub(super) fn held(value: &str) -> Option<Held> {
    let mut parts = value.splitn(4, ',');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (until, age_max_ms, count_max) = (number()?, number()?, number()?);
    let id = parts.next()?;
    (until > 0).then(|| Held {
        id: HoldId(id.to_owned()),
        until_ms: (until < NEVER_MS).then_some(until),
        age_max_ms,
        count_max: usize::try_from(count_max).unwrap_or(usize::MAX),
    })
}

/// Reads the value in an answer to `get map`; none if the key is not there.
pub(super) fn value(answer: &str) -> Option<&str> {
    answer.contains("found=yes").then_some(())?;
    answer.split_once("value=\"")?.1.split_once('"').map(|(value, _)| value)
}

/// Reads a field of `show info`.
pub(super) fn info<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// One line of `show stat`, by the names of its columns.
pub(super) fn row(answer: &str) -> BTreeMap<&str, &str> {
    let mut lines = answer.lines();
    let names = lines.next().unwrap_or_default().trim_start_matches("# ").split(',');
    names.zip(lines.next().unwrap_or_default().split(',')).collect()
}

/// Reads a number of a line.
pub(super) fn number(row: &BTreeMap<&str, &str>, name: &str) -> u64 {
    row.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Reads the addresses of a backend's servers from `show servers state`.
pub(super) fn servers(answer: &str) -> Vec<SocketAddr> {
    let mut lines = answer.lines().skip_while(|line| !line.starts_with("# "));
    let names: Vec<&str> =
        lines.next().unwrap_or_default().trim_start_matches("# ").split(' ').collect();
    let column = |name: &str| names.iter().position(|one| *one == name);
    let (Some(address), Some(port)) = (column("srv_addr"), column("srv_port")) else {
        return Vec::new();
    };
    let server = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ip: IpAddr = words.get(address)?.parse().ok()?;
        Some(SocketAddr::new(ip, words.get(port)?.parse().ok()?))
    };
    lines.filter_map(server).collect()
}

/// A session at a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// Its name in commands.
    pub(super) id: String,
    /// How long it is there, milliseconds; HAProxy tells seconds.
    pub(super) age_ms: u64,
    /// Whether it changed to another protocol: nothing of it is HTTP any more.
    pub(super) is_stream: bool,
}

impl From<&Session> for Running {
    fn from(session: &Session) -> Self {
        Self { method: "request".into(), path: session.id.clone(), age_ms: session.age_ms }
    }
}

/// Reads the sessions of some backends from `show sess`.
pub(super) fn sessions(answer: &str, backends: &[String]) -> Vec<Session> {
    let session = |line: &str| {
        let (id, rest) = line.split_once(": ")?;
        let field = |name: &str| rest.split(' ').find_map(|word| word.strip_prefix(name));
        let backend = field("be=")?;
        if !backends.iter().any(|one| one == backend) {
            return None;
        }
        // Analysers of request and answer; a tunnel has none on either way.
        let idle = |name: &str| field(name).is_some_and(|text| text.contains(",an=00h,"));
        Some(Session {
            id: id.to_owned(),
            age_ms: age_ms(field("age=")?),
            is_stream: idle("rq[") && idle("rp["),
        })
    };
    answer.lines().filter_map(session).collect()
}

/// Reads an age such as `2h5m`, `59s` or `1d3h`.
fn age_ms(text: &str) -> u64 {
    let (mut seconds, mut number) = (0_u64, 0_u64);
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number = number * 10 + u64::from(c as u32 - '0' as u32);
                continue;
            }
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            _ => 1,
        };
        seconds += number * unit;
        number = 0;
    }
    seconds * 1_000
}

/// What the script counted for a unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Script {
    /// The last hold.
    pub(super) id: String,
    pub(super) waiting: usize,
    pub(super) held: u64,
    pub(super) longest_us: u64,
    pub(super) refused: u64,
    /// Longest time from a request's head to the head of its answer, by side.
    pub(super) slowest_us: Sides<u64>,
    /// Answer times by side: bucket `n` holds those up to 1.1^n microseconds.
    pub(super) times: Sides<BTreeMap<i32, u64>>,
}

/// Reads the answer of the script.
pub(super) fn script(answer: &str) -> Script {
    let mut all = Script::default();
    for line in answer.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number =
            |index: usize| words.get(index).and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
        let side = match words.get(1) {
            Some(&"target") => Side::Target,
            _ => Side::Source,
        };
        match words.first().copied() {
            Some("id") => all.id = words.get(1).copied().unwrap_or_default().to_owned(),
            Some("waiting") => all.waiting = usize::try_from(number(1)).unwrap_or(usize::MAX),
            Some("held") => all.held = number(1),
            Some("longest_us") => all.longest_us = number(1),
            Some("refused") => all.refused = number(1),
            Some("slowest_us") => *all.slowest_us.get_mut(side) = number(2),
            Some("times") => {
                if let Some(bucket) = words.get(2).and_then(|w| w.parse().ok()) {
                    all.times.get_mut(side).insert(bucket, number(3));
                }
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_comes_back_as_it_was_written() {
        let leased = Held {
            id: "run-1-cutover-1".into(),
            until_ms: Some(1_796_035_961_000),
            age_max_ms: 5_000,
            count_max: 10,
        };
        for held_now in [leased.clone(), Held { until_ms: None, ..leased }] {
            assert_eq!(held(&written(Some(&held_now))), Some(held_now));
        }
        assert_eq!(held(&written(None)), None);
        assert_eq!(held("nonsense"), None);
    }

    /// As HAProxy 2.6.12 says it: a page that runs, its own socket, a WebSocket.
    #[test]
    fn tells_requests_that_run_from_streams() {
        let answer = "\
0x55f45fb258f0: proto=tcpv4 src=127.0.0.1:47524 fe=web be=segue_a_source srv=app ts=00 epoch=0 age=1m2s calls=2 rate=0 cpu=0 lat=0 rq[f=49c40080h,i=0,an=8000h,rx=,wx=,ax=] rp[f=80400000h,i=0,an=1400000h,rx=59s,wx=,ax=] scf=[8,80h,fd=13] scb=[8,11h,fd=14] exp=4s rc=0 c_exp=
0x55f45fc4a000: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0 age=0s calls=1 rate=1 cpu=0 lat=0 rq[f=c08002h,i=0,an=00h,rx=10s,wx=,ax=] rp[f=80008002h,i=0,an=00h,rx=,wx=,ax=] scf=[8,0h,fd=16] scb=[8,1h,fd=-1] exp=10s rc=0 c_exp=
0x7f6b680422d0: proto=tcpv4 src=127.0.0.1:47520 fe=web be=segue_a_source srv=app ts=00 epoch=0 age=1s calls=3 rate=0 cpu=0 lat=0 rq[f=48c48000h,i=0,an=00h,rx=,wx=,ax=] rp[f=88048202h,i=0,an=00h,rx=59m59s,wx=,ax=] scf=[8,0h,fd=12] scb=[8,11h,fd=15] exp=4s rc=0 c_exp=";
        let found = sessions(answer, &["segue_a_source".to_owned()]);
        let told: Vec<_> = found.iter().map(|s| (s.age_ms, s.is_stream)).collect();
        assert_eq!(told, [(62_000, false), (1_000, true)]);
        assert_eq!(sessions(answer, &["segue_b_source".to_owned()]), []);
    }

    #[test]
    fn reads_maps_counters_and_the_script() {
        let found = r#"type=str, case=sensitive, found=yes, idx=tree, key="shop", value="1,2,3,x", type="str""#;
        assert_eq!(value(found), Some("1,2,3,x"));
        assert_eq!(value("type=str, case=sensitive, found=no"), None);
        let row = row("# pxname,svname,scur\nsegue_a_source,BACKEND,7\n");
        assert_eq!((number(&row, "scur"), number(&row, "stot")), (7, 0));
        let state = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_port\n\
                     3 segue_a_source 1 app 192.0.2.1 2 80\n";
        assert_eq!(servers(state), ["192.0.2.1:80".parse().unwrap()]);
        let all = script("id h-1\nwaiting 2\nheld 5\nslowest_us target 9\ntimes source 88 4\n");
        assert_eq!((all.id.as_str(), all.waiting, all.held), ("h-1", 2, 5));
        assert_eq!((all.slowest_us.target, all.times.source.get(&88)), (9, Some(&4)));
    }
}

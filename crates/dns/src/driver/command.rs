//! A program of the operator that reads and changes records, for providers that Segue does not
//! know.
//!
//! It is started with one argument more, reads one JSON object from standard input and writes
//! one to standard output:
//!
//! * `read`: in `{"zone"}`, out `{"serial"?, "records": [{"name", "type", "ttl", "data": [..]}]}`,
//!   every record of the zone, or at least every one that it would change;
//! * `change`: in `{"zone", "former": [..], "wanted": [..]}`, sets as above, one without `data`
//!   does not exist. Exit code 0: done; 3: the sets are not as `former` says, nothing was
//!   changed; any other: it failed, and its last words are shown.
//!
//! Exit codes are not believed: what it says it did is read back by `read`, then at every name
//! server.

use super::reread::{as_expected, keep_name_servers, start_of, wait_out};
use super::{Capabilities, Driver, Late, Session, State, Swap, Tried, Whole, apex};
use crate::change::Change;
use crate::codes;
use crate::sets::{self, RecordSet, SetKey};
use crate::zone::Contents;
use async_trait::async_trait;
use domain::base::Rtype;
use segue_doors::process::{Finished, Invocation, end_marked};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time of one run.
const RUN_MAX: Duration = Duration::from_secs(60);
/// Most octets of what it writes.
const OUT_MAX: usize = 64 << 20;
/// How long processes that are ended may take for it.
const ENDING: Duration = Duration::from_secs(2);
/// Exit code that says that the sets are not as they should be.
const MOVED: i32 = 3;

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        driver: "command",
        all_or_none: false,
        atomic_when_asked: false,
        swap: Swap::ReadAgain,
        late: Late::WaitedFor,
        signs: false,
        ttl_min_s: 0,
        largest: "as the program says",
        own_ns: true,
        remark: "what the program cannot do, Segue cannot promise",
    }
}

/// A program that reads and changes records.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) zone: String,
    pub(super) command: Vec<String>,
    pub(super) servers: Vec<SocketAddr>,
}

/// A set as the program reads and writes it.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    #[serde(default)]
    ttl: u32,
    #[serde(default)]
    data: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Read {
    #[serde(default)]
    serial: Option<u32>,
    records: Vec<Written>,
}

impl Written {
    fn of(set: &RecordSet) -> Self {
        Self {
            name: set.key.name.to_string(),
            rtype: set.key.rtype.to_string(),
            ttl: set.ttl,
            data: set.texts(),
        }
    }

    fn is(&self, key: &SetKey) -> bool {
        self.rtype.eq_ignore_ascii_case(&key.rtype.to_string())
            && sets::owner(&self.name).is_ok_and(|name| name == key.name)
    }

    fn set(&self) -> Result<RecordSet, String> {
        let rtype = Rtype::from_str(&self.rtype).map_err(|_| format!("type `{}`", self.rtype))?;
        let key = SetKey { name: sets::owner(&self.name)?, rtype };
        sets::parse_provider(&key, self.ttl, &self.data)
    }
}

#[async_trait]
impl Driver for Command {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn place(&self) -> String {
        format!("command `{}`", self.command.first().map_or("", String::as_str))
    }

    fn takes_keys(&self) -> bool {
        true
    }

    fn by_hand(&self) -> String {
        format!(
            "at the provider that `{}` speaks to: write each owned set as the journal's `former` of \
             this step shows it",
            self.command.join(" ")
        )
    }

    async fn open(&self, _op: &str, _until: Instant) -> Outcome<Box<dyn Session>> {
        Ok(Box::new(self.clone()))
    }

    async fn whole(&self, until: Instant) -> Outcome<Whole> {
        let op = format!("read zone `{}`", self.zone);
        let soa = start_of(&apex(&self.zone)?, &self.servers, &op, until).await?;
        let mut sets = self.read(None, &op, until).await?.1;
        sets.retain(|key, set| key.rtype != Rtype::SOA && set.exists());
        Ok(Whole::of(Contents { soa, sets }))
    }
}

impl Command {
    /// Returns how the mark of every process begins that a run of the program starts: another
    /// program, or the same one with other words, changes another provider of the zone.
    fn mark(&self) -> String {
        let words = blake3::hash(self.command.join("\0").as_bytes()).to_hex();
        format!("dns/{}/{}/", self.zone, &words[..16])
    }

    async fn run(&self, verb: &str, input: &Value, op: &str, until: Instant) -> Outcome<Finished> {
        let left = until.saturating_duration_since(Instant::now()).min(RUN_MAX);
        let invocation = Invocation::from_vector(&self.command, left)?
            .arg(verb)
            .stdin(input.to_string().into_bytes())
            .mark(format!("{}command", self.mark()))
            .keep(OUT_MAX);
        invocation.run().await.map_err(|mut fault| {
            fault.op = format!("{op}: {}", fault.op);
            fault
        })
    }

    fn failed(&self, done: &Finished, op: &str) -> Fault {
        let cause = format!("it ended with {}: {}", done.status, done.last_words());
        Fault::new(codes::API, FaultKind::Invalid, format!("{op} by {}", self.place()), cause)
            .hint("run it by hand with the same arguments to see why")
    }

    /// Reads all sets, or some.
    async fn read(
        &self,
        only: Option<&[SetKey]>,
        op: &str,
        until: Instant,
    ) -> Outcome<(Option<u32>, BTreeMap<SetKey, RecordSet>)> {
        let done = self.run("read", &json!({ "zone": self.zone }), op, until).await;
        let done = done.map_err(|fault| fault.leaving(EffectLeft::None))?;
        if !done.status.success() {
            return Err(self.failed(&done, op).leaving(EffectLeft::None));
        }
        let unreadable = |cause: String| {
            Fault::new(codes::API, FaultKind::Invalid, format!("{op} by {}", self.place()), cause)
                .hint("write one object with `records`; nothing was changed")
        };
        let read: Read =
            serde_json::from_slice(&done.stdout).map_err(|e| unreadable(e.to_string()))?;
        let mut sets = BTreeMap::new();
        for written in &read.records {
            // A type that is not known here cannot be owned.
            if only.is_some_and(|only| !only.iter().any(|key| written.is(key))) {
                continue;
            }
            let set = written.set().map_err(unreadable)?;
            if let Some(twice) = sets.insert(set.key.clone(), set) {
                return Err(unreadable(format!("`{}` stands there twice", twice.key)));
            }
        }
        Ok((read.serial, sets))
    }
}

#[async_trait]
impl Session for Command {
    async fn state(&mut self, keys: &[SetKey], op: &str, until: Instant) -> Outcome<State> {
        let soa = start_of(&apex(&self.zone)?, &self.servers, op, until).await?;
        let (serial, mut all) = self.read(Some(keys), op, until).await?;
        let mut set =
            |key: &SetKey| all.remove(key).unwrap_or_else(|| RecordSet::absent(key.clone()));
        Ok(State {
            serial,
            negative_ttl_s: soa.negative_ttl,
            minimum_s: None,
            sets: keys.iter().map(&mut set).collect(),
        })
    }

    async fn change(&mut self, change: &Change, op: &str, until: Instant) -> Outcome<Tried> {
        keep_name_servers(&self.zone, change, op)?;
        let keys: Vec<SetKey> = change.former.iter().map(|set| set.key.clone()).collect();
        if !as_expected(&self.state(&keys, op, until).await?, change) {
            return Ok(Tried::Moved);
        }
        let pairs = || change.former.iter().zip(&change.wanted).filter(|(a, b)| a != b);
        let former: Vec<Written> = pairs().map(|(former, _)| Written::of(former)).collect();
        let wanted: Vec<Written> = pairs().map(|(_, wanted)| Written::of(wanted)).collect();
        let input = json!({ "zone": self.zone, "former": former, "wanted": wanted });
        let done = self.run("change", &input, op, until).await;
        let done = done.map_err(|fault| match fault.code.as_str() {
            // It was never started.
            "SG0881" | "SG0882" => fault.leaving(EffectLeft::None),
            _ => fault.leaving(EffectLeft::Maybe),
        })?;
        match done.code() {
            Some(0) => Ok(Tried::Acknowledged),
            Some(MOVED) => Ok(Tried::Moved),
            _ => Err(self.failed(&done, op).leaving(EffectLeft::Maybe)),
        }
    }

    /// Ends what a former run of the program left, then waits for what that had sent.
    async fn close_off(&mut self, op: &str, until: Instant) -> Outcome<()> {
        end_marked(&self.mark(), |_| true, ENDING).await?;
        wait_out(op, until).await
    }
}

//! A toy world that outlives its controller, and the controller's tables.
//!
//! The world is a server on a socket, in the process of the test; the controller is another
//! process and is killed. A change lands some milliseconds after it was asked for, and much
//! later if who asked has gone meanwhile: the late effects of the real world.

use async_trait::async_trait;
use segue_engine::crashpoint::hit;
use segue_engine::{Budget, Journal, Pause, Retry, Step, Table};
use segue_model::event::{Event, Phase, Record};
use segue_model::{EffectLeft, Fault, FaultKind};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// Steps of the three tables, in order.
pub(crate) const SYNC: [&str; 2] = ["claim", "seed"];
pub(crate) const PREPARE: [&str; 1] = ["insert"];
pub(crate) const CUTOVER: [&str; 5] = ["hold", "fence", "seal", "promote", "route"];

/// What the world is and what it noticed.
#[derive(Default)]
pub(crate) struct World {
    /// Steps that are in force.
    pub(crate) on: BTreeSet<String>,
    /// Promises that were broken.
    pub(crate) violations: Vec<String>,
    /// Changes that landed.
    pub(crate) changes: u32,
    /// A step whose run is refused, with what it leaves.
    pub(crate) refuses: Option<(String, EffectLeft)>,
    /// Changes that were asked for and have neither landed nor been refused.
    pub(crate) pending: u32,
    quenched: BTreeMap<String, u64>,
    oldest_epoch: BTreeMap<String, u64>,
    dice: u64,
}

impl World {
    /// Starts the world's server; it looks into the journal in `run_dir` at every change.
    pub(crate) fn start(run_dir: &Path, seed: u64) -> (Arc<Mutex<Self>>, PathBuf) {
        let socket = run_dir.join("world.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let world = Arc::new(Mutex::new(Self { dice: seed | 1, ..Self::default() }));
        let shared = Arc::clone(&world);
        let run_dir = run_dir.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (world, run_dir) = (Arc::clone(&shared), run_dir.clone());
                std::thread::spawn(move || serve(stream, &world, &run_dir));
            }
        });
        (world, socket)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    fn change(&mut self, op: &str, step: &str, run_dir: &Path) {
        self.changes += 1;
        if !announced(run_dir, op, step) {
            self.violations.push(format!("{op} {step} without an intent in the journal"));
        }
        match op {
            "run" => self.on.insert(step.to_owned()),
            _ => self.on.remove(step),
        };
        let source_writes = !self.on.contains("fence");
        let target_writes = self.on.contains("promote");
        if source_writes && target_writes {
            self.violations.push(format!("two writers after {op} {step}"));
        }
        if op == "undo" && ["promote", "route"].contains(&step) {
            self.violations.push(format!("{step} was undone"));
        }
    }
}

/// Says whether the newest intent about `step` announces `op`.
fn announced(run_dir: &Path, op: &str, step: &str) -> bool {
    let records = Journal::read_all(run_dir).unwrap();
    let newest = records.iter().rev().find_map(|record| match &record.event {
        Event::StepIntended { step: of, .. } if of.as_str() == step => Some("run"),
        Event::UndoIntended { step: of, .. } if of.as_str() == step => Some("undo"),
        _ => None,
    });
    newest == Some(op)
}

fn serve(stream: UnixStream, world: &Mutex<World>, run_dir: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|len| len > 0) {
        let request: Value = serde_json::from_str(&line).unwrap();
        let op = request["op"].as_str().unwrap();
        let step = request["step"].as_str().unwrap();
        let epoch = request["epoch"].as_u64().unwrap();
        let answer = answer(op, step, epoch, world, run_dir, &writer);
        // A controller that was killed does not read its answer.
        let _ = writeln!(writer, "{answer}");
        line.clear();
    }
}

/// Says whether who asked has gone; there is one request a connection.
fn is_orphan(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let gone = matches!((&mut &*stream).read(&mut [0]), Ok(0));
    stream.set_nonblocking(false).unwrap();
    gone
}

fn answer(
    op: &str,
    step: &str,
    epoch: u64,
    world: &Mutex<World>,
    run_dir: &Path,
    stream: &UnixStream,
) -> Value {
    let mut now = world.lock().unwrap();
    match op {
        "quench" => {
            *now.quenched.entry(step.to_owned()).or_default() += 1;
            now.oldest_epoch.insert(step.to_owned(), epoch);
            return json!("done");
        }
        "observe" => return json!(if now.on.contains(step) { "applied" } else { "not applied" }),
        _ => {}
    }
    let refused = now.refuses.clone().filter(|(of, _)| of == step && op == "run");
    if refused.as_ref().is_some_and(|(_, left)| *left == EffectLeft::None) {
        return json!("refused");
    }
    let generation = now.quenched.get(step).copied();
    let delay = Duration::from_micros(now.roll(4000));
    let lateness = Duration::from_millis(40 + now.roll(100));
    now.pending += 1;
    drop(now);
    std::thread::sleep(delay);
    if is_orphan(stream) {
        std::thread::sleep(lateness);
    }
    let mut now = world.lock().unwrap();
    now.pending -= 1;
    let stale = now.oldest_epoch.get(step).is_some_and(|oldest| epoch < *oldest);
    if stale || now.quenched.get(step).copied() != generation {
        return json!("quenched");
    }
    now.change(op, step, run_dir);
    json!(if refused.is_some() { "lost" } else { "done" })
}

/// An effect that asks the world.
struct Asks {
    step: &'static str,
    socket: PathBuf,
}

impl Asks {
    async fn ask(&self, op: &str, call: &Call) -> Outcome<String> {
        let fault = |cause: &dyn std::fmt::Display| {
            let op = format!("{op} `{}`", self.step);
            Fault::new("SG0600", FaultKind::Unreachable, op, cause).leaving(EffectLeft::Maybe)
        };
        let stream = tokio::net::UnixStream::connect(&self.socket).await;
        let mut stream = stream.map_err(|error| fault(&error))?;
        let epoch = call.authority.epoch;
        let request = json!({ "op": op, "step": self.step, "epoch": epoch });
        let line = format!("{request}\n");
        stream.write_all(line.as_bytes()).await.map_err(|error| fault(&error))?;
        hit("asked", &format!("{op} {}", self.step));
        let mut answer = String::new();
        tokio::io::BufReader::new(stream)
            .read_line(&mut answer)
            .await
            .map_err(|error| fault(&error))?;
        match serde_json::from_str::<String>(&answer).map_err(|error| fault(&error))?.as_str() {
            "refused" => Err(fault(&"refused").leaving(EffectLeft::None)),
            "lost" => Err(fault(&"the answer was lost")),
            "quenched" => Err(fault(&"quenched").leaving(EffectLeft::None)),
            answer => Ok(answer.to_owned()),
        }
    }
}

#[async_trait]
impl Effect for Asks {
    fn what(&self) -> String {
        format!("put {} in force", self.step)
    }

    fn by_hand(&self) -> String {
        format!("take {} out of force", self.step)
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        self.ask("run", call).await.map(|_| json!(self.step))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        Ok(match self.ask("observe", call).await?.as_str() {
            "applied" => Observed::Applied(json!(self.step)),
            _ => Observed::NotApplied,
        })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        self.ask("undo", call).await.map(drop)
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        self.ask("quench", call).await.map(drop)
    }
}

/// Returns the table of a phase over the world behind `socket`.
pub(crate) fn table(phase: Phase, socket: &Path) -> Table {
    let names: &[&'static str] = match phase {
        Phase::Sync => &SYNC,
        Phase::Prepare => &PREPARE,
        _ => &CUTOVER,
    };
    let step = |name: &&'static str| {
        let mut step = Step::new(name, *name, Arc::new(Asks { step: name, socket: socket.into() }));
        step.pause = match *name {
            "hold" => Pause::Begins,
            "seal" => Pause::Seal,
            "route" => Pause::Ends,
            _ => Pause::None,
        };
        step.no_return = *name == "promote";
        if *name == "route" {
            step.retry = Retry::Until { every: Duration::from_millis(20) };
        }
        step
    };
    Table {
        phase,
        steps: names.iter().map(step).collect(),
        budget: (phase == Phase::Cutover).then_some(Budget { limit_ms: 20_000, reserve_ms: 1_000 }),
        gate_wait: Duration::from_secs(5),
    }
}

/// Returns the steps that the journal says are in force.
pub(crate) fn in_force(records: &[Record]) -> BTreeSet<String> {
    let mut on = BTreeSet::new();
    for record in records {
        match &record.event {
            Event::StepDone { step, .. } => on.insert(step.to_string()),
            Event::UndoDone { step } => on.remove(step.as_str()),
            _ => false,
        };
    }
    on
}

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

/// Steps of the tables, in order.
pub(crate) const SYNC: [&str; 2] = ["claim", "seed"];
pub(crate) const PREPARE: [&str; 1] = ["insert"];
pub(crate) const CUTOVER: [&str; 5] = ["hold", "fence", "seal", "promote", "route"];
/// The same table, the sides exchanged.
pub(crate) const FAILBACK: [&str; 5] =
    ["hold_back", "fence_back", "seal_back", "promote_back", "route_back"];

/// What becomes of one call to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyFault {
    /// It happens; the connection breaks before the answer.
    DoneThenLost,
    /// It does not happen; the connection breaks.
    NotDoneThenLost,
    /// It happens twice, one after the other.
    Twice,
    /// It happens; the answer says that it failed.
    ErrorAfterDone,
    /// No answer, ever. It happens once nobody waits for it any more.
    Hang,
    /// The connection breaks at once; it happens some time later.
    LandsLater,
    /// As before, and the world cannot tell who asks until it has happened.
    LandsLaterUnseen,
}

impl ReplyFault {
    pub(crate) const ALL: [Self; 7] = [
        Self::DoneThenLost,
        Self::NotDoneThenLost,
        Self::Twice,
        Self::ErrorAfterDone,
        Self::Hang,
        Self::LandsLater,
        Self::LandsLaterUnseen,
    ];
}

/// Time for one run of a step; what hangs is given up after it.
const TIME_ALLOWED: Duration = Duration::from_millis(1_500);

/// How often each step was quenched.
type Quenched = BTreeMap<String, u64>;

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
    /// Calls so far, of every kind.
    pub(crate) calls: usize,
    /// The call that goes wrong, counted from 1, and how.
    pub(crate) fault: Option<(usize, ReplyFault)>,
    /// A world whose quench says done and ends nothing: no controller can be safe in it.
    pub(crate) quench_lies: bool,
    /// While it is above zero no quench and no observation can be answered.
    unseen: u32,
    ended: bool,
    quenched: Quenched,
    oldest_epoch: BTreeMap<String, u64>,
    dice: u64,
}

/// A world whose server runs; dropping it ends the server.
pub(crate) struct Running {
    world: Arc<Mutex<World>>,
    socket: PathBuf,
}

impl Running {
    pub(crate) fn now(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(mut world) = self.world.lock() {
            world.ended = true;
        }
        // Wakes the server, which then looks.
        let _ = UnixStream::connect(&self.socket);
    }
}

impl World {
    /// Starts the world's server; it looks into the journal in `run_dir` at every change.
    pub(crate) fn start(run_dir: &Path, seed: u64) -> Running {
        let socket = run_dir.join("world.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let world = Arc::new(Mutex::new(Self { dice: seed | 1, ..Self::default() }));
        let shared = Arc::clone(&world);
        let run_dir = run_dir.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.lock().unwrap().ended {
                    return;
                }
                // What is quenched later ends this call too, read or not.
                let known = shared.lock().unwrap().quenched.clone();
                let (world, run_dir) = (Arc::clone(&shared), run_dir.clone());
                std::thread::spawn(move || serve(stream, &known, &world, &run_dir));
            }
        });
        Running { world, socket }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    /// `late` means that who asked for it is gone and that nothing ended it meanwhile: an
    /// intent of its own there must be, the newest it need not be.
    fn change(&mut self, op: &str, step: &str, run_dir: &Path, late: bool) {
        self.changes += 1;
        if !announced(run_dir, op, step, late) {
            self.violations.push(format!("{op} {step} without an intent in the journal"));
        }
        match op {
            "run" => self.on.insert(step.to_owned()),
            _ => self.on.remove(step),
        };
        if self.writers() > 1 {
            self.violations.push(format!("two writers after {op} {step}"));
        }
        if op == "undo" && ["promote", "route"].contains(&step.trim_end_matches("_back")) {
            self.violations.push(format!("{step} was undone"));
        }
    }

    /// Returns how many sides take writes.
    pub(crate) fn writers(&self) -> usize {
        let on = |step: &str| self.on.contains(step);
        let source = !on("fence") || on("promote_back");
        let target = on("promote") && !on("fence_back");
        usize::from(source) + usize::from(target)
    }
}

/// Says whether the journal announces `op` on `step` now; with `any`, whether it ever did.
///
/// A run that is on its way may land until its undo is done: between the undo's intent and
/// the quench nothing has ended it yet.
fn announced(run_dir: &Path, op: &str, step: &str, any: bool) -> bool {
    let records = Journal::read_all(run_dir).unwrap();
    let mut told = records.iter().rev().filter_map(|record| match &record.event {
        Event::StepIntended { step: of, .. } if of.as_str() == step => Some(op == "run"),
        Event::UndoIntended { step: of, .. } if of.as_str() == step && op == "undo" => Some(true),
        Event::UndoDone { step: of } if of.as_str() == step && op == "run" => Some(false),
        _ => None,
    });
    if any { told.any(|told| told) } else { told.next() == Some(true) }
}

fn serve(stream: UnixStream, known: &Quenched, world: &Mutex<World>, run_dir: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|len| len > 0) {
        let mut asked: Asked = serde_json::from_str(&line).unwrap();
        asked.generation = known.get(&asked.step).copied();
        let fault = {
            let mut now = world.lock().unwrap();
            now.calls += 1;
            let calls = now.calls;
            now.fault.filter(|(at, _)| *at == calls).map(|(_, fault)| fault)
        };
        // A controller that was killed does not read its answer.
        match fault {
            None => drop(writeln!(writer, "{}", answer(&asked, world, run_dir, &writer))),
            Some(fault) => {
                wrongly(fault, &asked, world, run_dir, writer);
                return;
            }
        }
        line.clear();
    }
}

/// One call to the world.
#[derive(serde::Deserialize)]
struct Asked {
    op: String,
    step: String,
    epoch: u64,
    /// How often its step had been quenched when the connection was made.
    #[serde(skip)]
    generation: Option<u64>,
}

/// Answers a call as `fault` says; the connection ends with it.
fn wrongly(
    fault: ReplyFault,
    asked: &Asked,
    world: &Mutex<World>,
    run_dir: &Path,
    mut stream: UnixStream,
) {
    match fault {
        ReplyFault::NotDoneThenLost => {}
        ReplyFault::DoneThenLost => drop(answer(asked, world, run_dir, &stream)),
        ReplyFault::Twice => {
            answer(asked, world, run_dir, &stream);
            let second = answer(asked, world, run_dir, &stream);
            let _ = writeln!(stream, "{second}");
        }
        ReplyFault::ErrorAfterDone => {
            answer(asked, world, run_dir, &stream);
            let _ = writeln!(stream, "{}", json!("failed"));
        }
        ReplyFault::Hang => {
            // Who asked lives: they give up by themselves, and then it lands late.
            begin(asked, world);
            while !is_orphan(&stream) {
                std::thread::sleep(Duration::from_millis(5));
            }
            land(asked, world, run_dir, false);
        }
        ReplyFault::LandsLater | ReplyFault::LandsLaterUnseen => {
            let unseen = fault == ReplyFault::LandsLaterUnseen && asked.is_change();
            begin(asked, world);
            world.lock().unwrap().unseen += u32::from(unseen);
            // The reader has a handle of its own.
            let _ = stream.shutdown(std::net::Shutdown::Both);
            land(asked, world, run_dir, unseen);
            world.lock().unwrap().unseen -= u32::from(unseen);
        }
    }
}

impl Asked {
    fn is_change(&self) -> bool {
        ["run", "undo"].contains(&self.op.as_str())
    }
}

/// Notes that a change is on its way.
fn begin(asked: &Asked, world: &Mutex<World>) {
    world.lock().unwrap().pending += u32::from(asked.is_change());
}

/// Lands a late change, unless it was quenched; `unseen` means that nothing ended it.
fn land(asked: &Asked, world: &Mutex<World>, run_dir: &Path, unseen: bool) {
    if !asked.is_change() {
        return;
    }
    let lateness = Duration::from_millis(40 + world.lock().unwrap().roll(100));
    std::thread::sleep(lateness);
    let mut now = world.lock().unwrap();
    now.pending -= 1;
    if unseen || !now.refuses_late(asked) {
        now.change(&asked.op, &asked.step, run_dir, unseen);
    }
}

/// Says whether who asked has gone; there is one request a connection.
fn is_orphan(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let gone = matches!((&mut &*stream).read(&mut [0]), Ok(0));
    stream.set_nonblocking(false).unwrap();
    gone
}

impl World {
    fn refuses_late(&self, asked: &Asked) -> bool {
        let stale = self.oldest_epoch.get(&asked.step).is_some_and(|oldest| asked.epoch < *oldest);
        stale || self.quenched.get(&asked.step).copied() != asked.generation
    }
}

fn answer(asked: &Asked, world: &Mutex<World>, run_dir: &Path, stream: &UnixStream) -> Value {
    let (op, step) = (asked.op.as_str(), asked.step.as_str());
    let mut now = world.lock().unwrap();
    match op {
        "quench" | "observe" if now.unseen > 0 => return json!("unknown"),
        "quench" if now.quench_lies => return json!("done"),
        "quench" => {
            *now.quenched.entry(step.to_owned()).or_default() += 1;
            now.oldest_epoch.insert(step.to_owned(), asked.epoch);
            return json!("done");
        }
        "observe" => return json!(if now.on.contains(step) { "applied" } else { "not applied" }),
        _ => {}
    }
    let refused = now.refuses.clone().filter(|(of, _)| of == step && op == "run");
    if refused.as_ref().is_some_and(|(_, left)| *left == EffectLeft::None) {
        return json!("refused");
    }
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
    if now.refuses_late(asked) {
        return json!("quenched");
    }
    now.change(op, step, run_dir, false);
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
        if answer.is_empty() {
            return Err(fault(&"the connection broke"));
        }
        match serde_json::from_str::<String>(&answer).map_err(|error| fault(&error))?.as_str() {
            "refused" => Err(fault(&"refused").leaving(EffectLeft::None)),
            "lost" => Err(fault(&"the answer was lost")),
            "failed" => Err(fault(&"it failed").leaving(EffectLeft::Done)),
            "unknown" => Err(fault(&"something of it may still be under way")),
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
        Phase::Failback => &FAILBACK,
        _ => &CUTOVER,
    };
    let switches = matches!(phase, Phase::Cutover | Phase::Failback);
    let step = |name: &&'static str| {
        let mut step = Step::new(name, *name, Arc::new(Asks { step: name, socket: socket.into() }));
        step.time_allowed = TIME_ALLOWED;
        step.pause = match name.trim_end_matches("_back") {
            "hold" => Pause::Begins,
            "seal" => Pause::Seal,
            "route" => Pause::Ends,
            _ => Pause::None,
        };
        step.no_return = ["promote", "promote_back"].contains(name);
        if ["route", "route_back"].contains(name) {
            step.retry = Retry::Until { every: Duration::from_millis(20) };
        }
        step
    };
    Table {
        phase,
        steps: names.iter().map(step).collect(),
        budget: switches.then_some(Budget { limit_ms: 20_000, reserve_ms: 1_000 }),
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

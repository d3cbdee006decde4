//! What travels over the control socket: one JSON object a line, both ways.
//!
//! A request is answered by any number of `Progress` and `Record` lines and then one
//! `End`. Dropping the connection ends the view, never the work.

use segue_model::event::Record;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks, as shown in the journal.
    pub by: String,
    /// What.
    pub command: Command,
}

/// Which units a command is about: those it names, else those of the wave, else all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// Units by name.
    #[serde(default)]
    pub units: Vec<String>,
    /// A wave by its place in the plan, from 1.
    #[serde(default)]
    pub wave: Option<u32>,
}

/// What a person tells a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "saying", rename_all = "snake_case")]
pub enum Saying {
    /// They agree to the plan.
    Approve {
        /// As what.
        role: String,
    },
    /// They did, or took note of, an item of the timeline.
    Acknowledge {
        /// The item.
        item: String,
        /// What they say of it.
        note: String,
    },
    /// They let a rule be broken.
    Waive {
        /// The rule.
        rule: String,
        /// For this unit only.
        unit: Option<String>,
        /// Why.
        because: String,
    },
    /// They take a unit out of the run.
    Exclude {
        /// The unit.
        unit: String,
        /// Why.
        because: String,
    },
    /// They take it back in.
    Include {
        /// The unit.
        unit: String,
    },
    /// They put a unit off.
    Defer {
        /// The unit.
        unit: String,
        /// Wall clock before which it does not start, milliseconds since 1970.
        not_before_ms: u64,
        /// Why.
        because: String,
    },
    /// They let a stopped wave go on.
    ResumeWave {
        /// The wave, from 1.
        wave: u32,
    },
}

/// The commands of the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Starts a run of an approved plan, or goes on with it: seed and follow everything.
    Sync {
        /// Hash of the plan, whole or its first eight characters.
        hash: String,
        /// Which units.
        #[serde(default)]
        pick: Pick,
    },
    /// Inserts fronts and lowers TTLs where that is not done, then cuts over.
    Cutover {
        /// Hash of the plan, whole or its first eight characters.
        hash: String,
        /// Stop after fronts and TTLs.
        prepare_only: bool,
        /// Which units; none means the next wave.
        #[serde(default)]
        pick: Pick,
    },
    /// Gives the target a rising share of the requests that read, or takes it back.
    Split {
        /// Hash of the plan, whole or its first eight characters.
        hash: String,
        /// Take the share back.
        #[serde(default)]
        back: bool,
        /// Which units.
        #[serde(default)]
        pick: Pick,
    },
    /// Holds, fences and opens the live source again, to measure the pause.
    Drill {
        /// Hash of the plan, whole or its first eight characters.
        hash: String,
        /// Which units; a run of many wants them named.
        #[serde(default)]
        pick: Pick,
    },
    /// Executes the very same tables in a closed room, against stand-ins on both sides.
    Rehearse {
        /// Hash of the plan, whole or its first eight characters.
        hash: String,
        /// Which units.
        #[serde(default)]
        pick: Pick,
        /// Triggers that shall fire, by name; `all` means every one.
        #[serde(default)]
        faults: Vec<String>,
        /// Leave the rehearsal's folder.
        #[serde(default)]
        keep: bool,
    },
    /// Goes back: withdraws an open cutover or fails a promoted unit back.
    Rollback {
        /// Why, for the journal.
        because: String,
        /// Which units.
        #[serde(default)]
        pick: Pick,
    },
    /// Ends the automatic failback.
    Confirm {
        /// Which units.
        #[serde(default)]
        pick: Pick,
    },
    /// Passes the point of no return: former TTLs back, reverse stream ended.
    Settle {
        /// Hash of the plan, whole or its first eight characters.
        hash: String,
        /// Which units.
        #[serde(default)]
        pick: Pick,
    },
    /// Tells a stuck attempt to try again.
    Resume {
        /// Which units.
        #[serde(default)]
        pick: Pick,
    },
    /// Tells the run something that a person decided or did.
    Say {
        /// What.
        saying: Saying,
    },
    /// Shows what was written at the target since the way back was closed.
    ExportDelta {
        /// Which units.
        #[serde(default)]
        pick: Pick,
    },
    /// Shows the timeline.
    Timeline,
    /// Asks whether somebody is there.
    Hello,
    /// Asks for the state once.
    Status,
    /// Asks for the state and every record and progress line from now on.
    Watch,
    /// Ends the controller; fronts and replication go on.
    Stop,
}

/// A line from the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// How far long work is.
    Progress {
        /// What is being done.
        what: String,
        /// Amount done.
        done: u64,
        /// Amount in all; 0 if unknown.
        total: u64,
        /// Unit of both.
        unit: String,
        /// Amount per second over the last seconds; 0 if unknown.
        rate: f64,
        /// Seconds left at that rate, if it can be told.
        eta_s: Option<u64>,
    },
    /// A journal record was written.
    Record {
        /// The record.
        record: Box<Record>,
    },
    /// The state changed or was asked for.
    Status {
        /// See [`crate::status`].
        status: Value,
    },
    /// The request is answered.
    End {
        /// Exit code for the command: 0 done, 1 failed, 3 differences, 4 waiting at a
        /// gate, 5 went back, 6 stuck.
        exit: u8,
        /// One or more sentences for people.
        text: String,
        /// Result for machines.
        result: Value,
    },
}

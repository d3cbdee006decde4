//! How things are printed: data on stdout, the rest on stderr, JSON on request.

use segue_model::event::{Event, Record};
use segue_model::gate::Standing;
use segue_model::{Fault, UnitName};
use segue_server::api::Line;
use std::io::{IsTerminal, Write};

/// Prints an error with its chain and the next move.
pub(crate) fn error(error: &anyhow::Error) {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        eprintln!("error{}", fault_text(fault));
        return;
    }
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    eprintln!("error: {}", chain.join(": "));
}

fn fault_text(fault: &Fault) -> String {
    let mut text = format!("[{}]: {}: {}", fault.code, fault.op, fault.cause);
    if !fault.hint.is_empty() {
        text.push_str("\nhint: ");
        text.push_str(&fault.hint);
    }
    text.push_str(&format!("\nmore: segue explain {}", fault.code));
    text
}

/// Returns wall clock milliseconds as local time of day with milliseconds.
pub(crate) fn clock_time(ms: u64) -> String {
    instant(ms).map_or_else(|| ms.to_string(), |z| z.strftime("%H:%M:%S%.3f").to_string())
}

/// Returns wall clock milliseconds as date and time with zone.
pub(crate) fn date_time(ms: u64) -> String {
    instant(ms).map_or_else(|| ms.to_string(), |z| z.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

fn instant(ms: u64) -> Option<jiff::Zoned> {
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(stamp.to_zoned(jiff::tz::TimeZone::system()))
}

/// Prints lines of a running command.
pub(crate) struct View {
    json: bool,
    progress_open: bool,
    terminal: bool,
    told: Option<std::time::Instant>,
    /// The first unit that a record was about, and whether another one followed.
    unit: Option<UnitName>,
    several: bool,
}

/// Without a terminal there is one line of progress in this time.
const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

impl View {
    /// Builds a view; progress is redrawn in place only on a terminal.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            progress_open: false,
            terminal: std::io::stderr().is_terminal(),
            told: None,
            unit: None,
            several: false,
        }
    }

    /// Shows one line from the controller.
    pub(crate) fn show(&mut self, line: &Line) {
        if self.json {
            if let Ok(text) = serde_json::to_string(line) {
                println!("{text}");
            }
            return;
        }
        match line {
            // Steps are few, and each is worth a line of its own.
            Line::Progress { what, done, total, unit, .. } if unit == "steps" => {
                self.close_progress();
                eprintln!("   {what} ({done} of {total})");
            }
            Line::Progress { what, done, total, unit, rate, eta_s } => {
                let share = if *total > 0 {
                    #[allow(clippy::cast_precision_loss)]
                    let percent = *done as f64 * 100.0 / *total as f64;
                    format!(" {percent:.0} % of {total}")
                } else {
                    String::new()
                };
                let eta = eta_s.map_or(String::new(), |s| format!(", about {s} s left"));
                self.progress(&format!("  {what}: {done}{share} {unit}, {rate:.0}/s{eta}"));
            }
            Line::Record { record } => {
                if let Some(text) = sentence(record) {
                    self.close_progress();
                    let unit = self.unit_of(record);
                    eprintln!("{} {unit}{text}", clock_time(record.at_ms));
                }
            }
            Line::Status { .. } => {}
            Line::End { text, .. } => {
                self.close_progress();
                println!("{text}");
            }
        }
    }

    /// Returns the unit's name to begin a line with, once there is more than one.
    fn unit_of(&mut self, record: &Record) -> String {
        let Some(unit) = &record.unit else { return String::new() };
        let first = self.unit.get_or_insert_with(|| unit.clone());
        self.several |= first != unit;
        if self.several { format!("{unit} ") } else { String::new() }
    }

    fn progress(&mut self, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[2K{text}");
            self.progress_open = true;
        } else if self.told.is_none_or(|told| told.elapsed() > PROGRESS_EVERY) {
            eprintln!("{text}");
            self.told = Some(std::time::Instant::now());
        }
        let _ = std::io::stderr().flush();
    }

    /// Ends a line of progress that is redrawn in place.
    pub(crate) fn close_progress(&mut self) {
        if self.progress_open {
            eprintln!();
            self.progress_open = false;
        }
    }
}

/// Returns a record as a sentence; `None` for what only machines need.
pub(crate) fn sentence(record: &Record) -> Option<String> {
    Some(match &record.event {
        Event::AttemptStarted { attempt, because, .. } => {
            let why = if because.is_empty() { String::new() } else { format!(": {because}") };
            format!("== {} (attempt {}){why}", attempt.phase.as_str(), attempt.number)
        }
        Event::GateAnswered { step, answer } => {
            format!(
                "   gate {} before {step}: {} ({})",
                answer.gate, answer.verdict, answer.because
            )
        }
        Event::StepIntended { step, .. } => format!("   {step} ..."),
        Event::StepDone { step, .. } => format!("   {step} done"),
        Event::StepFailed { step, fault } => format!("   {step} FAILED: {fault}"),
        Event::UndoIntended { step, .. } => format!("   undo {step} ..."),
        Event::UndoDone { step } => format!("   undo {step} done"),
        Event::UndoFailed { step, fault } => format!("   undo {step} FAILED: {fault}"),
        Event::WithdrawalStarted { because, .. } => format!("   turning round: {because}"),
        Event::AttemptWithdrawn => "== withdrawn: everything is as before".into(),
        Event::AttemptCompleted => "== completed".into(),
        Event::AttemptStuck { because, way_out } => {
            format!("== STUCK: {because}\n   {}", way_out.join("\n   "))
        }
        Event::TriggerFired { trigger, because } => format!("!! trigger {trigger}: {because}"),
        Event::TriggerJudged { judged } => {
            let mark = if judged.standing == Standing::Fired { "!!" } else { "  " };
            format!("{mark} {} {}: {}", judged.trigger, judged.standing.as_str(), judged.because)
        }
        Event::FailbackRefused { because, way_out } => {
            format!("!! no automatic failback: {because}\n   {}", way_out.join("\n   "))
        }
        Event::Compared { what, differences, .. } => {
            format!("   compared {what}: {differences} differences")
        }
        Event::Confirmed { .. } => "== confirmed".into(),
        Event::EpochTaken { epoch, .. } => format!("   controller has the lease, epoch {epoch}"),
        Event::RunStarted { plan_hash, .. } => format!("== run of plan {plan_hash}"),
        Event::Approved { role, .. } => format!("== agreed as {role}"),
        Event::Acknowledged { item, .. } => format!("   {item} acknowledged"),
        Event::Waived { rule, because, .. } => format!("!! {rule} waived: {because}"),
        Event::WaveStarted { wave, .. } => format!("== wave {wave}"),
        Event::WaveStopped { wave, because } => format!("!! wave {wave} STOPPED: {because}"),
        Event::WaveResumed { wave, .. } => format!("== wave {wave} goes on"),
        Event::WaveCompleted { wave } => format!("== wave {wave} is over"),
        Event::UnitExcluded { because, .. } => format!("== taken out of the run: {because}"),
        Event::UnitIncluded { .. } => "== takes part again".into(),
        Event::UnitDeferred { because, .. } => format!("== put off: {because}"),
        Event::UnitRehearsed { passed: true, .. } => "== rehearsal passed".into(),
        Event::UnitRehearsed { passed: false, .. } => "== rehearsal DID NOT PASS".into(),
        Event::UnitDrilled { pause_ms, .. } => format!("== drill: pause {pause_ms:.0} ms"),
        Event::Noted { text } => format!("   {text}"),
        Event::AttemptResumed { .. } => "== resumed".into(),
        Event::Measured { .. } | Event::TableFixed { .. } | Event::CommitTimerTold { .. } => {
            return None;
        }
    })
}

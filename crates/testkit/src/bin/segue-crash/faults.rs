//! One fault at a time, each at a point or a moment, and what must hold afterwards.

use crate::points::Point;
use crate::result::Found;
use crate::run::{PATIENCE, Stage};
use anyhow::{Result, bail};
use rand::Rng;
use segue_testkit::stage::{Controller, Waiting, wait_asleep};
use segue_testkit::world::Side;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Seconds for which the target may need to be close again after the source came back.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Exit code of a table that turned round.
const WENT_BACK: i32 = 5;

/// The last append before the first of a table: the lease, and that the attempt begins.
const BEGINNING: usize = 2;

/// A controller that sleeps at a point, and the commands that wait for it.
struct Asleep {
    controller: Controller,
    commands: Vec<Child>,
}

impl Stage {
    /// Starts the command of a phase with one order to its controller.
    fn begin(&self, phase: &str, hash: &str, order: Option<(&str, String)>) -> Result<Child> {
        let args: &[&str] = match phase {
            "cutover" => &["cutover", hash],
            "split" => &["split", hash],
            "unsplit" => &["split", hash, "--back"],
            _ => &["rollback"],
        };
        let mut command = self.segue.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((name, value)) = order {
            command.env(name, value);
        }
        Ok(command.spawn()?)
    }

    fn finish(&self, mut child: Child, what: &str) -> Result<Option<i32>> {
        let began = Instant::now();
        loop {
            if let Some(exit) = child.try_wait()? {
                return Ok(exit.code());
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                bail!("`segue` hangs: {what}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL at the point.
    pub(crate) fn kill_at(&self, point: &Point, hash: &str, found: &mut Found) -> Result<bool> {
        self.fresh_controller(&point.phase, hash)?;
        let child = self.begin(&point.phase, hash, Some(("SEGUE_CRASH_AT", point.order())))?;
        if point.is_undo() {
            self.ask_back(point, hash)?;
        }
        let exit = self.finish(child, "killed")?;
        if exit == Some(0) || exit == Some(WENT_BACK) {
            return Ok(false);
        }
        found.kind("kill").kills += 1;
        self.resume(&["resume"], &point.phase, found)?;
        Ok(true)
    }

    /// Asks for the way back of a split once the share of the point's step stands.
    fn ask_back(&self, point: &Point, hash: &str) -> Result<()> {
        let back = self.ask_back_later(point, hash)?;
        // It waits for the table's end, which is the point's if the controller dies there.
        self.finish(back, "asks for the way back").map(drop)
    }

    fn ask_back_later(&self, point: &Point, hash: &str) -> Result<Child> {
        let share: u64 = point.step.trim_start_matches("split_").parse().unwrap_or(0);
        let stands = |status: Value| status["share"].as_u64() >= Some(share);
        let began = Instant::now();
        // Until its controller answers there is no status.
        while !self.segue.status().is_ok_and(stands) {
            if began.elapsed() > PATIENCE {
                bail!("a share of {share} % never stood");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.begin("unsplit", hash, None)
    }

    /// Brings a controller to sleep at the point; none if its table ends before it comes there.
    fn asleep_at(&self, point: &Point, hash: &str) -> Result<Option<Asleep>> {
        self.fresh_controller(&point.phase, hash)?;
        let mut child = self.begin(&point.phase, hash, Some(("SEGUE_STOP_AT", point.order())))?;
        let back = match point.is_undo() {
            true => Some(self.ask_back_later(point, hash)?),
            false => None,
        };
        let asleep = wait_asleep(&self.segue, PATIENCE, || Ok(child.try_wait()?.is_some()))?;
        let Some(controller) = asleep else {
            // Its way back was refused, or found nothing to take back.
            back.map(|back| self.finish(back, "asked for the way back")).transpose()?;
            return Ok(None);
        };
        Ok(Some(Asleep {
            controller,
            commands: [Some(child), back].into_iter().flatten().collect(),
        }))
    }

    /// Waits for the commands whose controller slept.
    fn finish_all(&self, commands: Vec<Child>, what: &str) -> Result<()> {
        commands.into_iter().try_for_each(|child| self.finish(child, what).map(drop))
    }

    /// SIGSTOP at the point; another controller takes over; the first one must be gone.
    pub(crate) fn take_over_at(
        &self,
        point: &Point,
        hash: &str,
        found: &mut Found,
    ) -> Result<bool> {
        let Some(Asleep { controller: first, commands }) = self.asleep_at(point, hash)? else {
            return Ok(false);
        };
        self.resume(&["resume", "--take-over"], &point.phase, found)?;
        if first.lives() {
            let _ = first.wake();
            found.violations.push(format!("{}: the former controller lives", point.order()));
        }
        self.finish_all(commands, "its view after a takeover")?;
        Ok(true)
    }

    /// SIGSTOP at the point; a way back is asked for, also of what is on it already; SIGCONT.
    pub(crate) fn abort_at(&self, point: &Point, hash: &str, found: &mut Found) -> Result<bool> {
        let Some(Asleep { controller, commands }) = self.asleep_at(point, hash)? else {
            return Ok(false);
        };
        let waiting = match &*point.phase {
            "split" => Waiting::split_back(self.segue.dir(), hash, PATIENCE),
            _ => Waiting::rollback(self.segue.dir(), PATIENCE),
        };
        controller.wake()?;
        let exit = waiting?.answer()?;
        self.finish_all(commands, "turned back")?;
        self.closed()?;
        if exit != 0 {
            found.violations.push(format!("{}: the way back ended with {exit}", point.order()));
        }
        let left = self.segue.status()?["share"].as_u64();
        if point.phase == "split" && left.is_some_and(|share| share > 0) {
            found.violations.push(format!("{}: a share of {left:?} % stays", point.order()));
        }
        Ok(true)
    }

    /// SIGSTOP at the point; the controller's end is asked for; SIGCONT. The next one goes on.
    pub(crate) fn stop_at(&self, point: &Point, hash: &str, found: &mut Found) -> Result<bool> {
        let Some(Asleep { controller, commands }) = self.asleep_at(point, hash)? else {
            return Ok(false);
        };
        let waiting = Waiting::stop(self.segue.dir(), PATIENCE);
        controller.wake()?;
        let exit = waiting?.answer()?;
        if exit != 0 {
            found.violations.push(format!("{}: `stop` ended with {exit}", point.order()));
        }
        let began = Instant::now();
        while controller.lives() {
            if began.elapsed() > PATIENCE {
                bail!("{}: the controller was stopped and lives", point.order());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.finish_all(commands, "its controller was stopped")?;
        self.resume(&["resume"], &point.phase, found)?;
        Ok(true)
    }

    /// The journal finds no space for some tries; leases lapse meanwhile.
    pub(crate) fn full_at(&self, append: usize, hash: &str, found: &mut Found) -> Result<bool> {
        self.fresh_controller("cutover", hash)?;
        let order = ("SEGUE_FULL_AT", format!("{append}+12"));
        let child = self.begin("cutover", hash, Some(order))?;
        let exit = self.finish(child, "its disk is full")?;
        self.closed()?;
        // A command whose attempt cannot even be begun is refused, and nothing has moved.
        let refused = exit == Some(1) && append <= BEGINNING && !self.at_target()?;
        if !matches!(exit, Some(0 | 5)) && !refused {
            found.violations.push(format!("full at append {append}: ended with {exit:?}"));
        }
        Ok(true)
    }

    /// SIGKILL at a random moment of a cutover or failback.
    pub(crate) fn kill_sometime(&self, hash: &str, found: &mut Found) -> Result<bool> {
        let phase = if self.at_target()? { "failback" } else { "cutover" };
        let child = self.begin(phase, hash, None)?;
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..1_500)));
        if let Some(controller) = Controller::of(&self.segue) {
            controller.kill();
            found.kind("random").kills += 1;
        }
        self.finish(child, "killed at a random moment")?;
        self.resume(&["resume"], phase, found)?;
        Ok(true)
    }

    /// The source's database dies while the target follows, and comes back.
    pub(crate) fn restart_source(&self, hash: &str) -> Result<bool> {
        self.bring_to("cutover", hash)?;
        self.world.kill_database(Side::Source)?;
        self.world.restart_database(Side::Source)?;
        let began = Instant::now();
        // The gates wait for the stream; a cutover that withdraws was a safe wait.
        loop {
            let child = self.begin("cutover", hash, None)?;
            match self.finish(child, "after the source came back")? {
                Some(0) => return Ok(true),
                Some(4 | 5) if began.elapsed() < CATCH_UP => {}
                exit => bail!("no cutover after the source came back: {exit:?}"),
            }
        }
    }
}

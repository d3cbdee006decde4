//! The program under demonstration, used as a person uses it: by its commands.

use crate::world::Description;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `segue` with its run directory.
pub struct Segue {
    program: PathBuf,
    dir: PathBuf,
    plan_file: PathBuf,
}

impl Segue {
    /// Finds the program beside the demo; the run directory lies in the world's folder.
    pub fn new(bin: &Path, world: &Path) -> Result<Self> {
        let program = bin.join("segue");
        if !program.is_file() {
            bail!("`{}` is missing: build it first (`make demo` does)", program.display());
        }
        let dir = world.join("run").join("segue");
        if dir.exists() {
            std::fs::remove_dir_all(&dir).context("remove the former run")?;
        }
        Ok(Self { program, dir, plan_file: world.join("segue.toml") })
    }

    /// Returns the same program with a run directory of its own.
    pub fn beside(&self, dir: &Path) -> Self {
        let (program, plan_file) = (self.program.clone(), self.plan_file.clone());
        Self { program, dir: dir.to_owned(), plan_file }
    }

    /// Returns the program's file.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the run directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the plan file.
    pub fn plan_file(&self) -> &Path {
        &self.plan_file
    }

    /// Builds a command of the program.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--dir").arg(&self.dir).args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command, shows what it says, and returns its exit code.
    pub fn show(&self, args: &[&str]) -> Result<i32> {
        println!("    $ segue {}", args.join(" "));
        let mut child = self
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run `segue {}`", args.join(" ")))?;
        let errors = child.stderr.take().context("its messages")?;
        let told = std::thread::spawn(move || print_indented(errors));
        print_indented(child.stdout.take().context("its output")?);
        let _ = told.join();
        Ok(child.wait()?.code().unwrap_or(-1))
    }

    /// Runs a command that must end with `wanted`.
    pub fn must(&self, args: &[&str], wanted: i32) -> Result<()> {
        let exit = self.show(args)?;
        if exit != wanted {
            bail!("`segue {}` ended with {exit}, not {wanted}", args.join(" "));
        }
        Ok(())
    }

    /// Approves the plan and returns everything `segue plan --json` printed, a value a line.
    pub fn plan_lines(&self) -> Result<Vec<Value>> {
        let file = self.plan_file.display().to_string();
        let output =
            self.command(&["--json", "plan", &file]).output().context("run `segue plan`")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("the plan is refused:\n{text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Approves the plan and returns the beginning of its hash.
    pub fn plan(&self) -> Result<String> {
        self.plan_lines()?
            .iter()
            .find_map(|value| {
                value.get("hash")?.as_str().map(|hash| hash.chars().take(8).collect())
            })
            .context("`segue plan` printed no hash")
    }

    /// Returns the status as the controller tells it.
    pub fn status(&self) -> Result<Value> {
        let output = self.command(&["--json", "status"]).output().context("run `segue status`")?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|value| {
                (value.get("line")?.as_str()? == "end").then(|| value["result"].clone())
            })
            .with_context(|| format!("understand the status `{text}`"))
    }

    /// Waits until the status fits.
    pub fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let began = Instant::now();
        loop {
            let status = self.status()?;
            if fits(&status) {
                return Ok(status);
            }
            if began.elapsed() > patience {
                bail!("{what}: not within {} s; status {status}", patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Starts a command whose view nobody watches.
    pub fn in_background(&self, args: &[&str]) -> Result<Child> {
        println!("    $ segue {} &", args.join(" "));
        self.command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("run `segue {}`", args.join(" ")))
    }

    /// Waits until the journal knows the intent of a step.
    pub fn wait_for_intent(&self, step: &str, patience: Duration) -> Result<()> {
        let began = Instant::now();
        let wanted = format!("\"event\":\"step_intended\",\"step\":\"{step}\"");
        loop {
            let output =
                self.command(&["--json", "journal"]).output().context("run `segue journal`")?;
            if String::from_utf8_lossy(&output.stdout).contains(&wanted) {
                return Ok(());
            }
            if began.elapsed() > patience {
                bail!("no intent of step `{step}` within {} s", patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the controller and every front of the demo, by their own process ids.
    pub fn end_everything(&self, description: &Description) {
        let _ = self.command(&["stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        end_segue(&description.dir);
    }
}

/// Ends controller and fronts that work in the folder of a world; returns how many.
pub fn end_segue(dir: &Path) -> usize {
    let world = dir.display().to_string();
    let first = own_processes(&world);
    for pid in &first {
        // Gone already is as good.
        let _ = kill_process(*pid, Signal::TERM);
    }
    let began = Instant::now();
    while !own_processes(&world).is_empty() && began.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(20));
    }
    for pid in own_processes(&world) {
        let _ = kill_process(pid, Signal::KILL);
    }
    first.len()
}

/// Returns the `segue` processes whose command line names the world's folder.
fn own_processes(world: &str) -> Vec<Pid> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|b| *b == 0).map(String::from_utf8_lossy);
            let program = words.next().unwrap_or_default().into_owned();
            program.ends_with("/segue") && words.any(|word| word.contains(world))
        })
        .filter_map(Pid::from_raw)
        .collect()
}

fn print_indented(from: impl std::io::Read) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        println!("    | {line}");
    }
}

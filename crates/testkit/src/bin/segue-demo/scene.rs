//! The scene: world, visitors, run directory.

use crate::Args;
use anyhow::{Context, Result};
use segue_testkit::stage::{Segue, Visitors};
use segue_testkit::world::{Description, World, WorldOptions, now_ms};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Requests per second of the full demo and of a small one.
const RATE: u32 = 600;
const RATE_SMALL: u32 = 120;

/// Everything on stage. Dropping it ends fronts, controller, visitors and world.
pub(crate) struct Scene {
    pub(crate) world: Option<World>,
    pub(crate) description: Description,
    pub(crate) segue: Segue,
    pub(crate) visitors: Option<Visitors>,
    pub(crate) out: PathBuf,
    pub(crate) bin: PathBuf,
    rate: u32,
    began: Instant,
    kept: bool,
}

impl Scene {
    /// Starts the world and writes the plan file.
    pub(crate) fn open(args: &Args) -> Result<Self> {
        let began = Instant::now();
        let bin = std::env::current_exe()?.parent().context("the demo's own folder")?.to_owned();
        let size =
            if args.small { WorldOptions::small(&args.dir) } else { WorldOptions::full(&args.dir) };
        let options = WorldOptions { cache: args.cache.clone(), detach: args.keep, ..size };
        say(
            began,
            "starting BIND (primary, secondary), two MariaDB servers, two nginx, the shop on both sides, its cron job and a neighbour",
        );
        let world = World::start(options)?;
        let description = world.description().clone();
        say(
            began,
            &format!(
                "the world is up: {} rows in orders, {} in order_lines, {} files; site at {}",
                description.rows.orders,
                description.rows.order_lines,
                description.files.count,
                description.site.source
            ),
        );
        std::fs::create_dir_all(&args.out)?;
        let segue = Segue::new(&bin, &description.dir)?;
        let plan = world.plan_toml() + &crate::login::plan_toml(&description)?;
        std::fs::write(segue.plan_file(), plan).context("write the plan file")?;
        let ledger = &description.ledger_dir;
        std::fs::create_dir_all(ledger)?;
        write_lines(&ledger.join("zone.before"), &world.dump_zone()?)?;
        Ok(Self {
            world: Some(world),
            description,
            segue,
            visitors: None,
            out: args.out.clone(),
            bin,
            rate: args.rate.unwrap_or(if args.small { RATE_SMALL } else { RATE }),
            began,
            kept: false,
        })
    }

    /// Starts the load; returns once answers come.
    pub(crate) fn let_visitors_in(&mut self) -> Result<()> {
        self.say(&format!(
            "visitors come: {} requests/s, {} of them orders, open loop, nobody repeats a request",
            self.rate,
            self.rate / 4
        ));
        let visitors = Visitors::start(&self.bin, &self.description, self.rate)?;
        visitors.wait_until_busy(Duration::from_secs(15))?;
        self.visitors = Some(visitors);
        Ok(())
    }

    /// Returns the world.
    pub(crate) fn world(&self) -> Result<&World> {
        self.world.as_ref().context("the world was left up")
    }

    /// Prints a line with the time since the beginning.
    pub(crate) fn say(&self, text: &str) {
        say(self.began, text);
    }

    /// Says what the visitors see now.
    pub(crate) fn say_visitors(&self) {
        if let Some(visitors) = &self.visitors {
            self.say(&format!("visitors: {}", visitors.words()));
        }
    }

    /// Lets time pass while the visitors go on, and says what they see.
    pub(crate) fn let_pass(&self, how_long: Duration) {
        std::thread::sleep(how_long);
        self.say_visitors();
    }

    /// Notes for the oracle from when on which address is the former one.
    pub(crate) fn mark(
        &self,
        mark: &str,
        former: std::net::SocketAddr,
        now: std::net::SocketAddr,
    ) -> Result<()> {
        let path = self.description.ledger_dir.join("marks.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let line = json!({
            "at_ms": now_ms(),
            "mark": mark,
            "former_address": former.to_string(),
            "address": now.to_string(),
        });
        writeln!(file, "{line}")?;
        file.sync_all().context("keep a mark")
    }

    /// Leaves the world running and says how to drive it.
    pub(crate) fn leave_up(&mut self) -> Result<()> {
        if let Some(world) = self.world.take() {
            world.keep()?;
        }
        self.kept = true;
        let (bin, dir) = (self.bin.display(), self.description.dir.display());
        println!("\nThe world stays up in {dir}. To drive it by hand:");
        println!("  export SEGUE_DIR={}", self.segue.dir().display());
        println!("  {bin}/segue status");
        println!("  {bin}/segue watch");
        println!("  {bin}/segue journal");
        println!("  {bin}/segue-load --world {dir}/world.json --seconds 30   # visitors");
        println!("To end it: {bin}/segue-world stop --dir {dir}");
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.visitors.take());
        if !self.kept {
            self.segue.end_everything(&self.description);
        }
    }
}

fn say(began: Instant, text: &str) {
    println!("[{:6.1} s] {text}", began.elapsed().as_secs_f64());
}

/// Writes lines into a file, whole.
pub(crate) fn write_lines(path: &Path, lines: &[String]) -> Result<()> {
    std::fs::write(path, lines.join("\n") + "\n")
        .with_context(|| format!("write `{}`", path.display()))
}

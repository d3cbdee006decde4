//! Insert: a front on every address that DNS names or will name; undo: bypass.

use crate::fronts::Fronts;
use crate::link::{Link, unexpected};
use crate::redirect;
use crate::turns::turn;
use async_trait::async_trait;
use futures_util::future::join_all;
use segue_front::control::{
    Hello, HoldPolicy, MirrorRoute, PortStatus, Reach, Reply, Request, SiteRoute,
};
use segue_front::{FrontOptions, Server};
use segue_model::plan::{FrontPlan, PortPlan, SitePlan};
use segue_model::{EffectLeft, Epoch, Fault, FaultKind, RunId, Side, Sides};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a front's process may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Connections that are released at once where a unit has ports for TCP and no web server.
const BARE_CONCURRENCY: usize = 64;

/// Pause between two looks whether a front answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns where the front's process says what it has to say.
fn log_of(plan: &FrontPlan) -> PathBuf {
    plan.state.with_extension("log")
}

fn no_answer(plan: &FrontPlan, fault: &Fault) -> Fault {
    let cause = format!("no answer after {} s: {fault}", START_LIMIT.as_secs());
    Fault::new("SG0152", FaultKind::Timeout, format!("start front `{}`", plan.name), cause)
        .leaving(EffectLeft::Maybe)
        .hint(format!("its last words stand in `{}`", log_of(plan).display()))
}

impl Fronts {
    /// Returns the effect that inserts every front.
    pub fn insert(self: &Arc<Self>) -> Arc<dyn Effect> {
        Arc::new(Insert { fronts: Arc::clone(self) })
    }

    /// Starts a front unless it serves; says whether it was started. Another unit of the run
    /// may have started it, or may be the last one that just left it.
    pub(crate) async fn ensure(&self, link: &Link) -> Outcome<bool> {
        let _turn = turn(&link.plan.control).await;
        let began = Instant::now();
        loop {
            match link.hello().await {
                Ok(hello) if hello.listening => match others_ports(&link.plan, &hello) {
                    None => return Ok(false),
                    Some(cause) => {
                        let op = format!("use front `{}`", link.plan.name);
                        return Err(Fault::new("SG0162", FaultKind::Conflict, op, cause)
                            .hint(ANOTHERS_PORTS));
                    }
                },
                Ok(_) if began.elapsed() > START_LIMIT => {
                    let op = format!("start front `{}`", link.plan.name);
                    let cause = "its former process still finishes open connections";
                    return Err(Fault::new("SG0152", FaultKind::Timeout, op, cause)
                        .hint("try again in a minute: idle connections end by then"));
                }
                Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
                // Its keeper starts it again by itself.
                Err(fault) if link.is_ours() && segue_front::is_kept(&link.plan.state) => {
                    if began.elapsed() > START_LIMIT {
                        return Err(no_answer(&link.plan, &fault));
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(_) if link.is_ours() => return self.start(link).await.map(|()| true),
                // The operator's own proxy is the operator's to start.
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Starts a front's process, detached from this one, and waits until it answers.
    async fn start(&self, link: &Link) -> Outcome<()> {
        let plan = &link.plan;
        let web = self.settings.unit.backends(plan.side);
        let web = web.map(|web| Server { address: web.address, proxy_out: web.proxy_out });
        let tcp = plan.tcp().map(|(_, tcp)| (*tcp.backends.get(plan.side)).into());
        let server = web.chain(tcp).next().ok_or_else(|| self.without_site())?;
        let options = FrontOptions::beside(&plan.state);
        let mut told = FrontOptions::of(plan, server, &self.settings.unit.fronts);
        told.run = plan.redirects().then(|| self.settings.run.to_string());
        told.write(&options)?;
        let args = ["front".to_owned(), format!("--options={}", options.display())];
        let log = log_of(plan);
        segue_doors::detached::spawn(&self.settings.program, &args, &log).map_err(|e| {
            Fault::new("SG0151", FaultKind::Invalid, format!("start front `{}`", plan.name), e)
                .hint("look at program and log folder")
        })?;
        let began = Instant::now();
        loop {
            match link.hello().await {
                Ok(hello) if hello.listening => return Ok(()),
                Ok(_) => {}
                Err(fault) if began.elapsed() > START_LIMIT => return Err(no_answer(plan, &fault)),
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The checks of the plan leave no front without a web server.
    fn without_site(&self) -> Fault {
        let op = format!("insert the fronts of unit `{}`", self.settings.unit.name);
        Fault::new("SG0151", FaultKind::Bug, op, "the unit has no web server")
    }

    async fn insert_one(&self, link: &Link, call: &Call) -> Outcome<Value> {
        let unit = &self.settings.unit;
        let bare = link.plan.tcp().find(|(_, tcp)| !tcp.by_name).map(|_| BARE_CONCURRENCY);
        let least = |side| unit.backends(side).map(|server| server.concurrency).min().or(bare);
        let concurrency = Sides { source: least(Side::Source), target: least(Side::Target) };
        let (Some(source), Some(target)) = (concurrency.source, concurrency.target) else {
            return Err(self.without_site());
        };
        let started = self.ensure(link).await?;
        let (run, epoch) = (call.authority.run.clone(), call.authority.epoch);
        link.call(&Request::Claim { run: run.clone(), epoch }).await?;
        let site = |site: &SitePlan| SiteRoute {
            hosts: site.hosts.clone(),
            backends: Sides::from_fn(|side| site.backends.get(side).address),
            reach: Reach::of(site),
        };
        let route = |mark| Request::SetRoute {
            mark,
            unit: unit.name.clone(),
            sites: unit.sites.iter().map(site).collect(),
            write_side: Side::Source,
            concurrency: Sides { source, target },
        };
        match link.change(&run, epoch, route).await? {
            Reply::Done { .. } => {
                // What is in place is told by the policy, which is said last.
                self.say_mirror(link, &run, epoch).await?;
                self.say_policy(link, &run, epoch).await?;
                let listen: Vec<_> =
                    link.plan.ports.iter().map(|port| port.listen.to_string()).collect();
                Ok(json!({ "listen": listen, "started": started }))
            }
            other => Err(unexpected("route", &link.plan.name, &other)),
        }
    }

    /// Says what requests meet during a hold; the operator's own proxy holds all of them.
    async fn say_policy(&self, link: &Link, run: &RunId, epoch: Epoch) -> Outcome<()> {
        if !link.is_ours() {
            return Ok(());
        }
        let policy = self.hold_policy();
        let unit = self.settings.unit.name.clone();
        let set = |mark| Request::SetHoldPolicy { mark, unit, policy };
        match link.change(run, epoch, set).await? {
            Reply::Done { .. } => Ok(()),
            other => Err(unexpected("set policy of holds at", &link.plan.name, &other)),
        }
    }

    /// Says which requests are copied for the target.
    async fn say_mirror(&self, link: &Link, run: &RunId, epoch: Epoch) -> Outcome<()> {
        if !link.is_ours() {
            return Ok(());
        }
        let relayed = Sides::from_fn(|side| self.relays(&link.plan, side));
        let plan = self.settings.unit.measures.mirror.clone();
        let mirror = plan.map(|plan| MirrorRoute { plan, relayed });
        let unit = self.settings.unit.name.clone();
        let hello = link.hello().await?;
        if hello.unit(&unit).is_some_and(|there| there.mirror == mirror) {
            return Ok(());
        }
        let set = |mark| Request::SetMirror { mark, unit, mirror };
        match link.change(run, epoch, set).await? {
            Reply::Done { .. } => Ok(()),
            other => Err(unexpected("set copies of requests at", &link.plan.name, &other)),
        }
    }

    /// Takes the unit from a front; the last unit takes the front along.
    async fn leave(&self, link: &Link, call: &Call) -> Outcome<()> {
        let (run, epoch) = (call.authority.run.clone(), call.authority.epoch);
        link.call(&Request::Claim { run: run.clone(), epoch }).await?;
        let unit = self.settings.unit.name.clone();
        link.change(&run, epoch, |mark| Request::Leave { mark, unit }).await.map(drop)
    }

    /// Takes the unit from a front that does not answer: one whose keeper is there will, and what
    /// is left of any other goes.
    async fn leave_dead(&self, link: &Link, call: &Call) -> Outcome<()> {
        let began = Instant::now();
        while segue_front::is_kept(&link.plan.state) {
            match link.hello().await {
                Ok(_) => return self.leave(link, call).await,
                Err(fault) if began.elapsed() > START_LIMIT => {
                    return Err(no_answer(&link.plan, &fault));
                }
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        // Nobody starts it meanwhile.
        let _turn = turn(&link.plan.control).await;
        redirect::clear(&link.plan, &self.settings.run).await
    }

    fn hold_policy(&self) -> HoldPolicy {
        let plan = &self.settings.policy;
        HoldPolicy {
            harmless_paths: plan.harmless_paths.clone(),
            bytes_max: Some(plan.hold_bytes_max),
            page: plan.hold_page.clone(),
        }
    }

    fn in_place(&self, plan: &FrontPlan, hello: &Hello, call: &Call) -> bool {
        hello.listening
            && hello.claim.as_ref() == Some(&call.authority.run)
            && hello
                .unit(&self.settings.unit.name)
                .is_some_and(|unit| plan.proxy.is_some() || unit.policy == self.hold_policy())
            && others_ports(plan, hello).is_none()
    }
}

/// Says what is wrong if a running front serves other ports than the plan names. Its ports are
/// its own from start to end: the plan that started it said them.
pub(crate) fn others_ports(plan: &FrontPlan, hello: &Hello) -> Option<String> {
    let port = |p: &PortStatus| PortPlan {
        kind: p.kind,
        listen: p.listen,
        take_over: p.taken_over,
        redirect: p.redirect,
        join: p.joined,
        tls: p.tls.clone(),
        proxy_in: p.proxy_in,
        tcp: p.tcp.clone(),
    };
    let there: Vec<PortPlan> = hello.ports.iter().map(port).collect();
    let same = there.len() == plan.ports.len() && plan.ports.iter().all(|p| there.contains(p));
    let named = |ports: &[PortPlan]| {
        let one = |port: &PortPlan| {
            let how = match port.redirect {
                Some(to) => format!(", redirected to {to}"),
                None if port.take_over => ", taken over".to_owned(),
                None if port.join => ", joined".to_owned(),
                None => String::new(),
            };
            format!("{} ({}{how})", port.listen, port.kind)
        };
        ports.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    (!same).then(|| match (named(&there), named(&plan.ports)) {
        (there, planned) if there == planned => {
            format!("it serves {there} with other certificates")
        }
        (there, planned) => format!("it serves {there}; the plan says {planned}"),
    })
}

/// What to do about a front with other ports.
pub(crate) const ANOTHERS_PORTS: &str = "write the ports that it serves, or end it: it starts \
                                         anew with those of the plan";

struct Insert {
    fronts: Arc<Fronts>,
}

#[async_trait]
impl Effect for Insert {
    fn what(&self) -> String {
        let lines: Vec<String> = self
            .fronts
            .links
            .iter()
            .map(|link| {
                let port = |port: &PortPlan| match port.redirect {
                    Some(to) => format!("is led new connections of {} at port {to}", port.listen),
                    None if port.take_over => format!("takes the live port over {}", port.listen),
                    None if port.join => format!("joins the live server at {}", port.listen),
                    None => format!("serves {}", port.listen),
                };
                let ports: Vec<_> = link.plan.ports.iter().map(port).collect();
                format!("front `{}` {}", link.plan.name, ports.join(", "))
            })
            .collect();
        lines.join("; ")
    }

    fn by_hand(&self) -> String {
        let mut text = "end the processes `segue front` with SIGTERM: a port that was taken over \
                        or joined returns to its server at once"
            .to_owned();
        for link in self.fronts.links.iter().filter(|link| link.plan.redirects()) {
            let table = redirect::table(&link.plan, &self.fronts.settings.run);
            text += &format!(
                "\nfront `{}` takes its table along once its last connection has ended; if none of \
                 its processes is left: nft delete table {}",
                link.plan.name,
                table.map(|table| table.name()).unwrap_or_default()
            );
        }
        text
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        let all = self.fronts.links.iter().map(|link| self.fronts.insert_one(link, call));
        let mut outputs = serde_json::Map::new();
        for (link, result) in self.fronts.links.iter().zip(join_all(all).await) {
            // Another front may stand already, so the whole is half done.
            outputs
                .insert(link.plan.name.clone(), result.map_err(|f| f.leaving(EffectLeft::Maybe))?);
        }
        Ok(Value::Object(outputs))
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        let hellos = self.fronts.hellos().await;
        let placed = hellos.iter().all(|(link, hello)| {
            hello.as_ref().is_ok_and(|hello| self.fronts.in_place(&link.plan, hello, call))
        });
        Ok(if placed { Observed::Applied(json!({})) } else { Observed::NotApplied })
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        for (link, hello) in self.fronts.hellos().await {
            match hello {
                Ok(_) => self.fronts.leave(&link, call).await?,
                Err(fault) if fault.kind == FaultKind::Unreachable => {
                    self.fronts.leave_dead(&link, call).await?;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    async fn quench(&self, _call: &Call) -> Outcome<()> {
        // Whatever a former controller still sends carries a lower epoch, which the
        // claim of this one made every front refuse.
        self.fronts.take_epoch(self.fronts.epoch()).await
    }
}

//! Checks before fronts are inserted; changes nothing.

use crate::fronts::Fronts;
use crate::insert::{ANOTHERS_PORTS, others_ports};
use crate::turns::turn;
use crate::{joined, redirect};
use segue_doors::join;
use segue_model::Finding;
use segue_model::plan::{FrontPlan, PortPlan};
use std::net::TcpListener;
use std::path::Path;

/// Longest path a Unix socket may have, bytes (`sun_path`, unix(7)).
const SOCKET_PATH_MAX: usize = 107;

impl Fronts {
    /// Looks at addresses, sockets and claims of every front.
    pub async fn preflight(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let page = self.settings.policy.hold_page.as_deref();
        if let Some(why) = page.and_then(segue_front::unusable_page) {
            findings.push(Finding::refuse(
                "SG0191",
                why,
                "name a file in `hold_page` that the fronts' user may read, of at most 64 KiB, or none",
            ));
        }
        for link in &self.links {
            let plan = &link.plan;
            if plan.control.as_os_str().len() > SOCKET_PATH_MAX {
                findings.push(Finding::refuse(
                    "SG0156",
                    format!("control socket of front `{}` has a path of more than {SOCKET_PATH_MAX} bytes", plan.name),
                    "give it a shorter path",
                ));
            }
            // Units that share the address try to bind it, one after the other.
            let _turn = turn(&plan.control).await;
            findings.extend(folders(plan));
            if !link.is_ours() {
                findings.extend(link.preflight().await);
                continue;
            }
            findings.extend(egress(plan));
            match link.hello().await {
                Ok(hello) => {
                    if let Some(run) = hello.claim.as_ref().filter(|run| **run != self.settings.run)
                    {
                        findings.push(Finding::refuse(
                            "SG0157",
                            format!("front `{}` belongs to run {run}", plan.name),
                            "end that run, or end that front, or name another control socket",
                        ));
                    }
                    findings.extend(others_ports(plan, &hello).map(|cause| {
                        let text = format!("front `{}` runs already: {cause}", plan.name);
                        Finding::refuse("SG0162", text, ANOTHERS_PORTS)
                    }));
                }
                // It comes back by itself, with its ports.
                Err(_) if segue_front::is_kept(&plan.state) => {}
                Err(_) => {
                    let ports: Vec<_> =
                        plan.ports.iter().filter_map(|port| address(plan, port)).collect();
                    // Of a server that is not to be had no more is asked.
                    if ports.is_empty() {
                        findings.extend(joined::preflight(plan, &self.settings.unit).await);
                    }
                    findings.extend(ports);
                    findings.extend(redirect::preflight(plan, &self.settings.run).await);
                }
            }
        }
        findings
    }

    /// Ends what this process does for the fronts; they go on by themselves.
    pub fn close(&self) {
        self.stop_renewing();
    }
}

/// Socket and state file are made by the front itself, in folders that must be there.
fn folders(plan: &FrontPlan) -> Vec<Finding> {
    let folder = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let mut folders = vec![folder(&plan.control), folder(&plan.state)];
    folders.dedup();
    let refuse = |folder: &Path, why: &dyn std::fmt::Display| {
        Finding::refuse(
            "SG0161",
            format!("front `{}` cannot use folder `{}`: {why}", plan.name, folder.display()),
            "create the folder for the user who runs the fronts, or name another one",
        )
    };
    let check = |folder: &Path| match std::fs::metadata(folder) {
        Err(error) => Some(refuse(folder, &error)),
        Ok(about) if !about.is_dir() => Some(refuse(folder, &"it is no folder")),
        Ok(_) => {
            let writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK);
            writable.err().map(|error| refuse(folder, &error))
        }
    };
    folders.iter().filter_map(|folder| check(folder)).collect()
}

/// The address from which the front reaches the server behind the port it takes over.
fn egress(plan: &FrontPlan) -> Option<Finding> {
    let egress = plan.egress?;
    let error = TcpListener::bind((egress, 0)).err()?;
    Some(Finding::refuse(
        "SG0160",
        format!("front `{}` cannot connect from its egress address {egress}: {error}", plan.name),
        "add the address to this machine (ip address add), or name one that it has",
    ))
}

/// A port of a live server must have one; any other, and the one where a front listens in its
/// place, must be free.
fn address(plan: &FrontPlan, port: &PortPlan) -> Option<Finding> {
    let (name, listen) = (&plan.name, port.listen);
    if port.redirect.is_some()
        && let Err(e) = TcpListener::bind(port.bound())
    {
        return Some(Finding::refuse(
            "SG0159",
            format!("front `{name}` cannot listen on {}: {e}", port.bound()),
            "name another port of that address in `redirect`, one that nothing listens at",
        ));
    }
    if port.join {
        return join::look(listen).err().map(|fault| {
            let hint = fault.hint.clone();
            Finding::refuse("SG0178", format!("front `{name}` cannot join: {}", fault.cause), hint)
        });
    }
    match (TcpListener::bind(listen), port.is_live()) {
        (Ok(_), true) => Some(Finding::refuse(
            "SG0158",
            format!("front `{name}` shall stand before {listen}, but no server listens there"),
            "start the site's web server, or take `take_over` and `redirect` away",
        )),
        (Err(e), false) => Some(Finding::refuse(
            "SG0159",
            format!("front `{name}` cannot listen on {listen}: {e}"),
            "free the address, or set `take_over` or `join` if the site's own server listens there",
        )),
        (Err(e), true) if e.kind() != std::io::ErrorKind::AddrInUse => Some(Finding::refuse(
            "SG0159",
            format!("front `{name}` cannot listen on {listen}: {e}"),
            "run Segue as the user who may bind this address",
        )),
        _ => None,
    }
}

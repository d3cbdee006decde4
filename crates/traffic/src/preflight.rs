//! Checks before fronts are inserted; changes nothing.

use crate::fronts::Fronts;
use crate::turns::turn;
use segue_model::Finding;
use std::net::TcpListener;

/// Longest path a Unix socket may have, bytes (`sun_path`, unix(7)).
const SOCKET_PATH_MAX: usize = 107;

impl Fronts {
    /// Looks at addresses, sockets and claims of every front.
    pub async fn preflight(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
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
            match link.hello().await {
                Ok(hello) => {
                    if let Some(run) = hello.claim.filter(|run| *run != self.settings.run) {
                        findings.push(Finding::refuse(
                            "SG0157",
                            format!("front `{}` belongs to run {run}", plan.name),
                            "end that run, or end that front, or name another control socket",
                        ));
                    }
                }
                Err(_) => findings.extend(address(plan)),
            }
        }
        findings
    }

    /// Ends what this process does for the fronts; they go on by themselves.
    pub fn close(&self) {
        self.stop_renewing();
    }
}

/// A port to be taken over must have a server; any other must be free.
fn address(plan: &segue_model::plan::FrontPlan) -> Option<Finding> {
    let bound = TcpListener::bind(plan.listen);
    match (bound, plan.take_over) {
        (Ok(_), true) => Some(Finding::refuse(
            "SG0158",
            format!(
                "front `{}` shall take {} over, but no server listens there",
                plan.name, plan.listen
            ),
            "start the site's web server, or set take_over = false",
        )),
        (Err(e), false) => Some(Finding::refuse(
            "SG0159",
            format!("front `{}` cannot listen on {}: {e}", plan.name, plan.listen),
            "free the address, or set take_over = true if the site's own server listens there",
        )),
        (Err(e), true) if e.kind() != std::io::ErrorKind::AddrInUse => Some(Finding::refuse(
            "SG0159",
            format!("front `{}` cannot listen on {}: {e}", plan.name, plan.listen),
            "run Segue as the user who may bind this address",
        )),
        _ => None,
    }
}

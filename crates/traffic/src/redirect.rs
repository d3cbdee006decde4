//! The packet filter before a live port, as far as it is not the front's own keeper that sees to it.

use segue_doors::nft::{Redirect, Table};
use segue_model::plan::FrontPlan;
use segue_model::{EffectLeft, Fault, FaultKind, Finding, RunId};

/// Share of the connections that the kernel can follow beyond which it is said, percent.
const FOLLOWED_MAX: u64 = 80;

/// Returns the table that leads connections to a front, if one does.
pub(crate) fn table(plan: &FrontPlan, run: &RunId) -> Option<Table> {
    let one = |port: &segue_model::plan::PortPlan| {
        Some(Redirect { from: port.listen, to: port.redirect? })
    };
    let all: Vec<_> = plan.ports.iter().filter_map(one).collect();
    let egress = plan.egress.filter(|_| !all.is_empty())?;
    Some(Table::new(&run.to_string(), &plan.name, all, egress))
}

/// Removes the table of a front of which no process is left to do it.
///
/// # Errors
/// `SG0177` if a unit of the front is where the live server must get no request; `SG0190` if the
/// filter cannot be changed. The table then stands as it was.
pub(crate) async fn clear(plan: &FrontPlan, run: &RunId) -> Result<(), Fault> {
    let Some(table) = table(plan, run).filter(|_| !segue_front::is_kept(&plan.state)) else {
        return Ok(());
    };
    if segue_front::guards(&plan.state) {
        let op = format!("take table `{}` away", table.name());
        let cause = "a unit of the front is sealed or at the target, by the front's own state";
        return Err(Fault::new("SG0177", FaultKind::Conflict, op, cause)
            .leaving(EffectLeft::None)
            .hint("start the front again (`segue resume`): it then leaves in order"));
    }
    table.delete().await
}

/// Looks whether the filter can be changed and whether somebody else leads the port elsewhere.
pub(crate) async fn preflight(plan: &FrontPlan, run: &RunId) -> Vec<Finding> {
    let Some(table) = table(plan, run) else { return Vec::new() };
    let refused = |fault: Fault| {
        let text = format!("front `{}` cannot be led connections: {}", plan.name, fault.cause);
        vec![Finding::refuse(
            "SG0190",
            text,
            "run Segue as root with nftables installed, or take the port over instead",
        )]
    };
    if let Err(fault) = table.try_insert().await {
        return refused(fault);
    }
    let claims = match table.claims().await {
        Ok(claims) => claims,
        Err(fault) => return refused(fault),
    };
    let mut findings: Vec<_> = claims
        .into_iter()
        .map(|claim| {
            let text = format!(
                "a rule of table `{}` is about connections to {} already: `{}`",
                claim.table, claim.port, claim.rule
            );
            Finding::refuse(
                "SG0170",
                text,
                "move that rule, or put the front where it leads connections to",
            )
        })
        .collect();
    findings.extend(followed());
    findings
}

/// The kernel follows every connection once a rule changes addresses, and drops new ones when it
/// can follow no more.
fn followed() -> Option<Finding> {
    let read = |name: &str| -> Option<u64> {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let (now, most) = (read("count")?, read("max")?);
    crowded(now, most)
}

fn crowded(now: u64, most: u64) -> Option<Finding> {
    (now.saturating_mul(100) > most.saturating_mul(FOLLOWED_MAX)).then(|| {
        Finding::warn(
            "SG0172",
            format!("the kernel follows {now} of at most {most} connections"),
            "raise net.netfilter.nf_conntrack_max: beyond it new connections are dropped",
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::Side;
    use segue_model::plan::{FrontLimits, PortPlan};

    #[tokio::test]
    async fn a_table_that_guards_a_server_stays() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("front.json");
        // What cannot be read may say that a unit is at the target.
        std::fs::write(&state, "?").unwrap();
        let port = PortPlan {
            redirect: Some(8080),
            join: false,
            ..PortPlan::http("192.0.2.10:80".parse().unwrap(), false)
        };
        let plan = FrontPlan {
            name: "source".into(),
            side: Side::Source,
            ports: vec![port],
            egress: "192.0.2.250".parse().ok(),
            control: folder.path().join("front.sock"),
            state,
            trusted: Vec::new(),
            limits: FrontLimits::default(),
            metrics: None,
            access_log: None,
            proxy: None,
        };
        let fault = clear(&plan, &"run-1".into()).await.unwrap_err();
        assert_eq!(fault.code, "SG0177", "{fault}");
    }

    #[test]
    fn a_full_table_of_connections_is_said() {
        assert_eq!(crowded(80, 100), None);
        let finding = crowded(81, 100).map(|finding| finding.text);
        assert_eq!(finding.as_deref(), Some("the kernel follows 81 of at most 100 connections"));
    }
}

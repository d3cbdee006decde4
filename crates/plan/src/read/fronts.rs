//! Fronts: one port in short, or a list of ports.

use super::side;
use crate::Problem;
use crate::file::{FrontFile, PortFile, PortKindFile};
use segue_model::plan::{FrontPlan, PortKind, PortPlan, TlsPlan};

/// Makes the plan of a front.
pub(super) fn front(file: FrontFile, problems: &mut Vec<Problem>) -> FrontPlan {
    let FrontFile { name, side: at, listen, take_over, port, egress, control, state } = file;
    let mut refuse = |text: &str| {
        problems.push(Problem {
            code: "SG0749",
            key: format!("front[{name}]"),
            text: text.to_owned(),
            remedy: "write `listen`, with `take_over` if a live server has the port, or one \
                     [[front.port]] for each port, with `certificates` if its `kind` is `tls`"
                .to_owned(),
        });
    };
    match (listen.is_some() || take_over.is_some(), port.is_empty()) {
        (true, false) => refuse("`listen` or `take_over` stand beside a [[front.port]]"),
        (_, true) if listen.is_none() => refuse("no port is named"),
        _ => {}
    }
    for file in &port {
        let (tls, named) = (file.kind == PortKindFile::Tls, !file.certificates.is_empty());
        match (tls, named || file.default_certificate.is_some()) {
            (true, _) if !named => {
                refuse(&format!("the port {} for tls has no `certificates`", file.listen))
            }
            (false, true) => {
                refuse(&format!("the port {} has certificates and is not for tls", file.listen))
            }
            _ => {}
        }
    }
    let only = listen.map(|listen| PortPlan::http(listen, take_over.unwrap_or_default()));
    let ports = only.into_iter().chain(port.into_iter().map(of_list)).collect();
    FrontPlan { name, side: side(at), ports, egress, control, state }
}

fn of_list(file: PortFile) -> PortPlan {
    let kind = match file.kind {
        PortKindFile::Http => PortKind::Http,
        PortKindFile::Tls => PortKind::Tls,
    };
    let PortFile { kind: _, listen, take_over, certificates, default_certificate } = file;
    let tls = (kind == PortKind::Tls).then_some(TlsPlan { certificates, default_certificate });
    PortPlan { kind, listen, take_over, tls }
}

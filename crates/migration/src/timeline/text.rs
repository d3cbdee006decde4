//! The timeline as people read it, in the zone of the plan's first window.

use super::{Item, Kind, Said, Standing};
use crate::fleet::zoned;
use segue_model::fleet::Fleet;
use std::fmt::Write as _;

/// Returns how many items are overdue.
pub fn overdue(items: &[Item]) -> usize {
    items.iter().filter(|item| item.state == Standing::Overdue).count()
}

/// Returns the items as text, a few lines each.
pub fn text(fleet: &Fleet, items: &[Item]) -> String {
    let zone = fleet.schedule.windows.first().map_or("UTC", |window| window.zone.as_str());
    let clock = |ms: u64| {
        zoned(ms, zone)
            .map_or_else(|| ms.to_string(), |z| z.strftime("%a %Y-%m-%d %H:%M %Z").to_string())
    };
    let mut text = match fleet.schedule.begins_at_ms {
        Some(begins) => format!("T is {}\n", clock(begins)),
        None => "the plan has no `begins_at`: nothing has a date\n".to_owned(),
    };
    for item in items {
        let due = item.due_ms.map_or_else(|| "-".to_owned(), clock);
        let person = item.person.as_deref().unwrap_or("nobody");
        let _ = writeln!(
            text,
            "{:<8} {:<14} {due:<24} {:<18} {}{}",
            word(item.state),
            item.when,
            item.id,
            item.what,
            if item.about == "run" { String::new() } else { format!(" ({})", item.about) },
        );
        let kind = match item.kind {
            Kind::Gate => "gate",
            Kind::PersonsStep => "person's step",
        };
        let locks = if item.locks { ", locks the cutover" } else { "" };
        let _ = writeln!(text, "         {kind}{locks}; {}: {person}", item.duty);
        if !item.because.is_empty() {
            let _ = writeln!(text, "         {}", item.because);
        }
        let said = [("acknowledged", &item.acknowledged), ("waived", &item.waived)];
        for (verb, said) in said.into_iter().filter_map(|(verb, s)| Some((verb, s.as_ref()?))) {
            let Said { by, has_duty, at_ms, note } = said;
            let whose = if *has_duty { "" } else { ", whose duty it is not" };
            let _ = writeln!(text, "         {verb} by {by}{whose}, {}: {note}", clock(*at_ms));
        }
        let open = item.state < Standing::Waived;
        if open && !item.how.is_empty() {
            let _ = writeln!(text, "         how: {}", item.how);
        }
    }
    let late = overdue(items);
    let _ = write!(text, "{} items, {late} overdue", items.len());
    text
}

fn word(state: Standing) -> &'static str {
    match state {
        Standing::Overdue => "OVERDUE",
        Standing::Unknown => "unknown",
        Standing::Due => "due",
        Standing::Pending => "pending",
        Standing::Waived => "waived",
        Standing::Done => "done",
    }
}

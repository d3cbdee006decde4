//! Items of the timeline that a plan adds, or leaves out.

use super::problem;
use crate::Problem;
use crate::file::TimelineFile;
use segue_model::fleet::{OwnItem, TimelinePlan};

/// Whose duty an item is that names nobody's.
const LEAD: &str = "lead";
const ID_MAX: usize = 64;
/// Farthest from the beginning, seconds: a year.
const FAR_S: i64 = 366 * 86_400;

/// Checks and converts it.
pub(super) fn read(files: &[TimelineFile], problems: &mut Vec<Problem>) -> TimelinePlan {
    let mut plan = TimelinePlan::default();
    for (place, file) in files.iter().enumerate() {
        let key = match file.id.as_str() {
            "" => format!("timeline[#{}]", place + 1),
            id => format!("timeline[{id}]"),
        };
        let mut refuse = |text: &str, remedy: &str| {
            problems.push(problem("SG0748", key.clone(), text, remedy));
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        if file.id.is_empty() || file.id.len() > ID_MAX || !file.id.bytes().all(plain) {
            refuse("it has no usable `id`", "write letters, digits, `-`, `_`, `.` and `:`");
            continue;
        }
        let known = plan.own.iter().map(|item| &item.id).chain(&plan.off);
        if known.into_iter().any(|id| *id == file.id) {
            refuse("it is there twice", "give each its own `id`");
            continue;
        }
        if file.off {
            if file.at.is_some() || file.what.is_some() || file.needed {
                refuse("it is left out and yet says more", "leave out either");
            }
            plan.off.push(file.id.clone());
            continue;
        }
        let at_s = file.at.as_deref().and_then(seconds);
        let (Some(at_s), Some(what)) = (at_s, &file.what) else {
            refuse(
                "it does not say when it is due and what there is to do",
                "write `at` as `-3d`, `-12h`, `+15m` or `0`, and `what`",
            );
            continue;
        };
        if file.needed && at_s > 0 {
            refuse(
                "it is due after the beginning and cannot lock the cutover",
                "write an earlier `at`, or leave `needed` out",
            );
        }
        let duty = file.duty.clone().unwrap_or_else(|| LEAD.to_owned());
        let (id, what) = (file.id.clone(), what.clone());
        plan.own.push(OwnItem { id, at_s, what, duty, needed: file.needed });
    }
    plan
}

/// Returns the seconds of `-3d`, `-12h`, `+15m`, `30s` or `0`.
fn seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (number, unit) = match rest.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => rest.split_at(at),
        None if rest == "0" => (rest, "s"),
        None => return None,
    };
    let unit = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    let seconds = number.parse::<i64>().ok()?.checked_mul(unit)?;
    (seconds <= FAR_S).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        assert_eq!(seconds("-3d"), Some(-259_200));
        assert_eq!(seconds("+15m"), Some(900));
        assert_eq!(seconds("12h"), Some(43_200));
        assert_eq!(seconds("0"), Some(0));
        for wrong in ["", "-", "3", "3 d", "3w", "--3d", "d", "99999999999999999999d", "400d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}

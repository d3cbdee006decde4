//! What can be promised of a provider's changes, and what not.

use serde::Serialize;
use std::fmt;

/// How a foreign edit between reading and changing is kept from being written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Swap {
    /// The provider compares: a change of other values is refused.
    Compared,
    /// Read again right before; an edit in the milliseconds between is written over.
    ReadAgain,
}

/// What becomes of a change that a dead process sent and that arrives late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// It is refused.
    Refused,
    /// It is waited for: longer than the provider works on a request.
    WaitedFor,
    /// There is none: what is not done when a process dies is never done.
    CannotCome,
}

/// What can be promised of a provider's changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The driver's name in a plan file.
    pub driver: &'static str,
    /// Whether several sets change together or not at all in the provider's own records.
    pub all_or_none: bool,
    /// Whether nobody who asks one of its name servers ever sees half of a change.
    pub atomic_when_asked: bool,
    /// Whether a foreign edit is noticed.
    pub swap: Swap,
    /// Whether a late change is refused.
    pub late: Late,
    /// Whether it signs what changes in a signed zone by itself.
    pub signs: bool,
    /// Lowest TTL, seconds.
    pub ttl_min_s: u32,
    /// Most that fits into one change.
    pub largest: &'static str,
    /// Whether the NS sets of the zone itself can be changed.
    pub own_ns: bool,
    /// What else is to be known, in one sentence.
    pub remark: &'static str,
}

impl fmt::Display for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compared => "compared",
            Self::ReadAgain => "read again",
        })
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::WaitedFor => "waited for",
            Self::CannotCome => "cannot come",
        })
    }
}

/// Returns what can be promised of every driver.
pub fn capability_table() -> Vec<Capabilities> {
    vec![
        super::update::capabilities(),
        super::powerdns::capabilities(),
        super::file::capabilities(),
        super::route53::capabilities(),
        super::cloudflare::capabilities(60),
        super::command::capabilities(),
    ]
}

impl Capabilities {
    /// Returns what cannot be promised of changes, in sentences about `zone`.
    pub fn open_questions(&self, zone: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.all_or_none {
            lines.push(format!(
                "that the sets of zone `{zone}` change together: `{}` does not say so",
                self.driver
            ));
        }
        if !self.atomic_when_asked {
            lines.push(format!(
                "that nobody sees half of a change of zone `{zone}`: {}'s name servers follow in \
                 their own time",
                self.driver
            ));
        }
        if self.swap == Swap::ReadAgain {
            lines.push(format!(
                "that an edit of zone `{zone}` in the milliseconds of a change is noticed: \
                 `{}` compares nothing",
                self.driver
            ));
        }
        lines
    }
}

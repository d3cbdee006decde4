//! What persons say to a run: agreements, reports, waivers, and when a unit takes part.

use super::Conductor;
use crate::api::Saying;
use crate::unit::{Answer, refuse};
use segue_migration::fleet::may_approve;
use segue_migration::timeline::{Ack, acknowledging};
use segue_model::event::{Actor, Event};
use segue_model::{Fault, UnitName};
use std::sync::Arc;

impl Conductor {
    pub(super) async fn say(self: &Arc<Self>, saying: Saying, by: Actor) -> Answer {
        let run = self.need_run()?;
        match saying {
            Saying::Approve { role } => {
                let may: Result<(), String> =
                    self.journal.with(|state| may_approve(&run.fleet, state, &role, &by));
                may.map_err(|why| refuse(&format!("agree as `{role}`"), &why))?;
                self.journal.append(Event::Approved { by, role: role.clone() }).await?;
                Ok((0, format!("agreed as `{role}`")))
            }
            Saying::Acknowledge { item, note } => {
                let (facts, now_ms) = (self.facts(&run, 0).await, self.clock.wall_ms());
                let known = (now_ms, &facts);
                let may = self
                    .journal
                    .with(|state| acknowledging((&run.fleet, state), known, &item, &by));
                let ack = may.map_err(|why| {
                    refuse(&format!("acknowledge `{item}`"), &why)
                        .hint("`segue timeline` names every item")
                })?;
                let (event, told) = match ack {
                    Ack::Take { told, held } => {
                        (Event::Acknowledged { item, by, note, held }, told)
                    }
                    Ack::Note(told) => {
                        let who = if let Actor::Person(who) = by { who } else { "?".to_owned() };
                        (Event::Noted { text: format!("{who} on `{item}`: {note}") }, told)
                    }
                };
                self.journal.append(event).await?;
                Ok((0, told))
            }
            Saying::Waive { rule, unit, because } => {
                let event = Event::Waived { rule: rule.clone(), by, because };
                match unit {
                    Some(unit) => {
                        let unit = self.name_of(&unit)?;
                        self.journal.of(unit.clone()).append(event).await?;
                        Ok((0, format!("`{rule}` is waived for unit `{unit}`")))
                    }
                    None => {
                        self.journal.append(event).await?;
                        Ok((0, format!("`{rule}` is waived for every unit")))
                    }
                }
            }
            Saying::Exclude { unit, because } => {
                self.about(&unit, Event::UnitExcluded { by, because }, "is taken out").await
            }
            Saying::Include { unit } => {
                self.about(&unit, Event::UnitIncluded { by }, "takes part again").await
            }
            Saying::Defer { unit, not_before_ms, because } => {
                let event = Event::UnitDeferred { not_before_ms, by, because };
                self.about(&unit, event, "is put off").await
            }
            Saying::ResumeWave { wave } => {
                let event = Event::WaveResumed { wave, by };
                let known = event.clone();
                let told = self.journal.append_if(event, move |s| s.allows(None, &known)).await?;
                match told {
                    Some(_) => Ok((0, format!("wave {wave} may go on: `segue cutover` again"))),
                    None => Err(refuse(&format!("let wave {wave} go on"), "it is not stopped")),
                }
            }
        }
    }

    /// Appends an event about a unit if its state allows it.
    async fn about(&self, unit: &str, event: Event, told: &str) -> Answer {
        let unit = self.name_of(unit)?;
        let journal = self.journal.of(unit.clone());
        let (known, epoch, name) = (event.clone(), journal.epoch(), event.name());
        match journal.append_if(event, move |state| state.allows(&known, epoch)).await? {
            Some(_) => Ok((0, format!("unit `{unit}` {told}"))),
            None => {
                let cause = format!("`{name}` does not fit how it stands");
                Err(refuse(&format!("tell unit `{unit}`"), &cause).hint(
                    "`segue status` shows how it stands; a unit that moved is failed back first",
                ))
            }
        }
    }

    fn name_of(&self, unit: &str) -> Result<UnitName, Fault> {
        let name = UnitName::from(unit);
        if self.need_run()?.units.contains_key(&name) {
            return Ok(name);
        }
        Err(refuse("find the unit", &format!("the run has no unit `{unit}`"))
            .hint("`segue status` shows every unit"))
    }
}

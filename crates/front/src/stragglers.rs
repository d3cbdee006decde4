//! Who still comes to the address that a unit has left: its clients' addresses, the latest ones.
//!
//! Of a front at the source, while its unit is at the target, and the other way round. Asked
//! and written only then, so that nobody pays for it before.

use crate::clock;
use crate::control::Straggler;
use segue_model::{Side, Sides, UnitName};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Most addresses that are remembered, over all units of a front.
const MOST: usize = 4_096;

/// Most addresses that an answer tells.
const TOLD: usize = 100;

/// The clients that still come.
#[derive(Default)]
pub(crate) struct Stragglers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    units: HashMap<UnitName, HashMap<IpAddr, Seen>>,
    /// By when each was last seen, the least lately first.
    order: BTreeMap<u64, (UnitName, IpAddr)>,
    next: u64,
    /// When the last of each unit's clients was seen for whom there was no room.
    dropped_ms: HashMap<UnitName, u64>,
}

/// What is known of those who still come.
#[derive(Debug, PartialEq)]
pub(crate) struct Late {
    /// How many are remembered.
    pub(crate) count: usize,
    /// When the last one was seen who is not remembered any more.
    pub(crate) dropped_ms: Option<u64>,
    /// Those that came last, the latest first.
    pub(crate) latest: Vec<Straggler>,
}

struct Seen {
    sides: Sides<u64>,
    last_ms: u64,
    place: u64,
}

impl Stragglers {
    /// Notes a request or a connection of a unit that went to `side`.
    pub(crate) fn note(&self, unit: &UnitName, client: IpAddr, side: Side) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.next += 1;
        let (place, last_ms) = (inner.next, clock::now_ms());
        let known = inner.units.get_mut(unit).and_then(|clients| clients.get_mut(&client));
        let former = known.map(|seen| {
            *seen.sides.get_mut(side) += 1;
            seen.last_ms = last_ms;
            std::mem::replace(&mut seen.place, place)
        });
        let one = match former {
            Some(former) => inner.order.remove(&former),
            None => {
                inner.make_room();
                let mut sides = Sides { source: 0, target: 0 };
                *sides.get_mut(side) = 1;
                let clients = inner.units.entry(unit.clone()).or_default();
                clients.insert(client, Seen { sides, last_ms, place });
                Some((unit.clone(), client))
            }
        };
        inner.order.extend(one.map(|one| (place, one)));
    }

    /// Returns which clients of a unit, or of all, still came.
    pub(crate) fn told(&self, unit: Option<&UnitName>) -> Late {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match unit {
            Some(unit) => inner.units.get(unit).map_or(0, HashMap::len),
            None => inner.order.len(),
        };
        let latest = inner.order.values().rev();
        let latest = latest.filter(|(of, _)| unit.is_none_or(|unit| unit == of));
        let told = latest.filter_map(|(unit, client)| {
            let seen = inner.units.get(unit)?.get(client)?;
            Some(Straggler {
                unit: unit.clone(),
                client: *client,
                sides: seen.sides.clone(),
                last_ms: seen.last_ms,
            })
        });
        let latest = told.take(if count == 0 { 0 } else { TOLD }).collect();
        let dropped_ms = match unit {
            Some(unit) => inner.dropped_ms.get(unit).copied(),
            None => inner.dropped_ms.values().max().copied(),
        };
        Late { count, dropped_ms, latest }
    }

    /// Returns how many clients of a unit are remembered.
    pub(crate) fn count(&self, unit: &UnitName) -> usize {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.units.get(unit).map_or(0, HashMap::len)
    }

    /// Forgets a unit that left.
    pub(crate) fn forget(&self, unit: &UnitName) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in inner.units.remove(unit).unwrap_or_default().into_values() {
            inner.order.remove(&seen.place);
        }
        inner.dropped_ms.remove(unit);
    }
}

impl Inner {
    /// Forgets whom nobody saw for the longest time, if there are too many. When that one came
    /// stays known: a unit whose clients are all forgotten is not one to which nobody came.
    fn make_room(&mut self) {
        while self.order.len() >= MOST
            && let Some((_, (unit, client))) = self.order.pop_first()
        {
            let Some(clients) = self.units.get_mut(&unit) else { continue };
            let seen = clients.remove(&client);
            if clients.is_empty() {
                self.units.remove(&unit);
            }
            if let Some(seen) = seen {
                self.dropped_ms.insert(unit, seen.last_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn the_latest_are_remembered_and_no_more_than_there_is_room_for() {
        let stragglers = Stragglers::default();
        let (shop, other): (UnitName, UnitName) = ("shop".into(), "other".into());
        let nobody = Late { count: 0, dropped_ms: None, latest: Vec::new() };
        assert_eq!(stragglers.told(Some(&shop)), nobody);
        let began_ms = clock::now_ms();
        stragglers.note(&other, client(0), Side::Target);
        let noted_ms = clock::now_ms();
        stragglers.note(&shop, client(0), Side::Target);
        assert_eq!(stragglers.told(Some(&other)).dropped_ms, None);
        for number in 0..MOST as u32 {
            stragglers.note(&shop, client(number), Side::Target);
        }
        // The other unit's only one was seen before all of these.
        let gone = stragglers.told(Some(&other));
        assert_eq!((gone.count, gone.latest.len()), (0, 0));
        let dropped_ms = gone.dropped_ms.expect("it came, whoever it was");
        assert!((began_ms..=noted_ms).contains(&dropped_ms), "{dropped_ms}");
        let all = stragglers.told(None);
        assert_eq!((all.count, all.dropped_ms), (MOST, Some(dropped_ms)));
        assert_eq!(stragglers.told(Some(&shop)).dropped_ms, None, "all of its own are there");
        stragglers.note(&shop, client(7), Side::Source);
        stragglers.note(&other, client(9), Side::Target);
        let Late { count, latest: told, .. } = stragglers.told(Some(&shop));
        assert_eq!((count, told.len()), (MOST - 1, TOLD));
        assert_eq!((told[0].client, &told[0].sides), (client(7), &Sides { source: 1, target: 1 }));
        assert_eq!(told[1].client, client(MOST as u32 - 1));
        stragglers.note(&shop, client(0), Side::Target);
        assert_eq!(stragglers.told(Some(&shop)).latest[0].sides.target, 1, "forgotten");
        assert!(stragglers.told(Some(&shop)).dropped_ms.is_some());
        stragglers.forget(&shop);
        assert_eq!(stragglers.told(Some(&shop)), nobody);
        assert_eq!(stragglers.told(None).count, 1);
    }
}

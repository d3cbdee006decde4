//! Segue's part of nginx's configuration: one file, written whole at each change.

use super::super::driver::{Held, Unit};
use super::at_least::at_least;
use segue_front::control::SiteRoute;
use segue_model::Side;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the file says, in its first line as JSON behind a `#`, so that it can be read again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    /// Rises with every change; the running nginx tells which one it has.
    pub(super) generation: u64,
    pub(super) units: BTreeMap<String, SaidUnit>,
}

/// A unit in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SaidUnit {
    pub(super) sites: Vec<SiteRoute>,
    pub(super) side: Side,
    pub(super) held: Option<Held>,
}

impl Said {
    /// Reads the file.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let Some(first) = text.lines().next() else { return Ok(Self::default()) };
        let json = first.strip_prefix("# ").ok_or("its first line is not Segue's")?;
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    /// Puts a unit in.
    pub(super) fn put(&mut self, unit: Unit<'_>, side: Side, held: Option<&Held>) {
        let said = SaidUnit { sites: unit.sites.to_vec(), side, held: held.cloned() };
        self.units.insert(unit.name.to_string(), said);
        self.generation += 1;
    }

    /// Writes the file, for nginx's `http` block.
    pub(super) fn write(&self) -> serde_json::Result<String> {
        let mut text = format!("# {}\n", serde_json::to_string(self)?);
        text.push_str("# Written by Segue at each change; changes by hand are lost.\n");
        // Writing to a string cannot fail.
        let _ = self.body(&mut text);
        Ok(text)
    }

    fn body(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "map $host $segue_generation {{ default {}; }}", self.generation)?;
        for (index, unit) in self.units.values().enumerate() {
            for (number, site) in unit.sites.iter().enumerate() {
                let backend = site.backends.get(unit.side);
                writeln!(
                    text,
                    "upstream segue_{index}_{number} {{ server {backend} max_fails=0; }}"
                )?;
            }
            let (held, free) = match &unit.held {
                None => (0, String::new()),
                Some(Held { until_ms: None, .. }) => (1, String::new()),
                // Seconds: rounded up, so that it never ends before its lease.
                Some(Held { until_ms: Some(until), .. }) => {
                    (1, format!(" \"~^(?:{})\\.\" 0;", at_least(until.div_ceil(1_000))))
                }
            };
            writeln!(text, "map $msec $segue_held_{index} {{ default {held};{free} }}")?;
        }
        writeln!(text, "map $host $segue_upstream {{")?;
        self.hosts(text, |index, number| format!("segue_{index}_{number}"))?;
        writeln!(text, "}}\nmap $host $segue_side {{")?;
        for unit in self.units.values() {
            for host in unit.sites.iter().flat_map(|site| &site.hosts) {
                writeln!(text, "    {host} {};", unit.side)?;
            }
        }
        writeln!(text, "}}\nmap $host $segue_held {{\n    default 0;")?;
        self.hosts(text, |index, _| format!("$segue_held_{index}"))?;
        writeln!(text, "}}")
    }

    fn hosts(&self, text: &mut String, value: impl Fn(usize, usize) -> String) -> std::fmt::Result {
        for (index, unit) in self.units.values().enumerate() {
            for (number, site) in unit.sites.iter().enumerate() {
                for host in &site.hosts {
                    writeln!(text, "    {host} {};", value(index, number))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::{Sides, UnitName};

    #[test]
    fn comes_back_as_it_was_written_and_nothing_else_is_taken_for_it() {
        let site = SiteRoute {
            hosts: vec!["a.test".into(), "www.a.test".into()],
            backends: Sides {
                source: "192.0.2.1:80".parse().unwrap(),
                target: "192.0.2.2:80".parse().unwrap(),
            },
            reach: None,
        };
        let name = UnitName("a".into());
        let unit = Unit { name: &name, sites: &[site] };
        let held = Held {
            id: "h-1".into(),
            until_ms: Some(1_796_035_961_200),
            age_max_ms: 1,
            count_max: 1,
        };
        let mut said = Said::default();
        said.put(unit, Side::Target, Some(&held));
        let text = said.write().unwrap();
        assert_eq!(Said::read(&text).unwrap(), said);
        assert!(text.contains("server 192.0.2.2:80") && !text.contains("server 192.0.2.1:80"));
        assert!(text.contains("|1796035962)"), "rounded up: {text}");
        assert_eq!(Said::read("").unwrap(), Said::default());
        assert!(Said::read("server {}").is_err());
    }
}

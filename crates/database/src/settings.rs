//! What a replica is told, and the names it leaves at the servers.

use segue_doors::sql::{Ident, Literal};
use segue_model::plan::DatabasePlan;
use segue_model::{Epoch, RunId, Side, UnitName};
use std::time::Duration;

/// Everything a replica needs to know. Holds no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Schema, servers and logins.
    pub plan: DatabasePlan,
    /// The run.
    pub run: RunId,
    /// The unit; of a unit with several databases `UNIT:LABEL`, so that each has its own
    /// claim, logins and notes at the servers.
    pub unit: UnitName,
    /// Life of an unrenewed fence, milliseconds. The server counts whole seconds, so it
    /// is rounded up.
    pub lease_ms: u64,
}

impl Settings {
    /// Returns the fence's life in the whole seconds that the server counts.
    pub(crate) fn lease_seconds(&self) -> u64 {
        self.lease_ms.div_ceil(1000).max(1)
    }

    /// Returns how often a fence is renewed.
    pub(crate) fn renewal(&self) -> Duration {
        Duration::from_millis((self.lease_ms / 10).clamp(20, 500))
    }
}

/// Schema that holds everything Segue leaves at a server.
pub(crate) const OWN_SCHEMA: &str = "segue";

/// The names of one unit's things at both servers.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// 8 hex digits that stand for the unit.
    hash: String,
    /// 8 hex digits that stand for both servers: what all units between them share.
    pair: String,
    /// The unit's name as far as it fits into names of tables and connections.
    slug: String,
    /// The unit's schema.
    pub(crate) schema: String,
    /// The unit's name.
    pub(crate) unit: String,
}

impl Names {
    pub(crate) fn new(settings: &Settings) -> Self {
        let unit = settings.unit.as_str();
        let digits = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..8].to_owned();
        let hash = digits(unit);
        let servers = &settings.plan.servers;
        let pair = digits(&format!("{} {}", servers.source.address, servers.target.address));
        let plain = !unit.is_empty()
            && unit.len() <= 24
            && unit.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let slug = if plain { unit.to_owned() } else { format!("u{hash}") };
        Self { hash, pair, slug, schema: settings.plan.schema.clone(), unit: unit.to_owned() }
    }

    /// Returns the beginning of every epoch login of the unit.
    pub(crate) fn login_prefix(&self) -> String {
        format!("segue_{}_e", self.hash)
    }

    /// Returns the login of one epoch.
    pub(crate) fn login(&self, epoch: Epoch) -> String {
        format!("{}{epoch}", self.login_prefix())
    }

    /// Returns the epoch whose login this is.
    pub(crate) fn epoch_of(&self, login: &str) -> Option<Epoch> {
        login.strip_prefix(&self.login_prefix())?.parse().ok().map(Epoch)
    }

    /// Returns whether this is an epoch's login of any unit.
    pub(crate) fn is_epoch_login(login: &str) -> bool {
        let rest = login.strip_prefix("segue_").and_then(|rest| rest.split_once("_e"));
        rest.is_some_and(|(hash, epoch)| {
            hash.len() == 8
                && hash.bytes().all(|b| b.is_ascii_hexdigit())
                && !epoch.is_empty()
                && epoch.bytes().all(|b| b.is_ascii_digit())
        })
    }

    /// Returns the login under which the other server reads the binary log.
    pub(crate) fn reader(&self) -> String {
        format!("segue_{}_r", self.pair)
    }

    /// Returns the replication connection at the server of `replica`.
    pub(crate) fn connection(&self, replica: Side) -> String {
        match replica {
            Side::Target => format!("segue_{}", self.pair),
            Side::Source => format!("segue_{}_back", self.pair),
        }
    }

    /// Returns the name of the lock under which epochs are taken.
    pub(crate) fn epoch_lock(&self) -> Literal {
        Literal::new(format!("segue_{}", self.hash))
    }

    /// Returns what tells the database from others of its unit.
    pub(crate) fn label(&self) -> Option<&str> {
        self.unit.split_once(':').map(|(_, label)| label)
    }

    /// Returns the unit's name as a literal.
    pub(crate) fn unit_literal(&self) -> Literal {
        Literal::new(self.unit.as_str())
    }

    /// Returns the schema, quoted.
    pub(crate) fn schema_ident(&self) -> Ident {
        Ident::new(self.schema.as_str())
    }

    /// Returns the schema as a literal.
    pub(crate) fn schema_literal(&self) -> Literal {
        Literal::new(self.schema.as_str())
    }

    /// Returns a table of the unit's schema, qualified and quoted.
    pub(crate) fn table(&self, table: &str) -> String {
        format!("{}.{}", self.schema_ident(), Ident::new(table))
    }

    /// Returns the heartbeat table, unqualified. One for each unit: a row of another unit
    /// that is missing on this unit's target would stop the stream, and a unit that ends
    /// leaves nothing behind.
    pub(crate) fn heartbeat_table(&self) -> String {
        format!("{}_heartbeat", self.slug)
    }

    /// Returns the marker table, unqualified.
    pub(crate) fn marker_table(&self) -> String {
        format!("{}_marker", self.slug)
    }

    /// Returns the heartbeat table, qualified and quoted.
    pub(crate) fn heartbeat(&self) -> String {
        own(&self.heartbeat_table())
    }

    /// Returns the marker table, qualified and quoted.
    pub(crate) fn marker(&self) -> String {
        own(&self.marker_table())
    }

    /// Returns the table patterns that a stream replicates.
    ///
    /// `_` is a wildcard there: unescaped, `my_shop` would let `my1shop` pass.
    pub(crate) fn table_patterns(&self) -> Vec<String> {
        let escape =
            |name: &str| name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
        vec![
            format!("{}.%", escape(&self.schema)),
            format!("{OWN_SCHEMA}.{}", escape(&self.heartbeat_table())),
            format!("{OWN_SCHEMA}.{}", escape(&self.marker_table())),
        ]
    }

    /// Returns the schemas whose statements a stream replicates. Table patterns alone let
    /// other tenants' routines and events through, for those name no table.
    pub(crate) fn schemas(&self) -> Vec<String> {
        vec![self.schema.clone(), OWN_SCHEMA.to_owned()]
    }
}

/// Returns a table of Segue's own schema, qualified and quoted.
pub(crate) fn own(table: &str) -> String {
    format!("{}.{}", Ident::new(OWN_SCHEMA), Ident::new(table))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::Sides;
    use segue_model::plan::{DatabaseServer, SecretRef};

    fn names(unit: &str, schema: &str) -> Names {
        let server = DatabaseServer {
            address: "127.0.0.1:3306".parse().unwrap(),
            admin: "admin".into(),
            password: SecretRef("env:X".into()),
        };
        Names::new(&Settings {
            plan: DatabasePlan {
                schema: schema.into(),
                servers: Sides { source: server.clone(), target: server },
                logins: vec![],
            },
            run: RunId("r".into()),
            unit: UnitName::from(unit),
            lease_ms: 2_000,
        })
    }

    #[test]
    fn wildcards_of_a_schema_name_are_escaped_in_the_filter() {
        assert_eq!(names("shop", "my_shop").table_patterns()[0], r"my\_shop.%");
    }

    #[test]
    fn an_odd_unit_name_becomes_a_plain_table_name() {
        let odd = names("Shop of `Bob`", "shop").heartbeat_table();
        assert!(odd.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{odd}");
        assert_ne!(odd, names("Shop of `Eve`", "shop").heartbeat_table());
    }

    #[test]
    fn units_between_the_same_servers_share_the_stream_and_nothing_else() {
        let (one, other) = (names("a", "a"), names("b", "b"));
        assert_eq!(one.connection(Side::Target), other.connection(Side::Target));
        assert_ne!(one.connection(Side::Target), one.connection(Side::Source));
        assert_eq!(one.reader(), other.reader());
        assert_ne!(one.login(Epoch(1)), other.login(Epoch(1)));
        assert_ne!(one.heartbeat(), other.heartbeat());
    }

    #[test]
    fn an_epochs_login_is_told_from_a_customers() {
        assert!(Names::is_epoch_login(&names("shop", "shop").login(Epoch(3))));
        for other in ["segue_admin", "segue_shop_e1", "segue_0123abcd_r", "segue_0123abcd_e"] {
            assert!(!Names::is_epoch_login(other), "{other}");
        }
    }

    #[test]
    fn the_epoch_is_read_back_from_its_login() {
        let names = names("shop", "shop");
        assert_eq!(names.epoch_of(&names.login(Epoch(12))), Some(Epoch(12)));
        assert_eq!(names.epoch_of(&names.reader()), None);
    }
}

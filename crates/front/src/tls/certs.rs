//! The certificates of a port, by host name; read anew when their files change.

use super::files::{self, Pair, Stamp};
use crate::clock;
use crate::control::Certificates;
use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use segue_model::{Fault, FaultKind};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Most faults that are told at a time.
const TOLD_MAX: usize = 10;

/// Certificates that a name has: one for each kind of key, as a rule one in all.
type Choice = Vec<Offer>;

/// The host names of a certificate, in lower case.
pub(super) type Names = Arc<[Box<str>]>;

/// A certificate for a client.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) key: Arc<CertifiedKey>,
    /// The hosts it is for.
    pub(super) names: Names,
}

/// All names, in lower case.
#[derive(Default)]
struct Shelf {
    exact: HashMap<Box<str>, Choice>,
    /// `*.example.test` stands under `example.test`.
    wild: HashMap<Box<str>, Choice>,
}

/// A pair that was read.
#[derive(Clone)]
struct Known {
    stamp: Stamp,
    key: Arc<CertifiedKey>,
    names: Names,
    /// Whether its files were not there at the last look.
    gone: bool,
}

/// The certificates of a port.
pub(crate) struct Certs {
    paths: Vec<PathBuf>,
    /// The name whose certificate clients get that ask for none, or for one that is not there.
    default: Option<String>,
    shelf: ArcSwap<Shelf>,
    /// What was read so far; locked for as long as files are looked at.
    known: Mutex<BTreeMap<Pair, Known>>,
    told: Mutex<Certificates>,
}

impl Certs {
    /// Reads all certificates. Blocks.
    ///
    /// # Errors
    /// `SG0124` if files are named and none can be used, or there is none for the default name.
    pub(super) fn open(paths: Vec<PathBuf>, default: Option<String>) -> Result<Arc<Self>, Fault> {
        let default = default.map(|name| name.to_ascii_lowercase());
        let shelf = ArcSwap::from_pointee(Shelf::default());
        let (known, told) = Default::default();
        let certs = Arc::new(Self { paths, default, shelf, known, told });
        certs.refresh();
        let none = |cause: String| {
            let op = format!("read certificates below {:?}", certs.paths);
            Fault::new("SG0124", FaultKind::Invalid, op, cause)
                .hint("name files or folders with a certificate and its key for each host name")
        };
        let told = certs.told();
        if told.pairs == 0 && !certs.paths.is_empty() {
            let first = told.faults.first().map(ToString::to_string);
            return Err(none(first.unwrap_or_else(|| "no certificate is there".to_owned())));
        }
        if let Some(name) = certs.default.as_ref().filter(|name| certs.named(name).is_empty()) {
            return Err(none(format!("no certificate is for `{name}`, the default name")));
        }
        Ok(certs)
    }

    /// Returns the certificate for a name, or the default one, that a client can verify.
    pub(super) fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Offer> {
        let lower = name.map(str::to_ascii_lowercase);
        let own = lower.map(|name| self.named(&name)).unwrap_or_default();
        let choice = match &self.default {
            Some(default) if own.is_empty() => self.named(default),
            _ => own,
        };
        let fits = choice.iter().find(|offer| offer.key.key.choose_scheme(schemes).is_some());
        fits.or(choice.first()).cloned()
    }

    fn named(&self, name: &str) -> Choice {
        let shelf = self.shelf.load();
        let parent = || name.split_once('.').and_then(|(_, parent)| shelf.wild.get(parent));
        shelf.exact.get(name).or_else(parent).cloned().unwrap_or_default()
    }

    /// Looks at the files and reads those that changed. A pair that cannot be used, whose key
    /// does not fit its chain above all, leaves the former one in its place, for files are
    /// often replaced one after the other. One that is gone is let go at the second look.
    /// Blocks.
    pub(super) fn refresh(&self) {
        let (mut pairs, mut faults) = (BTreeSet::new(), Vec::new());
        for path in &self.paths {
            let (found, wrong) = files::find(path);
            pairs.extend(found);
            faults.extend(wrong);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        // What cannot be looked into says nothing about what is in it.
        let unsure = !faults.is_empty();
        known.retain(|pair, known| {
            let here = pairs.contains(pair);
            let keep = here || unsure || !known.gone;
            known.gone = !here;
            changed |= !keep;
            keep
        });
        for pair in pairs {
            match fresh(known.get(&pair), &pair) {
                Ok(None) => {}
                Ok(Some(read)) => {
                    changed = true;
                    if pair.is_open().unwrap_or(false) {
                        tracing::warn!(key = %pair.key.display(), "others may read this key");
                    }
                    known.insert(pair, read);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if changed {
            self.shelf.store(Arc::new(Shelf::of(&known)));
        }
        self.tell(&known, faults, changed);
    }

    fn tell(&self, known: &BTreeMap<Pair, Known>, mut faults: Vec<Fault>, changed: bool) {
        faults.truncate(TOLD_MAX);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in faults.iter().filter(|fault| !told.faults.contains(fault)) {
            tracing::warn!(%fault, "certificate not taken");
        }
        told.faults = faults;
        if changed {
            told.pairs = known.len();
            told.names = known.values().map(|known| known.names.len()).sum();
            told.changed_ms = clock::now_ms();
        }
    }

    /// Returns what is to be told of them.
    pub(crate) fn told(&self) -> Certificates {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a pair unless it is as it was.
fn fresh(known: Option<&Known>, pair: &Pair) -> Result<Option<Known>, Fault> {
    let fault = |cause: &dyn fmt::Display| {
        let op = format!("read certificate `{}`", pair.chain.display());
        Fault::new("SG0123", FaultKind::Invalid, op, cause)
            .hint("renew chain and key together; if it was read before, that one is used meanwhile")
    };
    // Before reading: what is written while it is read is found at the next look.
    let stamp = pair.stamp().map_err(|e| fault(&e))?;
    if known.is_some_and(|known| known.stamp == stamp) {
        return Ok(None);
    }
    let (key, names) = load(pair).map_err(|cause| fault(&cause))?;
    Ok(Some(Known { stamp, key, names, gone: false }))
}

impl Shelf {
    fn of(known: &BTreeMap<Pair, Known>) -> Self {
        let mut shelf = Self::default();
        for known in known.values() {
            for name in known.names.iter() {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut shelf.wild, parent.into()),
                    None => (&mut shelf.exact, name.clone()),
                };
                let (key, all) = (known.key.clone(), known.names.clone());
                names.entry(name).or_default().push(Offer { key, names: all });
            }
        }
        shelf
    }
}

/// Reads a pair and checks that the key is that of the certificate.
fn load(pair: &Pair) -> Result<(Arc<CertifiedKey>, Names), String> {
    let text = |e: &dyn fmt::Display, path: &PathBuf| format!("`{}`: {e}", path.display());
    let chain = files::read(&pair.chain).map_err(|e| text(&e, &pair.chain))?;
    let key = if pair.key == pair.chain {
        chain.clone()
    } else {
        files::read(&pair.key).map_err(|e| text(&e, &pair.key))?
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|e| text(&e, &pair.chain))?;
    let leaf = chain.first().ok_or_else(|| text(&"no certificate in it", &pair.chain))?;
    let names = names(leaf).map_err(|e| text(&e, &pair.chain))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| text(&e, &pair.key))?;
    let key =
        rustls::crypto::ring::sign::any_supported_type(&key).map_err(|e| text(&e, &pair.key))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|e| format!("key and certificate do not fit: {e}"))?;
    Ok((Arc::new(certified), names))
}

/// Returns the host names of a certificate in lower case.
fn names(leaf: &CertificateDer<'_>) -> Result<Names, String> {
    let parsed = webpki::EndEntityCert::try_from(leaf).map_err(|e| e.to_string())?;
    let names: Vec<Box<str>> =
        parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect();
    if names.is_empty() {
        return Err("the certificate names no host".to_owned());
    }
    Ok(names.into())
}

impl fmt::Debug for Certs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certs").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name(), hello.signature_schemes())?.key)
    }
}

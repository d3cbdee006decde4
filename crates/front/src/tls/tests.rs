//! Certificates on disks, as people and programs leave them there.
#![allow(clippy::unwrap_used)]

use super::certs::Certs;
use rcgen::{CertificateParams, KeyPair};
use rustls::SignatureScheme;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

/// A chain of one and its key, as text.
fn made(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Replaced as programs do it; the time of a change has a resolution.
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, path).unwrap();
}

fn open(folder: &TempDir, default: Option<&str>) -> Arc<Certs> {
    Certs::open(vec![folder.path().to_owned()], default.map(str::to_owned)).unwrap()
}

/// The certificate that a name gets, as its octets.
fn served(certs: &Certs, name: &str) -> Option<Vec<u8>> {
    certs.find(Some(name), ECDSA).map(|offer| offer.key.cert[0].to_vec())
}

#[test]
fn finds_every_usual_form_and_serves_each_name_its_own() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (chain, key) = made(&["certbot.example.test"]);
    write(&at("live/fullchain.pem"), &chain);
    write(&at("live/privkey.pem"), &key);
    let (chain, key) = made(&["combined.example.test"]);
    write(&at("combined.pem"), &format!("{key}{chain}"));
    let (chain, key) = made(&["pair.example.test", "*.pair.example.test"]);
    write(&at("pair.crt"), &chain);
    write(&at("pair.key"), &key);
    let (chain, key) = made(&["Beside.Example.Test"]);
    write(&at("beside.pem"), &chain);
    write(&at("beside.pem.key"), &key);
    write(&at("README"), "nothing of ours");
    let certs = open(&folder, None);
    let told = certs.told();
    assert_eq!((told.pairs, told.names, told.faults.len()), (4, 5, 0), "{:?}", told.faults);
    let names = ["certbot", "combined", "pair", "beside"];
    let mut all: Vec<_> =
        names.iter().map(|n| served(&certs, &format!("{n}.example.test")).unwrap()).collect();
    assert_eq!(served(&certs, "PAIR.example.test").unwrap(), all[2]);
    assert_eq!(served(&certs, "www.pair.example.test").unwrap(), all[2]);
    assert!(served(&certs, "a.b.pair.example.test").is_none(), "`*` is one label");
    assert!(served(&certs, "other.example.test").is_none());
    assert!(certs.find(None, ECDSA).is_none());
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
}

#[test]
fn a_default_name_serves_who_names_none_or_an_unknown_one() {
    let folder = TempDir::new().unwrap();
    let (chain, key) = made(&["a.example.test"]);
    write(&folder.path().join("a.pem"), &format!("{chain}{key}"));
    let certs = open(&folder, Some("A.example.test"));
    let own = served(&certs, "a.example.test");
    assert!(own.is_some());
    assert_eq!(served(&certs, "b.example.test"), own);
    assert_eq!(certs.find(None, ECDSA).map(|offer| offer.key.cert[0].to_vec()), own);
    let paths = vec![folder.path().to_owned()];
    let fault = Certs::open(paths, Some("b.example.test".into())).unwrap_err();
    assert!(fault.code == "SG0124" && fault.cause.contains("b.example.test"), "{fault}");
}

#[test]
fn takes_new_pairs_whole_and_keeps_the_former_until_they_are() {
    let folder = TempDir::new().unwrap();
    let (crt, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
    let (chain, secret) = made(&["a.example.test"]);
    write(&crt, &chain);
    write(&key, &secret);
    let certs = open(&folder, None);
    let former = served(&certs, "a.example.test").unwrap();
    // The chain first, its key later.
    let (chain, secret) = made(&["a.example.test", "b.example.test"]);
    write(&crt, &chain);
    certs.refresh();
    assert_eq!(served(&certs, "a.example.test").unwrap(), former);
    assert!(served(&certs, "b.example.test").is_none());
    let fault = &certs.told().faults[0];
    assert!(fault.code == "SG0123" && fault.cause.contains("do not fit"), "{fault}");
    write(&key, &secret);
    certs.refresh();
    assert_ne!(served(&certs, "a.example.test").unwrap(), former);
    assert!(served(&certs, "b.example.test").is_some());
    assert_eq!(certs.told().faults, []);
    // Rubbish, half a file, nothing.
    let good = served(&certs, "a.example.test");
    for bad in ["rubbish", &chain[..chain.len() / 2], ""] {
        write(&crt, bad);
        certs.refresh();
        assert_eq!(served(&certs, "a.example.test"), good, "{bad:?}");
        assert_eq!(certs.told().faults.len(), 1, "{bad:?}");
    }
}

#[test]
fn lets_go_what_is_gone_twice_and_nothing_of_a_folder_it_cannot_read() {
    let folder = TempDir::new().unwrap();
    for name in ["a", "b"] {
        let (chain, key) = made(&[&format!("{name}.example.test")]);
        write(&folder.path().join(format!("{name}.pem")), &format!("{chain}{key}"));
    }
    let certs = open(&folder, None);
    fs::remove_file(folder.path().join("b.pem")).unwrap();
    certs.refresh();
    assert!(served(&certs, "b.example.test").is_some(), "it may be in the middle of a change");
    certs.refresh();
    assert!(served(&certs, "b.example.test").is_none());
    assert!(served(&certs, "a.example.test").is_some());
    let away = folder.path().with_extension("away");
    fs::rename(folder.path(), &away).unwrap();
    for _ in 0..3 {
        certs.refresh();
        assert!(served(&certs, "a.example.test").is_some());
        assert_eq!(certs.told().faults[0].code, "SG0123");
    }
    fs::rename(&away, folder.path()).unwrap();
}

#[test]
fn tells_what_it_cannot_use_and_does_not_begin_with_nothing() {
    let folder = TempDir::new().unwrap();
    let open = || Certs::open(vec![folder.path().to_owned()], None);
    assert_eq!(open().unwrap_err().code, "SG0124");
    let nowhere = Certs::open(Vec::new(), None).unwrap();
    assert!(nowhere.told().pairs == 0 && served(&nowhere, "a.example.test").is_none());
    let fault = Certs::open(Vec::new(), Some("a.example.test".into())).unwrap_err();
    assert_eq!(fault.code, "SG0124");
    let (chain, _) = made(&["a.example.test"]);
    write(&folder.path().join("a.crt"), &chain);
    let fault = open().unwrap_err();
    assert!(fault.code == "SG0124" && fault.cause.contains("its key is not beside it"), "{fault}");
    let (chain, key) = made(&["b.example.test"]);
    write(&folder.path().join("b.pem"), &format!("{chain}{key}"));
    let certs = open().unwrap();
    assert_eq!((certs.told().pairs, certs.told().faults.len()), (1, 1));
    let missing = vec![folder.path().join("not-here")];
    assert_eq!(Certs::open(missing, None).unwrap_err().code, "SG0124");
}

/// As a provider has them: a pair of files for each name.
#[test]
fn has_room_for_ten_thousand_pairs_and_takes_one_of_them_anew() {
    const PAIRS: usize = 10_000;
    let folder = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let chain = |name: String| {
        let names = vec![name.clone(), format!("www.{name}")];
        CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem()
    };
    for number in 0..PAIRS {
        let at = folder.path().join(number.to_string());
        fs::create_dir(&at).unwrap();
        fs::write(at.join("fullchain.pem"), chain(format!("s{number}.example.test"))).unwrap();
        fs::write(at.join("privkey.pem"), key.serialize_pem()).unwrap();
    }
    let began = Instant::now();
    let certs = open(&folder, None);
    let loaded = began.elapsed();
    let told = certs.told();
    assert_eq!((told.pairs, told.names, told.faults.len()), (PAIRS, 2 * PAIRS, 0));
    let (changed, other) = ("s9999.example.test", "www.s4711.example.test");
    let former = (served(&certs, changed).unwrap(), served(&certs, other).unwrap());
    write(&folder.path().join("9999/fullchain.pem"), &chain(changed.to_owned()));
    let began = Instant::now();
    certs.refresh();
    println!("{PAIRS} pairs loaded in {loaded:?}, one of them anew in {:?}", began.elapsed());
    assert_ne!(served(&certs, changed).unwrap(), former.0);
    assert_eq!(served(&certs, other).unwrap(), former.1);
    assert_eq!(certs.told().pairs, PAIRS);
}

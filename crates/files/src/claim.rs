//! The mark that keeps two runs from moving the same tree.
//!
//! A small file *beside* the root, never inside: `.segue-claim.<name of the root>`. It is
//! created exclusively, so of two runs only one gets it.

use segue_model::{EffectLeft, Fault, FaultKind, RunId, UnitName};
use segue_port::Outcome;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Content of the mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The run that holds the tree.
    pub(crate) run: RunId,
    /// Its unit.
    pub(crate) unit: UnitName,
    /// The tree's name in the plan.
    pub(crate) tree: String,
}

/// Whose a tree is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    This,
    Another(String),
}

/// Returns where the mark of a root stands.
pub(crate) fn place(root: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".segue-claim.");
    name.push(root.file_name()?);
    Some(root.parent()?.join(name))
}

impl Claim {
    /// Reads whose the root is.
    ///
    /// # Errors
    /// `SG0402` if the mark cannot be read.
    pub(crate) fn holder(&self, root: &Path) -> Outcome<Holder> {
        let place = place(root).ok_or_else(|| no_place(root))?;
        match std::fs::read(&place) {
            Ok(bytes) => Ok(match serde_json::from_slice::<Claim>(&bytes) {
                Ok(claim) if claim == *self => Holder::This,
                Ok(claim) => Holder::Another(format!("run {} (tree `{}`)", claim.run, claim.tree)),
                Err(_) => Holder::Another("an unreadable mark".into()),
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Holder::Nobody),
            Err(e) => Err(unusable("read", &place, e)),
        }
    }

    /// Takes the root for this run. Safe to repeat.
    ///
    /// # Errors
    /// `SG0401` if another run holds it, `SG0402` if the mark cannot be written.
    pub(crate) fn take(&self, root: &Path) -> Outcome<()> {
        match self.holder(root)? {
            Holder::This => return Ok(()),
            Holder::Another(who) => return Err(held(root, &who)),
            Holder::Nobody => {}
        }
        let place = place(root).ok_or_else(|| no_place(root))?;
        let bytes = serde_json::to_vec(self).map_err(|e| unusable("write", &place, e))?;
        // Written whole under another name, then linked: the mark is never half there.
        let draft = place.with_extension(format!("{}.draft", std::process::id()));
        let written = std::fs::File::create(&draft)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::hard_link(&draft, &place));
        // The draft has done its work either way.
        let _ = std::fs::remove_file(&draft);
        match written {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match self.holder(root)? {
                Holder::This => Ok(()),
                Holder::Another(who) => Err(held(root, &who)),
                Holder::Nobody => Err(unusable("write", &place, e)),
            },
            Err(e) => Err(unusable("write", &place, e)),
        }
    }

    /// Gives the root back if this run holds it. Safe to repeat.
    ///
    /// # Errors
    /// `SG0402` if the mark cannot be removed.
    pub(crate) fn give_back(&self, root: &Path) -> Outcome<()> {
        if self.holder(root)? != Holder::This {
            return Ok(());
        }
        let place = place(root).ok_or_else(|| no_place(root))?;
        match std::fs::remove_file(&place) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable("remove", &place, e)),
            _ => Ok(()),
        }
    }

    /// Checks that this run holds the root.
    ///
    /// # Errors
    /// `SG0401` if it does not.
    pub(crate) fn require(&self, root: &Path) -> Outcome<()> {
        match self.holder(root)? {
            Holder::This => Ok(()),
            Holder::Nobody => Err(held(root, "nobody: the claim is missing")),
            Holder::Another(who) => Err(held(root, &who)),
        }
    }
}

fn held(root: &Path, who: &str) -> Fault {
    let mark = place(root).unwrap_or_default();
    Fault::new(
        "SG0401",
        FaultKind::Conflict,
        format!("claim tree `{}`", root.display()),
        format!("it is held by {who}"),
    )
    .hint(format!("end that run; if it is gone for good, remove `{}`", mark.display()))
}

fn no_place(root: &Path) -> Fault {
    Fault::new(
        "SG0402",
        FaultKind::Invalid,
        format!("claim tree `{}`", root.display()),
        "there is no folder beside it",
    )
    .hint("a file system's root cannot be moved as a tree")
}

fn unusable(verb: &str, place: &Path, e: impl std::fmt::Display) -> Fault {
    let op = format!("{verb} claim `{}`", place.display());
    Fault::new("SG0402", FaultKind::Denied, op, e)
        .leaving(if verb == "read" { EffectLeft::None } else { EffectLeft::Maybe })
        .hint("let the controller write in the folder that holds the tree")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Claim, Holder, place};

    fn claim(run: &str) -> Claim {
        Claim { run: run.into(), unit: "shop".into(), tree: "site".into() }
    }

    #[test]
    fn refuses_a_tree_that_another_run_holds() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("site");
        std::fs::create_dir(&root).unwrap();
        claim("a").take(&root).unwrap();
        claim("a").take(&root).unwrap();
        let fault = claim("b").take(&root).unwrap_err();
        assert_eq!(fault.code, "SG0401");
        assert!(fault.cause.contains("run a"), "{}", fault.cause);
        claim("b").give_back(&root).unwrap();
        assert_eq!(claim("a").holder(&root).unwrap(), Holder::This);
        claim("a").give_back(&root).unwrap();
        assert!(!place(&root).unwrap().exists());
        let inside = std::fs::read_dir(&root).unwrap().count();
        assert_eq!(inside, 0, "nothing of ours lies inside the tree");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }
}

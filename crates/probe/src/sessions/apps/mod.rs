//! Where an application keeps its sessions, by its own configuration in the site's tree.
//!
//! Read only, as far as a first part of few files, and none outside the tree. What is told is the
//! name of a setting with the line it stands in, and a value that is a driver, an address or a name:
//! the files hold passwords and keys, which nobody is shown.

mod frameworks;
mod php;
mod read;

use read::Text;
use segue_model::Sides;
use segue_model::plan::{TreePlan, UnitPlan};
use std::path::{Path, PathBuf};

/// Folders of a tree in which an application may lie.
const FOLDERS: [&str; 12] = [
    "",
    "public_html",
    "htdocs",
    "httpdocs",
    "html",
    "www",
    "web",
    "public",
    "current",
    "app",
    "src",
    "site",
];

/// How an application keeps sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// In a table; the schema if the file names it.
    Database { schema: Option<String>, table: String },
    /// In the cookie itself, signed with a key of the application's configuration.
    Cookie,
    /// In a folder below the application's.
    Files(PathBuf),
    /// In the cookie, sealed with a key that may stand outside the tree.
    Sealed,
    /// In Redis at an address.
    Redis(String),
    /// In memcached at addresses.
    Memcached(String),
    /// As PHP is configured.
    Php,
    /// In another way.
    Other,
}

/// An application, and what it says of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    /// Its name.
    pub(super) name: &'static str,
    /// How it keeps them.
    pub(super) kept: Kept,
    /// The setting that says so, and the file with the line it stands in.
    pub(super) said: String,
    /// The file, from the root of the tree.
    file: PathBuf,
}

/// An application in a tree that moves.
pub(super) struct Found<'a> {
    pub(super) app: App,
    pub(super) tree: &'a TreePlan,
    /// Where its folder is at each side.
    pub(super) folder: Sides<PathBuf>,
}

impl Found<'_> {
    /// Returns the pattern by which the application's configuration stays behind, if one does.
    /// Patterns are rsync's: one that names the file, or a folder above it.
    pub(super) fn left_behind(&self) -> Option<&str> {
        let named = |pattern: &&String| {
            let plain = pattern.trim_matches('/').trim_end_matches("/***").trim_end_matches("/**");
            let anchored = pattern.trim_end_matches('/').contains('/');
            self.app.file.ancestors().any(|above| match anchored {
                true => may_match(plain, above),
                false => above.file_name().is_some_and(|name| may_match(plain, Path::new(name))),
            })
        };
        self.tree.exclude.iter().find(named).map(String::as_str)
    }
}

/// Returns whether a pattern of rsync's may match a name: what stands before its first wildcard and
/// behind its last one fits.
fn may_match(pattern: &str, name: &Path) -> bool {
    let Some(name) = name.to_str() else { return true };
    let wild = |c: char| matches!(c, '*' | '?' | '[' | ']');
    match (pattern.split(wild).next(), pattern.rsplit(wild).next()) {
        (Some(begin), Some(end)) if pattern.contains(wild) => {
            name.starts_with(begin) && name.ends_with(end)
        }
        _ => pattern == name,
    }
}

/// Looks for the application of a site. Of a unit with several sites it is known only where a
/// tree has the site's name, or there is but one.
pub(super) fn find<'a>(unit: &'a UnitPlan, site: &str) -> Option<Found<'a>> {
    let only = unit.sites.len() == 1 || unit.trees.len() == 1;
    let mut trees = unit.trees.iter().filter(|tree| only || tree.name.as_str() == site);
    trees.find_map(|tree| {
        FOLDERS.iter().find_map(|folder| {
            let app = in_folder(&tree.roots.source, Path::new(folder))?;
            let folder = Sides {
                source: tree.roots.source.join(folder),
                target: tree.roots.target.join(folder),
            };
            Some(Found { app, tree, folder })
        })
    })
}

/// Returns a port as it stands behind an address.
fn port(value: Option<read::Value>) -> String {
    value
        .filter(|port| !port.text.is_empty())
        .map_or_else(String::new, |port| format!(":{}", port.text))
}

/// Asks for each application that is known; the first that is there counts.
fn in_folder(root: &Path, folder: &Path) -> Option<App> {
    let open = |file: &str| Text::open(root, &folder.join(file));
    let there = |file: &str| read::is_there(root, &folder.join(file));
    php::wordpress(&open)
        .or_else(|| php::magento(&open))
        .or_else(|| php::drupal(&open))
        .or_else(|| php::joomla(&open))
        .or_else(|| php::prestashop(&open))
        .or_else(|| there("artisan").then(|| frameworks::laravel(&open)).flatten())
        .or_else(|| frameworks::symfony(&open))
        .or_else(|| there("manage.py").then(|| frameworks::django(root, folder)).flatten())
        .or_else(|| there("config/application.rb").then(|| frameworks::rails(&open)).flatten())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

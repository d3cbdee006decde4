//! Every error code has a page, every page a code.

use super::Finding;
use super::tree::{File, Tree};
use std::collections::BTreeMap;

const FOLDER: &str = "docs/errors/";

/// Headings that each page has, in this order.
const HEADINGS: [&str; 3] = ["## What happened", "## State of the run", "## What to do"];

/// Block of codes of each crate, so that no two crates give one code two meanings.
///
/// The doors serve several families and are not listed; block 08 is the programs' and the
/// doors', and anybody may name it.
const BLOCKS: [(&str, &str); 10] = [
    ("front", "SG01"),
    ("traffic", "SG01"),
    ("database", "SG02"),
    ("dns", "SG03"),
    ("files", "SG04"),
    ("workers", "SG05"),
    ("probe", "SG05"),
    ("engine", "SG06"),
    ("migration", "SG06"),
    ("plan", "SG07"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let used = used(tree);
    let mut findings = strangers(tree);
    let mut pages = Vec::new();
    for file in tree.files().iter().filter(|file| file.path.starts_with(FOLDER)) {
        let name = file.path[FOLDER.len()..].trim_end_matches(".md");
        if name == "README" {
            continue;
        }
        pages.push(name);
        if !used.contains_key(name) {
            findings.push(Finding::fail(&file.path, 0, "no code of that name is used in crates"));
        }
        if !file.text.starts_with(&format!("# {name}: ")) {
            findings.push(Finding::fail(&file.path, 1, format!("does not begin `# {name}: `")));
        }
        let headings: Vec<_> = file.text.lines().filter(|line| line.starts_with("## ")).collect();
        if headings != HEADINGS {
            let text = format!("the headings are not {}", HEADINGS.join(", "));
            findings.push(Finding::fail(&file.path, 0, text));
        }
    }
    for (code, (path, line)) in &used {
        if !pages.contains(&code.as_str()) {
            findings.push(Finding::fail(
                path,
                *line,
                format!("{code} has no page {FOLDER}{code}.md"),
            ));
        }
    }
    findings
}

/// Returns every code in the texts of product code, with its first place.
fn used(tree: &Tree) -> BTreeMap<String, (String, usize)> {
    let mut used = BTreeMap::new();
    for (file, number, code) in places(tree) {
        used.entry(code).or_insert_with(|| (file.path.clone(), number));
    }
    used
}

/// Returns a finding for every code in a crate of another block.
fn strangers(tree: &Tree) -> Vec<Finding> {
    let blocks = BTreeMap::from(BLOCKS);
    let stranger = |(file, number, code): (&File, usize, String)| {
        let krate = file.krate()?;
        let block = blocks.get(krate)?;
        let text = format!("{code} in `{krate}`, whose codes begin with {block}");
        (!code.starts_with(block) && !code.starts_with("SG08"))
            .then(|| Finding::fail(&file.path, number, text))
    };
    places(tree).into_iter().filter_map(stranger).collect()
}

fn places(tree: &Tree) -> Vec<(&File, usize, String)> {
    let product = |file: &File| {
        file.path.starts_with("crates/")
            && !file.is_test()
            && !matches!(file.krate(), Some("testkit" | "oracle"))
    };
    let mut places = Vec::new();
    for (file, masked) in tree.rust().filter(|(file, _)| product(file)) {
        for (number, line) in masked.product_with_texts() {
            places.extend(codes(line).map(|code| (file, number, code)));
        }
    }
    places
}

fn codes(line: &str) -> impl Iterator<Item = String> {
    line.match_indices("SG").filter_map(move |(at, _)| {
        let code = line.get(at..at + 6)?;
        let digits = code[2..].chars().all(|c| c.is_ascii_digit());
        let ends = !line[at + 6..].starts_with(|c: char| c.is_ascii_alphanumeric());
        let begins = !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        (digits && ends && begins).then(|| code.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# SG0301: short\n\n## What happened\n## State of the run\n## What to do\n";

    fn found(code: &str, page: &str) -> Vec<String> {
        let tree = Tree::planted(&[
            ("crates/dns/src/lib.rs", code),
            ("docs/errors/README.md", "index"),
            ("docs/errors/SG0301.md", page),
        ]);
        check(&tree).into_iter().map(|f| f.text).collect()
    }

    #[test]
    fn accepts_a_code_with_its_page() {
        assert_eq!(found("f(\"SG0301\", \"[SG0301] x\");", PAGE), [""; 0]);
    }

    #[test]
    fn refuses_a_code_without_page_and_a_page_without_code() {
        assert_eq!(found("f(\"SG0301\"); g(\"SG0302\");", PAGE).len(), 1);
        assert_eq!(found("f();", PAGE).len(), 1);
    }

    #[test]
    fn looks_at_product_code_only() {
        let code = "// SG0999\nf(\"SG0301\", \"SG03\", \"XSG0302\");\n#[cfg(test)]\nmod tests { \"SG0888\" }";
        assert_eq!(found(code, PAGE), [""; 0]);
    }

    #[test]
    fn refuses_a_code_of_another_crates_block() {
        assert_eq!(found("f(\"SG0301\"); g(\"SG0881\");", PAGE).len(), 1, "only the page lacks");
        let tree = Tree::planted(&[
            ("crates/files/src/lib.rs", "f(\"SG0301\");"),
            ("crates/dns/src/lib.rs", "f(\"SG0301\");"),
        ]);
        assert_eq!(strangers(&tree).len(), 1);
    }

    #[test]
    fn refuses_a_page_of_another_shape() {
        assert_eq!(found("f(\"SG0301\");", "# SG0302: x\n").len(), 2);
    }
}

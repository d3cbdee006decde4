//! Lengths of files and functions.

use super::tree::Tree;
use super::{Finding, mask};

const FILE_WARN: usize = 400;
const FILE_FAIL: usize = 600;
const FUNCTION_WARN: usize = 70;
const FUNCTION_FAIL: usize = 110;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, masked) in tree.rust() {
        let lines = file.text.lines().count();
        let what = format!("the file has {lines} lines");
        findings.extend(judged(&file.path, 0, lines, FILE_WARN, FILE_FAIL, what));
        for function in functions(&masked.code) {
            let what = format!("function `{}` has {} lines", function.name, function.lines);
            findings.extend(judged(
                &file.path,
                function.line,
                function.lines,
                FUNCTION_WARN,
                FUNCTION_FAIL,
                what,
            ));
        }
    }
    findings
}

fn judged(
    path: &str,
    line: usize,
    lines: usize,
    warn: usize,
    fail: usize,
    what: String,
) -> Option<Finding> {
    if lines > fail {
        Some(Finding::fail(path, line, format!("{what}, at most {fail} are allowed")))
    } else if lines > warn {
        Some(Finding::warn(path, line, format!("{what}, more than {warn}")))
    } else {
        None
    }
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Finds functions in masked code by counting braces from each `fn name`.
fn functions(code: &str) -> Vec<Function> {
    let lines: Vec<(usize, &str)> = mask::numbered(code).collect();
    let mut found = Vec::new();
    for (at, (number, line)) in lines.iter().enumerate() {
        let Some(name) = declared(line) else { continue };
        let (mut depth, mut opened) = (0usize, false);
        'body: for (last, text) in &lines[at..] {
            for c in text.chars() {
                match c {
                    '{' => {
                        depth += 1;
                        opened = true;
                    }
                    '}' => depth = depth.saturating_sub(1),
                    // A declaration in a trait has no body.
                    ';' if !opened => break 'body,
                    _ => continue,
                }
                if opened && depth == 0 {
                    found.push(Function { name, line: *number, lines: last - number + 1 });
                    break 'body;
                }
            }
        }
    }
    found
}

/// Returns the name in a line such as `pub(crate) async fn name(`.
fn declared(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let words = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", ""];
    if !before.split(' ').all(|word| words.contains(&word.trim()) || word.trim().starts_with('"')) {
        return None;
    }
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::Weight;
    use super::*;

    fn found(text: &str) -> Vec<Finding> {
        check(&Tree::planted(&[("crates/dns/src/lib.rs", text)]))
    }

    #[test]
    fn warns_of_long_files_and_refuses_longer_ones() {
        assert_eq!(found(&"\n".repeat(400)), []);
        assert_eq!(found(&"\n".repeat(401))[0].weight, Weight::Warn);
        assert_eq!(found(&"\n".repeat(601))[0].weight, Weight::Fail);
    }

    #[test]
    fn measures_functions_from_signature_to_brace() {
        let function = |lines: usize| format!("fn f()\n{{{}}}\n", "\n".repeat(lines - 2));
        assert_eq!(found(&function(70)), []);
        assert_eq!(found(&function(71))[0].weight, Weight::Warn);
        let finding = &found(&function(111))[0];
        assert_eq!((finding.weight, finding.line), (Weight::Fail, 1));
        assert!(finding.text.contains("`f` has 111 lines"), "{}", finding.text);
    }

    #[test]
    fn is_not_misled_by_braces_in_texts_or_by_declarations() {
        let text = format!(
            "trait T {{\n    fn declared(&self) -> [u8; 3];\n}}\nfn short() {{ g('{{', \"}}{{\"); }}\n{}",
            "\n".repeat(120)
        );
        assert_eq!(found(&text), []);
    }
}

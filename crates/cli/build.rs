//! Puts the page of every error code into the program.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let folder = Path::new("../../docs/errors");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("SG") && name.ends_with(".md"))
        .collect();
    names.sort();
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets the manifest folder");
    let mut code =
        String::from("/// Code and page of every error.\nconst PAGES: &[(&str, &str)] = &[\n");
    for name in names {
        let path = Path::new(&here).join(folder).join(&name);
        let stem = name.trim_end_matches(".md");
        let _ = writeln!(code, "    ({stem:?}, include_str!({path:?})),");
    }
    code.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo sets the output folder");
    std::fs::write(Path::new(&out).join("error_pages.rs"), code)
        .expect("the output folder is writable");
}

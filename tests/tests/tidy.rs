//! What a machine can check of the architecture and the conventions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

/// Lines of a Rust file, at most.
const LINES_MAX: usize = 1_000;
/// Edges that the levels would allow and the architecture does not.
const FORBIDDEN: [(&str, &str); 4] = [("worker", "sql"), ("coordinator", "storage"), ("coordinator", "worker"), ("query", "sql")];
/// Crates that build and test without DataFusion.
const WITHOUT_DATAFUSION: [&str; 6] = ["common", "types", "partition", "storage", "rpc", "catalog"];

#[test]
fn dependencies_point_to_lower_levels() {
    let levels = levels();
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let from = crate_directory_name(package.manifest_path.as_std_path());
        let level = levels.get(&from).unwrap_or_else(|| panic!("ARCHITECTURE.md has no line for the crate {from}"));
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some()) {
            let to = dependency.path.as_ref().unwrap().file_name().unwrap().to_owned();
            let is_lower = levels[&to] < *level;
            if !is_lower || FORBIDDEN.contains(&(&from, &to)) {
                wrong.push(format!("{from} must not depend on {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_crates_below_plans_are_free_of_datafusion() {
    for package in metadata().workspace_packages() {
        let name = crate_directory_name(package.manifest_path.as_std_path());
        if WITHOUT_DATAFUSION.contains(&name.as_str()) {
            let found = package.dependencies.iter().find(|d| d.name.starts_with("datafusion"));
            assert!(found.is_none(), "{name} depends on {}", found.unwrap().name);
        }
    }
}

#[test]
fn rust_files_are_short_documented_and_finished() {
    // Split, so that this file has none of them.
    let unfinished = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];
    let ignored = concat!("#[ign", "ore");
    let mut wrong = Vec::new();
    for path in repository_files().iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let text = read(path);
        let mut tell = |what: &str| wrong.push(format!("{}: {what}", path.display()));
        if text.lines().count() > LINES_MAX {
            tell(&format!("has more than {LINES_MAX} lines"));
        }
        if path.file_name().is_some_and(|name| name == "mod.rs") {
            tell("is a mod.rs: name it after its module, beside its directory");
        }
        if !text.starts_with("//!") {
            tell("does not begin with //! docs");
        }
        if text.lines().any(|line| line.trim_start().starts_with(ignored)) {
            tell("ignores a test");
        }
        let comments = text.lines().filter_map(|line| line.split_once("//")).map(|(_, comment)| comment);
        if comments.flat_map(words).any(|found| unfinished.contains(&found)) {
            tell("says that it is not finished");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_text_names_paths_of_a_machine() {
    let paths = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
    let mut wrong = Vec::new();
    for path in repository_files() {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            if paths.iter().any(|found| line.contains(found)) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn dependencies_are_declared_once() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest = read(package.manifest_path.as_std_path());
        let has_own =
            |line: &&str| line.contains("version = \"") || line.split_once(" = ").is_some_and(|(_, v)| v.starts_with('"') && is_version(v));
        let dependencies = manifest.split("dependencies]").skip(1).flat_map(|part| part.split("\n[").next().unwrap_or_default().lines());
        wrong.extend(dependencies.filter(has_own).map(|line| format!("{}: {line}", package.name)));
    }
    assert!(wrong.is_empty(), "versions belong into [workspace.dependencies]:\n{}", wrong.join("\n"));
}

fn is_version(value: &str) -> bool {
    value.trim_matches('"').trim_start_matches(['=', '^', '~']).starts_with(|c: char| c.is_ascii_digit())
}

/// The levels that ARCHITECTURE.md gives the crates. What has none stands above all others.
fn levels() -> BTreeMap<String, u32> {
    let text = read(&tests::workspace_directory().join("ARCHITECTURE.md"));
    let mut levels = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if let [name, level, ..] = cells[..]
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        {
            levels.insert(name.to_owned(), level.parse().unwrap_or(u32::MAX));
        }
    }
    levels
}

fn crate_directory_name(manifest: &Path) -> String {
    manifest.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(tests::workspace_directory()).no_deps().exec().unwrap()
}

/// What git has or would take: the files of the project without what builds leave behind.
fn repository_files() -> Vec<PathBuf> {
    let root = tests::workspace_directory();
    let listed = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(&root).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(|line| root.join(line)).filter(|path| path.is_file()).collect()
}

/// A text file; one that is not text is empty here.
fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap_or_default()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

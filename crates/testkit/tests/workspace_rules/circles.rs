//! Files of one folder depend on each other in one direction only.

use std::collections::{BTreeMap, BTreeSet};

use crate::rust::{code, is_test_file, name, places, sources};
use crate::{TextFile, expect_none, expect_one};

/// Path of a module, outermost first.
type Module = Vec<String>;

/// Finds circles among the modules of one folder, each taken with everything below it. A parent and its children may
/// import each other: a parent builds its children, and children use its types.
fn circles(sources: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for folder in source_folders(sources) {
        let files: BTreeMap<Module, &TextFile> = sources
            .iter()
            .filter(|source| source.path.starts_with(&folder) && !is_test_file(&source.path))
            .map(|source| (module_of(&source.path[folder.len()..]), source))
            .collect();
        let mut uses: BTreeMap<Module, BTreeMap<Module, (Module, Module)>> = BTreeMap::new();
        for (module, source) in &files {
            for used in imports(&source.text, module) {
                let Some((user, used_sibling)) = siblings(module, &used, &files) else { continue };
                uses.entry(user).or_default().entry(used_sibling).or_insert((module.clone(), used));
            }
        }
        violations.extend(circles_of(&uses).iter().map(|circle| describe(&folder, circle, &uses)));
    }
    violations
}

/// Returns the folders like `crates/core/src/`.
fn source_folders(sources: &[TextFile]) -> BTreeSet<String> {
    sources.iter().filter_map(|source| Some(format!("{}/src/", source.path.split_once("/src/")?.0))).collect()
}

/// Turns `roles/writer/lane.rs` into `roles::writer::lane`; the root is empty.
fn module_of(path: &str) -> Module {
    let parts = path.trim_end_matches(".rs").split('/').map(str::to_owned);
    parts.filter(|part| !["lib", "main", "mod"].contains(&part.as_str())).collect()
}

/// Returns the two sibling modules that an import connects, if it leads from one to another.
fn siblings(user: &Module, used: &Module, files: &BTreeMap<Module, &TextFile>) -> Option<(Module, Module)> {
    let n_common = user.iter().zip(used).take_while(|(one, other)| one == other).count();
    let (from, to) = (user.get(..=n_common)?.to_vec(), used.get(..=n_common)?.to_vec());
    // Anything else is an item of the parent.
    files.contains_key(&to).then_some((from, to))
}

/// Returns the paths that begin with `crate`, `super` or `self`, resolved from the root.
fn imports(text: &str, module: &Module) -> Vec<Module> {
    let code = code(text);
    let mut found = Vec::new();
    for beginning in ["crate::", "super::", "self::"] {
        for at in places(&code, beginning).filter(|at| !code[..*at].ends_with("::")) {
            let mut base = module.clone();
            let mut rest = &code[at..];
            if let Some(after) = rest.strip_prefix("crate::") {
                (base, rest) = (Vec::new(), after);
            }
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            rest = rest.strip_prefix("self::").unwrap_or(rest);
            tree(rest, &base, &mut found);
        }
    }
    found
}

/// Parses `a::b`, `{a, b::{c, d}}` and the like; returns the rest.
fn tree<'a>(code: &'a str, base: &Module, found: &mut Vec<Module>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        while !rest.is_empty() {
            rest = tree(rest, base, found).trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let next = rest.find([',', '}']).unwrap_or(rest.len());
            rest = rest[next..].strip_prefix(',').unwrap_or(&rest[next..]);
        }
        return rest;
    }
    let first = name(code);
    let rest = &code[first.len()..];
    let mut path = base.clone();
    if !first.is_empty() && first != "self" {
        path.push(first.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(after) if !first.is_empty() => tree(after, &path, found),
        _ => {
            found.push(path);
            rest
        }
    }
}

/// Returns the groups of modules that all reach each other.
fn circles_of(uses: &BTreeMap<Module, BTreeMap<Module, (Module, Module)>>) -> Vec<BTreeSet<Module>> {
    let reached_from = |start: &Module| {
        let (mut reached, mut waiting) = (BTreeSet::new(), vec![start]);
        while let Some(module) = waiting.pop() {
            for used in uses.get(module).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(used.clone()) {
                    waiting.push(used);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        uses.keys().map(|module| (module, reached_from(module))).collect();
    let mut circles: Vec<BTreeSet<Module>> = Vec::new();
    for (module, those) in &reached {
        let circle: BTreeSet<Module> = those
            .iter()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(*module)))
            .cloned()
            .collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn describe(
    folder: &str,
    circle: &BTreeSet<Module>,
    uses: &BTreeMap<Module, BTreeMap<Module, (Module, Module)>>,
) -> String {
    let mut steps = Vec::new();
    for user in circle {
        for (used, (from, to)) in uses.get(user).into_iter().flatten().filter(|(used, _)| circle.contains(*used)) {
            steps.push(format!(
                "{} -> {} ({} names {})",
                user.join("::"),
                used.join("::"),
                from.join("::"),
                to.join("::")
            ));
        }
    }
    format!("{folder}: a circle of {}: {}", circle.len(), steps.join(", "))
}

#[test]
fn no_two_files_of_a_folder_import_each_other() {
    let planted = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(path, text)| TextFile::new(&format!("crates/x/src/{path}.rs"), text));
        circles(&files.collect::<Vec<_>>())
    };
    let two = [("lib", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "fn f(_: super::a::A) {}")];
    expect_one(&planted(&two), "a -> b (a names b::B)");
    let three =
        [("a/x", "use super::y::{Y, Z};"), ("a/y", "use super::{Own, z::Z};"), ("a/z", "use crate::{b, a::x::X};")];
    expect_one(&planted(&three), "a circle of 3");
    let deep = [("a/x", "use crate::b::B;"), ("a", ""), ("b", ""), ("b/y", "use crate::a::A;")];
    expect_one(&planted(&deep), "b -> a (b::y names a::A)");
    let family = [("a", "mod x; use x::X; use self::x::Y;"), ("a/x", "use super::A; use crate::a::B;")];
    expect_none(&planted(&family));
    let tests = [("a", "use crate::b::B;"), ("b", "// crate::a::A\n#[cfg(test)]\nmod tests { use crate::a::A; }")];
    expect_none(&planted(&tests));
    expect_none(&circles(&sources()));
}

//! Which crate may import which: the one table, and its check against each Cargo.toml.

use crate::tidy::Finding;

/// Each crate with the crates of this workspace it may depend on. `lifeboat-` is left out.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("api", &["core"]),
    ("capture", &["core"]),
    ("proto", &[]),
    ("kit", &["core", "api"]),
    ("drivers", &["core", "proto"]),
    ("hub", &["core", "api", "capture", "kit", "proto"]),
    ("agent", &["core", "api", "kit", "drivers", "proto"]),
    ("sim", &["api", "proto"]),
    (
        "lab",
        &[
            "core", "api", "capture", "proto", "kit", "drivers", "hub", "agent", "sim",
        ],
    ),
    (
        "conformance",
        &["api", "proto", "kit", "drivers", "agent", "sim"],
    ),
    (
        "cli",
        &[
            "core", "api", "capture", "proto", "kit", "drivers", "hub", "agent", "sim", "lab",
        ],
    ),
    ("xtask", &["api"]),
    (
        "e2e",
        &["core", "api", "proto", "sim", "lab", "conformance"],
    ),
];

/// What tests may import besides: the world that the programs run in.
const TESTS_MAY_IMPORT: &[(&str, &[&str])] = &[("hub", &["sim"]), ("kit", &["sim"])];

/// The edges of one Cargo.toml that the table does not allow.
pub(crate) fn check(path: &str, manifest: &str) -> Vec<Finding> {
    let finding = |what: String| Finding {
        path: path.to_owned(),
        line: None,
        what,
    };
    let Some(name) = package(manifest) else {
        return Vec::new(); // the workspace's own
    };
    let name = short(name);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(krate, _)| *krate == name) else {
        return vec![finding(format!(
            "crate {name} is not in the table of src/xtask/src/imports.rs"
        ))];
    };
    let in_tests = TESTS_MAY_IMPORT
        .iter()
        .find(|(krate, _)| *krate == name)
        .map_or(&[][..], |(_, more)| more);
    let imports = dependencies(manifest)
        .into_iter()
        .map(|(import, table)| (short(import), table));
    let forbidden = imports
        .filter(|(import, table)| {
            !(*import == name
                || allowed.contains(import)
                || (*table == Table::Tests && in_tests.contains(import)))
        })
        .map(|(import, _)| import);
    forbidden
        .map(|import| finding(format!("{name} must not import {import}")))
        .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("lifeboat-").unwrap_or(name)
}

/// The name in `[package]`.
fn package(manifest: &str) -> Option<&str> {
    let mut in_package = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_package = line == "[package]";
        } else if in_package
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "name"
        {
            return Some(value.trim().trim_matches('"'));
        }
    }
    None
}

/// Which dependency table an edge stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Product,
    Tests,
}

/// The crates of this workspace in any dependency table, also those for tests and build scripts.
fn dependencies(manifest: &str) -> Vec<(&str, Table)> {
    let mut found = Vec::new();
    let mut in_table = false;
    let mut kind = Table::Product;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            in_table = table.ends_with("dependencies");
            kind = if table.contains("dev-dependencies") {
                Table::Tests
            } else {
                Table::Product
            };
            // [dependencies.lifeboat-core]
            let (parent, own) = table.rsplit_once('.').unwrap_or_default();
            if parent.ends_with("dependencies") && own.starts_with("lifeboat-") {
                found.push((own, kind));
            }
        } else if in_table && line.starts_with("lifeboat-") {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            found.extend(line.get(..end).map(|name| (name, kind)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\nversion.workspace = true\n{rest}")
    }

    fn found(name: &str, rest: &str) -> Vec<String> {
        check("Cargo.toml", &manifest(name, rest))
            .into_iter()
            .map(|f| f.what)
            .collect()
    }

    #[test]
    fn a_forbidden_edge_is_found_however_it_is_written() {
        let ways = [
            "[dependencies]\nlifeboat-agent.workspace = true\n",
            "[dependencies]\nlifeboat-agent = { path = \"../agent\" }\n",
            "[dev-dependencies]\nserde = \"1\"\nlifeboat-agent.workspace = true\n",
            "[dependencies.lifeboat-agent]\nworkspace = true\n",
            "[target.'cfg(unix)'.dependencies]\nlifeboat-agent.workspace = true\n",
        ];
        for way in ways {
            assert_eq!(
                found("lifeboat-hub", way),
                ["hub must not import agent"],
                "{way}"
            );
        }
    }

    #[test]
    fn the_simulated_world_is_for_tests_only() {
        assert!(
            found(
                "lifeboat-hub",
                "[dev-dependencies]\nlifeboat-sim.workspace = true\n"
            )
            .is_empty()
        );
        let product = found(
            "lifeboat-hub",
            "[dependencies]\nlifeboat-sim.workspace = true\n",
        );
        assert_eq!(product, ["hub must not import sim"]);
    }

    #[test]
    fn an_allowed_edge_is_none() {
        assert!(
            found(
                "lifeboat-hub",
                "[dependencies]\nlifeboat-core.workspace = true\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_found() {
        assert_eq!(found("lifeboat-new", "").len(), 1);
    }

    #[test]
    fn nobody_may_import_the_binary() {
        assert!(
            MAY_IMPORT
                .iter()
                .all(|(_, imports)| !imports.contains(&"cli"))
        );
    }

    #[test]
    fn the_table_has_no_circle() {
        for (name, imports) in MAY_IMPORT {
            let mut reach: Vec<&str> = imports.to_vec();
            let mut next = 0;
            while let Some(one) = reach.get(next).copied() {
                assert_ne!(one, *name, "{name} reaches itself");
                let further = MAY_IMPORT
                    .iter()
                    .filter(|(n, _)| *n == one)
                    .flat_map(|(_, i)| i.iter().copied());
                let new: Vec<&str> = further.filter(|f| !reach.contains(f)).collect();
                reach.extend(new);
                next += 1;
            }
        }
    }
}

//! Licences, duplicates, bans and sources of all dependencies, by the rules of .deny.toml (cargo-deny's own format).
//!
//! This does offline, in a second, what `cargo deny check licenses bans sources` does; it does not look at advisories.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::cargo;

/// The packages of the workspace and its dependencies, of Cargo.lock and as they are built.
pub(super) struct Tree {
    locked: Lock,
    built: Vec<Built>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

/// A package of Cargo.lock: any target, any feature.
#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
}

/// A package that is really built for one of [`TARGETS`].
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Built {
    name: String,
    version: String,
    licence: String,
}

/// What the box and those who work on it run.
const TARGETS: [&str; 2] = ["--target=x86_64-unknown-linux-gnu", "--target=aarch64-unknown-linux-gnu"];

/// The part of .deny.toml that is understood here.
#[derive(Deserialize)]
pub(super) struct Rules {
    licenses: LicenceRules,
    bans: BanRules,
    sources: SourceRules,
}

#[derive(Deserialize)]
struct LicenceRules {
    allow: Vec<String>,
    #[serde(default)]
    clarify: Vec<Clarification>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Clarification {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct BanRules {
    #[serde(default)]
    deny: Vec<Named>,
    #[serde(default)]
    skip: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct SourceRules {
    #[serde(rename = "allow-registry")]
    allow_registry: Vec<String>,
}

/// Asks cargo. `cargo metadata` would name optional dependencies that nobody switched on; `cargo tree` does not.
pub(super) fn tree() -> Result<Tree> {
    let output = cargo()
        .args(["tree", "--locked", "--quiet", "--workspace", "--edges=normal,build,dev", "--prefix=none"])
        .args(TARGETS)
        .args(["--format", "{p}|{l}"])
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo tree")?;
    ensure!(output.status.success(), "cargo tree ended with {}", output.status);
    let lock = std::fs::read_to_string(e2e::repository().join("Cargo.lock")).context("reading Cargo.lock")?;
    Ok(Tree {
        locked: toml::from_str(&lock).context("reading Cargo.lock")?,
        built: built(&String::from_utf8_lossy(&output.stdout))?,
    })
}

/// Lines `name v1.2.3 (where it comes from)|licence`, the second mention of a package marked with a star.
fn built(lines: &str) -> Result<Vec<Built>> {
    let mut all = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let parts = line.split_once('|').and_then(|(package, licence)| {
            let mut words = package.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?, licence.trim_end_matches(" (*)")))
        });
        let (name, version, licence) = parts.with_context(|| format!("cargo tree said {line:?}"))?;
        all.push(Built { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() });
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

pub(super) fn rules() -> Result<Rules> {
    let text = std::fs::read_to_string(e2e::repository().join(".deny.toml")).context("reading .deny.toml")?;
    toml::from_str(&text).context("reading .deny.toml")
}

/// Packages whose licence is not allowed.
pub(super) fn licences(tree: &Tree, rules: &Rules) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for package in &tree.built {
        let clarified =
            rules.licenses.clarify.iter().find(|clarification| clarification.name == package.name);
        let expression = clarified.map_or(&package.licence, |clarification| &clarification.expression);
        if expression.is_empty() {
            found.push(format!("{} {} names no licence", package.name, package.version));
            continue;
        }
        let excepted = rules
            .licenses
            .exceptions
            .iter()
            .filter(|exception| exception.name == package.name)
            .flat_map(|exception| &exception.allow);
        let allowed: Vec<&str> = rules.licenses.allow.iter().chain(excepted).map(String::as_str).collect();
        let fits = fits(expression, &allowed)
            .with_context(|| format!("the licence of {}: {expression}", package.name))?;
        if !fits {
            found.push(format!("{} {}: {expression}", package.name, package.version));
        }
    }
    Ok(found)
}

/// Packages that come twice, are banned, or come from elsewhere.
pub(super) fn crates(tree: &Tree, rules: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    for package in &tree.locked.package {
        if let Some(source) = &package.source {
            let address = source.strip_prefix("registry+").unwrap_or(source);
            if !rules.sources.allow_registry.iter().any(|allowed| allowed == address) {
                found.push(format!("{} {} comes from {address}", package.name, package.version));
            }
        }
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &tree.built {
        versions.entry(&package.name).or_default().push(&package.version);
        if rules.bans.deny.iter().any(|banned| banned.name == package.name) {
            found.push(format!("{} {} is banned", package.name, package.version));
        }
    }
    for (name, versions) in versions {
        // As cargo-deny has it, `name@version` skips one version, a bare name all.
        let skipped = |version: &str| {
            rules.bans.skip.iter().any(|skip| match skip.name.split_once('@') {
                Some((skip, only)) => skip == name && only.trim_start_matches('=') == version,
                None => skip.name == name,
            })
        };
        let counted: Vec<&str> = versions.into_iter().filter(|version| !skipped(version)).collect();
        if counted.len() > 1 {
            found.push(format!("{name} comes {} times: {}", counted.len(), counted.join(", ")));
        }
    }
    found
}

/// Whether an SPDX expression can be fulfilled with the allowed licences. `OR` is a choice, `AND` asks for both and binds
/// tighter; an old-fashioned `/` means `OR`.
fn fits(expression: &str, allowed: &[&str]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (verdict, rest) = either(&words, allowed)?;
    ensure!(rest.is_empty(), "{rest:?} is left over");
    Ok(verdict)
}

fn either<'w>(words: &'w [&'w str], allowed: &[&str]) -> Result<(bool, &'w [&'w str])> {
    let (mut verdict, mut rest) = both(words, allowed)?;
    while let Some(("OR", after)) = rest.split_first().map(|(first, after)| (*first, after)) {
        let (other, after) = both(after, allowed)?;
        (verdict, rest) = (verdict | other, after);
    }
    Ok((verdict, rest))
}

fn both<'w>(words: &'w [&'w str], allowed: &[&str]) -> Result<(bool, &'w [&'w str])> {
    let (mut verdict, mut rest) = one(words, allowed)?;
    while let Some(("AND", after)) = rest.split_first().map(|(first, after)| (*first, after)) {
        let (other, after) = one(after, allowed)?;
        (verdict, rest) = (verdict & other, after);
    }
    Ok((verdict, rest))
}

fn one<'w>(words: &'w [&'w str], allowed: &[&str]) -> Result<(bool, &'w [&'w str])> {
    match words {
        ["(", inner @ ..] => {
            let (verdict, rest) = either(inner, allowed)?;
            match rest {
                [")", rest @ ..] => Ok((verdict, rest)),
                _ => bail!("a bracket is not closed"),
            }
        }
        // An exception only ever gives more freedom; the pair may be listed, or the licence alone.
        [licence, "WITH", exception, rest @ ..] => {
            let pair = format!("{licence} WITH {exception}");
            Ok((allowed.contains(&pair.as_str()) || allowed.contains(licence), rest))
        }
        [licence, rest @ ..] if !["OR", "AND", "WITH", ")"].contains(licence) => {
            Ok((allowed.contains(licence), rest))
        }
        _ => bail!("a licence is missing before {words:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_judged_as_spdx_means_them() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"];
        for (expression, verdict) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("FDK-AAC", false),
        ] {
            assert_eq!(fits(expression, &allowed).unwrap(), verdict, "{expression}");
        }
        for nonsense in ["", "MIT OR", "(MIT", "MIT Apache-2.0", "AND MIT"] {
            assert!(fits(nonsense, &allowed).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let rules: Rules = toml::from_str(
            r#"
            [licenses]
            allow = ["MIT"]
            clarify = [{ crate = "codec", expression = "MIT AND FDK-AAC" }]
            exceptions = [{ crate = "codec", allow = ["FDK-AAC"] }]
            [bans]
            deny = [{ crate = "bad" }]
            skip = [{ crate = "twice@1.0.0" }]
            [sources]
            allow-registry = ["https://good"]
            "#,
        )
        .unwrap();
        let lock = r#"
            [[package]]
            name = "far"
            version = "1.0.0"
            source = "git+https://elsewhere"
            [[package]]
            name = "near"
            version = "1.0.0"
            source = "registry+https://good"
            [[package]]
            name = "ours"
            version = "0.1.0"
        "#;
        let lines = "codec v1.0.0|MIT\nbad v1.0.0|MIT\ntwice v1.0.0|MIT\ntwice v2.0.0|MIT\nthrice v1.0.0|MIT\n\
                     thrice v2.0.0 (proc-macro)|MIT\ngnu v1.0.0|GPL-3.0\n\ngnu v1.0.0|GPL-3.0 (*)\nnone v1.0.0|\n";
        let tree = Tree { locked: toml::from_str(lock).unwrap(), built: built(lines).unwrap() };
        assert_eq!(licences(&tree, &rules).unwrap(), ["gnu 1.0.0: GPL-3.0", "none 1.0.0 names no licence"]);
        let found = crates(&tree, &rules).join("\n");
        for name in ["bad", "thrice", "far"] {
            assert!(found.contains(name), "{found}");
        }
        assert!(!["twice", "near", "ours"].iter().any(|name| found.contains(name)), "{found}");
    }
}

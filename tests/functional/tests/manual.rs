//! The manual pages: one for each command that is to be typed, without a word that a formatter does not understand.

use std::fs;
use std::path::PathBuf;

use functional::{Env, Run, User, missing_program, skip};

fn pages(env: &Env) -> Vec<PathBuf> {
    let directory = env.scratch("man");
    fs::create_dir(&directory).unwrap();
    env.give(&directory);
    env.skua(&["man", directory.to_str().unwrap()]).success();
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_command_has_a_page_with_sections_of_usual_names() {
    let env = Env::new(User::ordinary());
    let pages = pages(&env);
    for name in ["skua", "skua-run", "skua-image-verify", "skua-trust-add"] {
        let page = format!("{name}.1");
        assert!(pages.iter().any(|path| path.ends_with(&page)), "{page}");
    }
    let usual = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "\"GLOBAL FLAGS\"",
        "\"POD FLAGS\"",
        "\"APP FLAGS, AFTER EACH IMAGE\"",
        "SUBCOMMANDS",
        "\"EXIT STATUS\"",
        "\"FILES AND VARIABLES\"",
    ];
    for path in &pages {
        let text = fs::read_to_string(path).unwrap();
        assert!(!path.to_str().unwrap().contains("worker"), "{path:?}");
        for section in text.lines().filter_map(|line| line.strip_prefix(".SH ")) {
            assert!(usual.contains(&section), "{path:?}: {section}");
        }
        assert!(text.is_ascii(), "{path:?}");
    }
    let run = fs::read_to_string(env.scratch("man/skua-run.1")).unwrap();
    assert!(run.contains("cap\\-retain"), "flags of an app");
}

/// The lines between two sections of a page, as they are printed.
fn synopsis(page: &str) -> Vec<String> {
    let (_, rest) = page.split_once(".SH SYNOPSIS\n").expect("a synopsis");
    let (section, _) = rest.split_once("\n.SH ").expect("a section after it");
    let lines = section.lines().filter(|line| !line.starts_with('.'));
    let text = |line: &str| line.replace("\\&", "").replace("\\-", "-");
    let text = |line: &str| text(line).replace("\\[u2026]", "…").replace("\\(aq", "'");
    lines.map(text).collect()
}

#[test]
fn every_page_has_the_usage_that_help_prints() {
    let env = Env::new(User::ordinary());
    for path in pages(&env) {
        let page = fs::read_to_string(&path).unwrap();
        // skua-image-verify: skua image verify, but run-prepared and cat-manifest are one word.
        let name = path.file_stem().unwrap().to_str().unwrap();
        let words = name.trim_start_matches("skua").trim_start_matches('-');
        let words = words
            .replace("image-", "image ")
            .replace("trust-", "trust ");
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.push("--help");
        let help = env.skua(&words).success().stdout;
        let (_, rest) = help.split_once("Usage: ").expect("a usage");
        let (usage, _) = rest.split_once("\n\n").expect("its end");
        let usage: Vec<&str> = usage.lines().map(str::trim).collect();
        assert_eq!(synopsis(&page), usage, "{name}");
    }
}

#[test]
fn every_page_is_formatted_without_a_warning() {
    if let Some(program) = missing_program(&["groff"]) {
        let why = format!("{program} is not installed");
        return skip("every_page_is_formatted_without_a_warning", &why);
    }
    let env = Env::new(User::ordinary());
    for path in pages(&env) {
        let mut groff = env.program("groff");
        groff.args(["-man", "-ww", "-Tutf8"]).arg(&path);
        let run = Run::of(groff).success();
        assert_eq!(run.stderr, "", "{path:?}");
    }
}

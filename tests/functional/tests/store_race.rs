//! Many commands on one store at once: nobody loses anything, nobody downloads twice, nobody is told of a file that vanished.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use functional::{Built, Env, Image, Layer, Registry, Run, User, store_snapshot};

const INSECURE: &str = "--insecure-options=image";

fn filled(name: &str, byte: u8, size: usize) -> Layer {
    Layer::new().file(name, 0o644, vec![byte; size])
}

fn image(own: u8) -> Built {
    Image::inspect()
        .layer(filled("shared", 1, 300_000))
        .layer(filled("own", own, 5000))
        .build()
}

#[test]
fn twenty_fetches_at_once_download_each_document_and_layer_once() {
    for user in User::all() {
        let registry = Registry::start();
        let image = image(2);
        let name = registry.push("i", "1", &image);
        let env = Env::new(user);
        let running: Vec<_> = (0..20)
            .map(|_| env.spawn(&[INSECURE, "fetch", &name]))
            .collect();
        for fetch in running {
            fetch.wait().success().says(image.digest());
        }
        for layer in &image.layers {
            let path = format!("/blobs/{}", layer.digest);
            let requests = registry.requests();
            let count = requests.iter().filter(|r| r.path.ends_with(&path)).count();
            assert_eq!(count, 1, "{path} as {user:?}");
        }
        env.skua(&[INSECURE, "run", &name, "--", "exit", "7"])
            .exits(7);
    }
}

/// A generator of its own for each thread.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(7);
        (self.0 >> 33) % sides
    }
}

/// What may be said to somebody whose image or pod another one removes at the same moment.
const ALLOWED: [&str; 4] = [
    "is not in the image store",
    "is not in the store",
    "there is no pod",
    "is in use",
];

fn tolerate(run: Run, also: &[i32]) {
    let fine = run
        .code()
        .is_some_and(|code| code == 0 || also.contains(&code))
        || ALLOWED.iter().any(|text| run.stderr.contains(text));
    assert!(fine, "{}", run.report());
    let vanished = run.stderr.contains("No such file");
    assert!(!vanished, "{}", run.report());
}

fn step(env: &Env, names: &[String], dice: &mut Dice) {
    let name = names[dice.roll(names.len() as u64) as usize].as_str();
    match dice.roll(9) {
        // The registry has it, so these always succeed.
        0..3 => drop(env.skua(&[INSECURE, "fetch", name]).success()),
        3..6 => drop(
            env.skua(&[INSECURE, "run", name, "--", "exit", "7"])
                .exits(7),
        ),
        6 => tolerate(env.skua(&[INSECURE, "image", "rm", name]), &[]),
        7 => tolerate(env.skua(&[INSECURE, "image", "gc"]), &[]),
        _ => tolerate(env.skua(&[INSECURE, "gc", "--grace-period=0"]), &[]),
    }
}

#[test]
fn fetches_runs_removals_and_collections_at_once_lose_nothing() {
    let seconds = std::env::var("SKUA_TEST_RACE_SECONDS").ok();
    let seconds = seconds.map_or(10, |text| text.parse().expect("a number"));
    for user in [
        Some(User::ordinary()),
        functional::is_root().then_some(User::Caller),
    ] {
        let Some(user) = user else { continue };
        let registry = Registry::start();
        let names = [2, 3].map(|own| registry.push(&format!("i{own}"), "1", &image(own)));
        let env = Env::new(user);
        let until = Instant::now() + Duration::from_secs(seconds) / 2;
        let (stop, steps) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for number in 0..6 {
                let (env, names, stop, steps) = (&env, &names, &stop, &steps);
                scope.spawn(move || {
                    let mut dice = Dice(number * 977 + 1);
                    // A busy machine takes longer for a few steps.
                    let goes_on = || Instant::now() < until || steps.load(Ordering::Relaxed) <= 12;
                    while goes_on() && !stop.load(Ordering::Relaxed) {
                        let failed = StopOnPanic(stop);
                        step(env, names, &mut dice);
                        std::mem::forget(failed);
                        steps.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        for name in &names {
            env.skua(&[INSECURE, "fetch", name]).success();
            env.skua(&[INSECURE, "run", name, "--", "exit", "7"])
                .exits(7);
        }
        env.skua(&["gc", "--grace-period=0"]).success();
        let all = [&["image", "rm"], &names.each_ref().map(String::as_str)[..]].concat();
        env.skua(&all).success();
        let left = store_snapshot(&env);
        let content = left.keys().filter(|path| {
            [
                "trees/sha256/",
                "oci/blobs/sha256/",
                "inbox/",
                "evidence/sha256/",
            ]
            .iter()
            .any(|kind| path.starts_with(kind))
        });
        assert_eq!(
            content.collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{user:?}"
        );
    }
}

/// One thread that fails ends the others.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//! Archives: what is walked over, and what is made of it on a real file system.

use std::fs;
use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::store::remove_tree;
use crate::unpack::{Budget, EntryPath, Kind, Limits, Ownership, Skip, TarReader, apply_archive};

/// Small, so that limits are met.
fn limits() -> Limits {
    Limits {
        entries: 64,
        bytes: 1 << 20,
        path: 512,
        depth: 16,
        extensions: 8192,
        directories: 1 << 16,
        ..Limits::default()
    }
}

/// An archive in memory.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl Read for Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.fill_buf()?;
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Bytes<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // Few at a time, so that every piece is met in parts.
        let end = self.all.len().min(self.at + 700);
        Ok(&self.all[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Skip for Bytes<'_> {
    fn skip(&mut self, amount: u64) -> io::Result<bool> {
        let left = (self.all.len() - self.at) as u64;
        self.at += usize::try_from(left.min(amount)).unwrap_or(0);
        Ok(amount <= left)
    }

    fn position(&self) -> u64 {
        self.at as u64
    }
}

/// Every member has a name that stays inside, and data that are there.
pub fn entries(data: &[u8]) {
    let limits = limits();
    let mut input = Bytes { all: data, at: 0 };
    let mut archive = TarReader::new(&mut input, &limits);
    while let Ok(Some(member)) = archive.next() {
        if let Ok(path) = EntryPath::parse(&member.name, &limits) {
            let text = path.bytes();
            assert!(text.len() <= limits.path && !text.contains(&0));
            let mut parts = text.split(|byte| *byte == b'/');
            assert!(text.is_empty() || parts.all(|part| !matches!(part, b"" | b"." | b"..")));
        }
        let Kind::File(extents) = &member.kind else {
            continue;
        };
        let (mut end, mut came) = (0, 0);
        for extent in extents {
            assert!(extent.offset >= end, "runs overlap");
            end = extent
                .offset
                .checked_add(extent.length)
                .expect("a run in range");
            let taken = archive.data(extent.length, |piece| {
                came += piece.len() as u64;
                Ok(())
            });
            if taken.is_err() {
                return;
            }
        }
        assert!(came <= data.len() as u64);
    }
}

/// Beside the tree lies something that no archive may touch.
struct Ground {
    above: PathBuf,
}

impl Ground {
    fn get() -> &'static Self {
        static GROUND: OnceLock<Ground> = OnceLock::new();
        GROUND.get_or_init(|| {
            let above = std::env::temp_dir().join(format!("skua-fuzz-{}", std::process::id()));
            fs::create_dir_all(above.join("outside")).expect("a directory");
            fs::write(above.join("outside/secret"), "secret").expect("a file");
            Self { above }
        })
    }

    fn check(&self) {
        let names = |path: PathBuf| {
            let entries = fs::read_dir(path).expect("a directory");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.above.clone()), ["outside", "root"]);
        assert_eq!(names(self.above.join("outside")), ["secret"]);
        let secret = fs::read(self.above.join("outside/secret")).expect("the file");
        assert_eq!(secret, b"secret");
    }
}

/// Nothing outside of the tree is touched, and what was made can be removed.
pub fn unpack(data: &[u8]) {
    let ground = Ground::get();
    let root = ground.above.join("root");
    fs::create_dir(&root).expect("a directory");
    let opened = fs::File::open(&root).expect("a directory");
    let mut input = Bytes { all: data, at: 0 };
    let budget = Budget::unbounded();
    let _ = apply_archive(
        &mut input,
        opened.as_fd(),
        Ownership::Squash,
        &limits(),
        budget,
    );
    ground.check();
    remove_tree(&root).expect("what was made can be removed");
}

//! `bench fetch`: from Debian's docker-registry on the loopback interface to an image that can run, each contender beginning
//! with empty storage. The measure of all is the least that must be done: `curl | sha256 | igzip | tar`.

mod contenders;
mod content;
mod registry;
mod usage;

use std::io::{self, Write as _};

use functional::Built;

use crate::lab::{Failure, Lab};
use contenders::Contender;
use registry::Registry;
use usage::Usage;

/// Rounds that count. One before them takes the memory, which cannot be watched for nothing.
const ROUNDS: usize = 3;

/// Runs every image in both compressions.
pub(crate) fn bench(lab: &Lab) -> Result<(), Failure> {
    let registry = Registry::start(lab)?;
    for make in [content::debian, content::large] {
        for compression in ["gzip", "zstd"] {
            let (name, image) = make(compression)?;
            let title = format!("fetch {name}, {compression}: {}", size(&image));
            let reference = registry.push(lab, &format!("{name}/{compression}"), &image)?;
            drop(image);
            compare(lab, &title, &reference, compression)?;
        }
    }
    Ok(())
}

fn size(image: &Built) -> String {
    let bytes: usize = image.layers.iter().map(|layer| layer.bytes.len()).sum();
    format!(
        "{} layers, {} MB of blobs",
        image.layers.len(),
        bytes / 1_000_000
    )
}

/// All contenders in turn, and the table.
fn compare(lab: &Lab, title: &str, reference: &str, compression: &str) -> Result<(), Failure> {
    let contenders = contenders::all(reference, compression);
    let mut rows: Vec<Result<Row, String>> = contenders
        .iter()
        .map(|contender| {
            let watched = contender.run(lab, usage::Watch::Memory);
            let usage = watched.map_err(|error| error.to_string())?;
            Ok(Row {
                memory: usage.memory,
                runs: Vec::new(),
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        for (contender, row) in contenders.iter().zip(&mut rows) {
            let Ok(known) = row else { continue };
            match contender.run(lab, usage::Watch::Nothing) {
                Ok(usage) => known.runs.push(usage),
                Err(error) => *row = Err(error.to_string()),
            }
        }
    }
    print(title, &contenders, &rows)?;
    Ok(())
}

/// What one contender needed.
struct Row {
    /// Peak of the proportional set size of all its processes, in bytes.
    memory: u64,
    runs: Vec<Usage>,
}

impl Row {
    fn median(&self, of: impl Fn(&Usage) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

fn print(title: &str, contenders: &[Contender], rows: &[Result<Row, String>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let wall = |row: &Row| row.median(|usage| usage.wall);
    let cpu = |row: &Row| row.median(|usage| usage.cpu);
    let base = rows.first().and_then(|row| row.as_ref().ok());
    let (base_wall, base_cpu) = base.map_or((f64::NAN, f64::NAN), |row| (wall(row), cpu(row)));
    writeln!(
        out,
        "\n{title}\n  {:<46} {:>7} {:>6} {:>7} {:>6} {:>7}",
        "medians", "wall s", "ratio", "CPU s", "ratio", "MiB"
    )?;
    for (contender, row) in contenders.iter().zip(rows) {
        match row {
            Ok(row) => writeln!(
                out,
                "  {:<46} {:>7.2} {:>6.2} {:>7.2} {:>6.2} {:>7.0}",
                contender.name,
                wall(row),
                wall(row) / base_wall,
                cpu(row),
                cpu(row) / base_cpu,
                row.memory as f64 / f64::from(1 << 20),
            )?,
            Err(error) => writeln!(out, "  {:<46} not measured: {error}", contender.name)?,
        }
    }
    out.flush()
}

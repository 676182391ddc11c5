//! Timing commands in turn and printing medians and ratios: the machine's drift hits all of them alike.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::lab::View;

/// One command to time: how to make it for run number `n`, and what it is called in the table.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) command: Box<dyn Fn(usize) -> Command>,
    /// Where it runs, if not in the lab.
    view: Option<Rc<View>>,
}

impl Contender {
    pub(crate) fn new(name: &str, command: impl Fn(usize) -> Command + 'static) -> Self {
        Self {
            name: name.to_owned(),
            command: Box::new(command),
            view: None,
        }
    }

    /// The same elsewhere.
    pub(crate) fn seeing(mut self, view: Rc<View>, note: &str) -> Self {
        self.view = Some(view);
        self.name = format!("{} {note}", self.name);
        self
    }

    fn spawn(&self, n: usize) -> io::Result<Child> {
        let mut command = (self.command)(n);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        match &self.view {
            Some(view) => view.within(|| command.spawn())?,
            None => command.spawn(),
        }
    }

    /// Times `count` runs of it that are started at once, until the last has ended. An error says what the first that failed
    /// has printed.
    pub(crate) fn time(&self, round: usize, count: usize) -> Result<Duration, String> {
        let start = Instant::now();
        let first = round * count;
        let children: Vec<_> = (first..first + count).map(|n| self.spawn(n)).collect();
        let mut failures = Vec::new();
        for child in children {
            match child.and_then(Child::wait_with_output) {
                Ok(output) if output.status.success() => {}
                Ok(output) => failures.push(format!(
                    "{}: {}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr).trim()
                )),
                Err(error) => failures.push(error.to_string()),
            }
        }
        match failures.first() {
            None => Ok(start.elapsed()),
            Some(first) => Err(format!("{} of {count} failed: {first}", failures.len())),
        }
    }
}

/// The times of one contender, sorted, or why it could not be timed.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) times: Result<Vec<Duration>, String>,
}

impl Row {
    pub(crate) fn median(&self) -> Option<f64> {
        let times = self.times.as_ref().ok()?;
        times.get(times.len() / 2).map(|t| t.as_secs_f64() * 1e3)
    }
}

/// Times all contenders in turn, each time `count` at once, `rounds` rounds after two that do not count. A contender that
/// fails is left out from then on.
pub(crate) fn in_turn(contenders: &[&Contender], rounds: usize, count: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = contenders
        .iter()
        .map(|c| Row {
            name: c.name.clone(),
            times: Ok(Vec::new()),
        })
        .collect();
    for round in 0..rounds + 2 {
        for (contender, row) in contenders.iter().zip(&mut rows) {
            let Ok(times) = &mut row.times else { continue };
            match contender.time(round, count) {
                Ok(time) if round >= 2 => times.push(time),
                Ok(_) => {}
                Err(error) => row.times = Err(error),
            }
        }
    }
    for times in rows.iter_mut().filter_map(|row| row.times.as_mut().ok()) {
        times.sort();
    }
    rows
}

/// Prints the rows with their ratio to the row named `base`.
pub(crate) fn print(title: &str, rows: &[Row], base: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let base = rows
        .iter()
        .find(|row| row.name == base)
        .and_then(Row::median);
    writeln!(
        out,
        "\n{title}\n  {:<46} {:>9} {:>9} {:>9} {:>7}",
        "ms", "min", "median", "max", "ratio"
    )?;
    for row in rows {
        match (&row.times, row.median()) {
            (Ok(times), Some(median)) => {
                let ms = |t: Option<&Duration>| t.map_or(0.0, |t| t.as_secs_f64() * 1e3);
                let ratio =
                    base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", median / base));
                let (min, max) = (ms(times.first()), ms(times.last()));
                writeln!(
                    out,
                    "  {:<46} {min:>9.2} {median:>9.2} {max:>9.2} {ratio:>7}",
                    row.name
                )?;
            }
            (Err(error), _) => writeln!(out, "  {:<46} not measured: {error}", row.name)?,
            (Ok(_), None) => writeln!(out, "  {:<46} not measured", row.name)?,
        }
    }
    Ok(())
}

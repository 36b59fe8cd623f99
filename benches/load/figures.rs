//! Distributions, growth of figures, and the table of results.

use std::fmt;
use std::time::Duration;

/// The durations of many runs of the same work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn sorted(mut self) -> Sorted {
        self.0.sort_unstable();
        Sorted(self.0)
    }
}

impl Extend<Duration> for Times {
    fn extend<T: IntoIterator<Item = Duration>>(&mut self, times: T) {
        self.0.extend(times);
    }
}

impl IntoIterator for Times {
    type Item = Duration;
    type IntoIter = std::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The durations in ascending order.
pub(crate) struct Sorted(Vec<Duration>);

impl Sorted {
    /// The duration that this share of all runs did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to the length")]
        #[expect(clippy::cast_precision_loss, reason = "lengths are small")]
        let at = (self.0.len() as f64 * share) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// The median in seconds.
    pub(crate) fn middle(&self) -> f64 {
        self.quantile(0.5).as_secs_f64()
    }

    /// p50 / p99 / p99.9.
    pub(crate) fn spread(&self) -> String {
        [0.5, 0.99, 0.999].map(|share| spoken(self.quantile(share).as_secs_f64())).join(" / ")
    }
}

/// Work that the daemon and the bare server do in turns.
#[derive(Default)]
pub(crate) struct Turns {
    rates: Vec<[f64; 2]>,
    times: [Times; 2],
}

impl Turns {
    /// Adds one turn of each: the durations of its runs, and how long it took.
    pub(crate) fn add(&mut self, turns: [(Times, Duration); 2]) {
        self.rates.push([0, 1].map(|side: usize| rate(turns[side].0.count(), turns[side].1)));
        for (all, (times, _)) in self.times.iter_mut().zip(turns) {
            all.extend(times);
        }
    }

    /// The cells of the table, and the daemon's seconds for one run.
    pub(crate) fn cells(self) -> ([String; 3], f64) {
        let ratio = median(self.rates.iter().map(|[ours, bare]| ours / bare).collect());
        let [ours, bare] =
            [0, 1].map(|side: usize| median(self.rates.iter().map(|rates| rates[side]).collect()));
        let [spread, bare_spread] = self.times.map(|times| times.sorted().spread());
        let cells = [
            format!("{ours:.0}/s; {spread}"),
            format!("{bare:.0}/s; {bare_spread}"),
            format!("{ratio:.2}x the rate"),
        ];
        (cells, 1.0 / ours)
    }
}

/// A duration such as `12.3 us`, `4.56 ms` or `7.89 s`.
pub(crate) fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// The number of runs in a second.
pub(crate) fn rate(count: usize, took: Duration) -> f64 {
    float(count) / took.as_secs_f64().max(1e-9)
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

/// The median.
pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// A figure at several sizes: the size, the figure, and its text.
type Sizes = Vec<(usize, f64, String)>;

/// The table's rows. Each is printed when it is measured, and all of them at the end.
pub(crate) struct Table {
    quiet: bool,
    rows: Vec<[String; 5]>,
    growth: Vec<(String, Sizes)>,
}

impl Table {
    /// With `quiet`, only the names of the figures are printed, because small numbers and debug builds give
    /// no useful figures.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, rows: Vec::new(), growth: Vec::new() }
    }

    /// Adds a row with the figures of the daemon and of the bare server, and their ratio, which the target
    /// refers to. `bare` and `ratio` are empty if there is no comparison.
    pub(crate) fn add(&mut self, what: &str, [ours, bare, ratio]: [String; 3], target: &str) {
        if self.quiet {
            println!("{what}: done");
        } else {
            println!("{what}: {ours}; {bare}; {ratio}; target: {target}");
        }
        self.rows.push([what.to_owned(), ours, bare, ratio, target.to_owned()]);
    }

    /// Adds a figure without a comparison.
    pub(crate) fn note(&mut self, what: &str, ours: String, target: &str) {
        self.add(what, [ours, String::new(), String::new()], target);
    }

    /// Records that `what` had `figure` (as text: `shown`) at this size. Sizes must ascend.
    pub(crate) fn grows(&mut self, what: &str, size: usize, figure: f64, shown: String) {
        let at = (size, figure, shown);
        match self.growth.iter_mut().find(|(name, _)| name == what) {
            Some((_, sizes)) => sizes.push(at),
            None => self.growth.push((what.to_owned(), vec![at])),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quiet {
            return writeln!(f, "{} rows; small numbers, no figures", self.rows.len());
        }
        writeln!(f, "\n| what | webex-tokend | bare | ratio | target |\n| --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        writeln!(f, "\n| cost of | size: cost | growth |\n| --- | --- | --- |")?;
        for (what, sizes) in &self.growth {
            let shown: Vec<_> = sizes.iter().map(|(size, _, shown)| format!("{size}: {shown}")).collect();
            writeln!(f, "| {what} | {} | {} |", shown.join("; "), growth(sizes))?;
        }
        Ok(())
    }
}

/// How much the figure grew from the smallest size to the largest, and the class of its growth.
fn growth(sizes: &Sizes) -> String {
    let [(least, first, _), .., (most, last, _)] = sizes.as_slice() else { return String::new() };
    let (wider, dearer) = (float(*most) / float(*least), last / first);
    let logarithm = float(*most).ln() / float(*least).max(2.0).ln();
    let power = dearer.ln() / wider.ln();
    let name = match dearer {
        d if d < 1.15 => "constant".to_owned(),
        d if d < 1.15 * logarithm => "no more than log n".to_owned(),
        _ if (0.8..1.2).contains(&power) => "linear".to_owned(),
        _ => format!("n^{power:.2}"),
    };
    format!("{dearer:.2}x for {wider:.0}x: {name}")
}

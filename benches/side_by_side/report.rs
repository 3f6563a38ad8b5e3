//! What came of it: medians, ratios, spread, goals; a table for people and JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::measure::{Column, Sample, Use};
use crate::rows::{Goal, Row};

/// A row with all that was measured of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) columns: Vec<Column>,
}

/// What a gateway's column comes to.
struct Verdict {
    /// To the best peer of the same row, by medians; its name.
    ratio: Option<(f64, String)>,
    /// For each round: the ratio, or the value where the goal is one.
    rounds: Vec<f64>,
    must: Option<bool>,
    reach: Option<bool>,
}

/// How many rounds of five must be at or below a goal, besides the median.
const ROUNDS_OF_FIVE: usize = 4;

impl Measured {
    /// The best of those that count: by the median.
    fn best(&self) -> Option<&Column> {
        self.columns
            .iter()
            .filter(|column| column.counts)
            .min_by(|a, b| median(&values(a)).total_cmp(&median(&values(b))))
    }

    fn verdict(&self, column: &Column) -> Verdict {
        let own = values(column);
        let best = self.best();
        let ratio = best.map(|best| (median(&own) / median(&values(best)), best.peer.name.clone()));
        let ratios = || {
            let best = best.map(values).unwrap_or_default();
            own.iter().zip(best).map(|(own, best)| own / best).collect::<Vec<_>>()
        };
        let (rounds, must, reach) = match self.row.goal {
            Goal::Ratio { must, reach } => {
                let rounds = ratios();
                let met = |goal| ratio.as_ref().map(|(ratio, _)| *ratio <= goal && most(&rounds, |one| one <= goal));
                (rounds.clone(), met(must), met(reach))
            }
            Goal::AtMost { must, reach } => {
                let met = |goal| Some(median(&own) <= goal && most(&own, |one| one <= goal));
                (own.clone(), met(must), met(reach))
            }
            Goal::AtLeast { must } => {
                let met = Some(median(&own) >= must && most(&own, |one| one >= must));
                (own.clone(), met, None)
            }
            Goal::Reported => (ratios(), None, None),
        };
        Verdict { ratio, rounds, must, reach }
    }

    /// Some lines for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{} ({})\n", self.row.title, self.row.name);
        for column in &self.columns {
            let own = values(column);
            let (low, high) =
                (own.iter().copied().fold(f64::INFINITY, f64::min), own.iter().copied().fold(0.0, f64::max));
            let _ = write!(
                text,
                "  {:<32}{:>10}  {:>9} to {:<9}",
                column.peer.name,
                short(median(&own)),
                short(low),
                short(high)
            );
            text += &column_use(column);
            if column.peer.is_ours() {
                text += &self.goals(&self.verdict(column));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    fn goals(&self, verdict: &Verdict) -> String {
        let mut text = String::new();
        if let Some((ratio, best)) = &verdict.ratio {
            let _ = write!(text, "  {ratio:.3} of {best}");
        }
        let all = verdict.rounds.len();
        let mut say = |name: &str, goal: f64, met: Option<bool>, good: &dyn Fn(f64) -> bool| {
            let rounds = verdict.rounds.iter().filter(|round| good(**round)).count();
            let word = if met == Some(true) { "met" } else { "not met" };
            let _ = write!(text, "  {name} {goal} {word} ({rounds} of {all})");
        };
        match self.row.goal {
            Goal::Ratio { must, reach } | Goal::AtMost { must, reach } => {
                say("must", must, verdict.must, &|round| round <= must);
                say("reach", reach, verdict.reach, &|round| round <= reach);
            }
            Goal::AtLeast { must } => say("must", must, verdict.must, &|round| round >= must),
            Goal::Reported => {}
        }
        text
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let columns = self.columns.iter().map(|column| {
            let own = values(column);
            let mut value = json!({
                "peer": column.peer.name,
                "counts": column.counts,
                "median": median(&own),
                "rounds": own,
            });
            if let Some(used) = median_use(column) {
                value["cores"] = json!({
                    "peer": used.peer, "load": used.load, "others": used.others, "stolen": used.stolen,
                });
            }
            if column.peer.is_ours() {
                let verdict = self.verdict(column);
                value["ratio"] = json!(verdict.ratio.as_ref().map(|(ratio, _)| ratio));
                value["best"] = json!(verdict.ratio.as_ref().map(|(_, best)| best));
                value["goal_rounds"] = json!(verdict.rounds);
                value["must_met"] = json!(verdict.must);
                value["reach_met"] = json!(verdict.reach);
            }
            value
        });
        let goal = match self.row.goal {
            Goal::Ratio { must, reach } => json!({ "ratio": { "must": must, "reach": reach } }),
            Goal::AtMost { must, reach } => json!({ "at_most": { "must": must, "reach": reach } }),
            Goal::AtLeast { must } => json!({ "at_least": { "must": must } }),
            Goal::Reported => Value::Null,
        };
        json!({
            "row": self.row.name, "title": self.row.title, "goal": goal, "columns": columns.collect::<Vec<_>>(),
        })
    }
}

fn column_use(column: &Column) -> String {
    let Some(used) = median_use(column) else { return String::new() };
    let percent = |share: f64| (share * 100.0).round();
    let mut text = format!("  core {:>3} %, load {:>3} %", percent(used.peer), percent(used.load));
    if used.peer < 0.95 && used.load > 0.9 {
        text += ", load is the limit";
    }
    if used.others > 0.05 {
        let _ = write!(text, ", others {} %", percent(used.others));
    }
    if used.stolen > 0.02 {
        let _ = write!(text, ", {} % stolen", percent(used.stolen));
    }
    text
}

/// That the median is not good by chance: four of five rounds must be as good.
fn most(rounds: &[f64], good: impl Fn(f64) -> bool) -> bool {
    rounds.iter().filter(|round| good(**round)).count() * 5 >= rounds.len() * ROUNDS_OF_FIVE
}

fn values(column: &Column) -> Vec<f64> {
    column.samples.iter().map(|sample| sample.value).collect()
}

fn median_use(column: &Column) -> Option<Use> {
    let uses: Vec<_> = column.samples.iter().filter_map(|sample: &Sample| sample.cores).collect();
    let of = |pick: fn(&Use) -> f64| median(&uses.iter().map(pick).collect::<Vec<_>>());
    (!uses.is_empty()).then(|| Use {
        peer: of(|used| used.peer),
        load: of(|used| used.load),
        others: of(|used| used.others),
        stolen: of(|used| used.stolen),
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

//! The results as Markdown: what was measured, and beside each requirement its figure and verdict.

use std::fmt::Write as _;

use serde::Serialize;

use super::contender::{Contender, Work};
use super::pauses::Pauses;
use super::turn::Turn;

/// A peer later than this is out of the comparison of CPU time.
const QUICK_PEER_MS: f64 = 150.0;

/// Everything that was measured, turn by turn.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    pub(super) rounds: u32,
    pub(super) seconds: u64,
    /// The turns of each contender, by its name.
    pub(super) contenders: Vec<(&'static str, Vec<Turn>)>,
    /// For each number of mounts the turns with it.
    pub(super) mounts: Vec<(u32, Vec<Turn>)>,
    pub(super) pair: Vec<Turn>,
    pub(super) pauses: Vec<Pauses>,
}

/// What a contender comes to over all rounds.
struct Figures {
    cpu: Option<f64>,
    wakeups: Option<f64>,
    start: Option<f64>,
    arrival: Option<f64>,
    late: Option<f64>,
    resident: Option<f64>,
    proportional: Option<f64>,
}

impl Figures {
    fn of(turns: &[Turn]) -> Self {
        let each = |value: &dyn Fn(&Turn) -> Option<f64>| median(turns.iter().filter_map(value).collect());
        Self {
            cpu: each(&|turn| Some(turn.cpu_per_hour)),
            wakeups: each(&|turn| Some(turn.wakeups)),
            start: each(&|turn| turn.start),
            arrival: each(&|turn| quantile(turn.ages.clone(), 0.5)),
            late: each(&|turn| quantile(turn.ages.clone(), 0.95)),
            resident: each(&|turn| Some(turn.resident / 1024.0)),
            proportional: each(&|turn| Some(turn.proportional / 1024.0)),
        }
    }
}

impl Results {
    fn figures(&self, wanted: Contender) -> Figures {
        let turns = self.contenders.iter().find(|(name, _)| *name == wanted.name());
        Figures::of(turns.map_or(&[], |(_, turns)| turns.as_slice()))
    }

    /// All tables that there are figures for.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "Medians of {} rounds of {} s, in turn on the same machine.\n",
            self.rounds, self.seconds
        );
        if (self.rounds, self.seconds) != (super::ROUNDS, super::SECONDS) {
            text += "**Shortened**: the figures that count are medians of 5 rounds of 60 s.\n";
        }
        self.write_contenders(&mut text);
        self.write_mounts(&mut text);
        self.write_pair(&mut text);
        self.write_pauses(&mut text);
        self.write_verdicts(&mut text);
        text
    }

    fn write_contenders(&self, text: &mut String) {
        if self.contenders.is_empty() {
            return;
        }
        let floor = self.figures(Contender::Floor).cpu;
        *text += "\nLive, MP3 320 kbit/s at 48 kHz stereo, LAME quality 3, one mount on Icecast over loopback, captured from the \
                  test card.\n\n\
                  | | CPU s/h | x floor | arrival median | p95 | start | resident | proportional | wake-ups/s |\n\
                  |---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for contender in Contender::ALL {
            let figures = self.figures(contender);
            // The floor and the ideal client hold the whole programme, which is nobody's need.
            let holds = match contender {
                Contender::Floor | Contender::Ideal => (None, None),
                Contender::Box(_) | Contender::Ffmpeg | Contender::Darkice | Contender::Liquidsoap => {
                    (figures.resident, figures.proportional)
                }
            };
            let ratio = figures.cpu.zip(floor).map(|(cpu, floor)| cpu / floor);
            line(
                text,
                &[
                    contender.name().to_owned(),
                    shown(figures.cpu, 1, ""),
                    shown(ratio, 2, ""),
                    shown(figures.arrival, 1, " ms"),
                    shown(figures.late, 1, " ms"),
                    shown(figures.start, 3, " s"),
                    shown(holds.0, 1, " MiB"),
                    shown(holds.1, 1, " MiB"),
                    shown(figures.wakeups, 0, ""),
                ],
            );
        }
    }

    fn write_mounts(&self, text: &mut String) {
        if self.mounts.is_empty() {
            return;
        }
        *text += "\nMainstay, meters off, so many mounts of one rendition.\n\n| mounts | CPU s/h | resident | wake-ups/s |\n|--:|--:|--:|--:|\n";
        for (count, turns) in &self.mounts {
            let figures = Figures::of(turns);
            line(
                text,
                &[
                    count.to_string(),
                    shown(figures.cpu, 1, ""),
                    shown(figures.resident, 1, " MiB"),
                    shown(figures.wakeups, 0, ""),
                ],
            );
        }
    }

    fn write_pair(&self, text: &mut String) {
        if self.pair.is_empty() {
            return;
        }
        let figures = Figures::of(&self.pair);
        let _ = writeln!(
            text,
            "\nMainstay with two mounts (320 and 192 kbit/s), meters off: {} resident, {} proportional, {} CPU s/h.",
            shown(figures.resident, 1, " MiB"),
            shown(figures.proportional, 1, " MiB"),
            shown(figures.cpu, 1, ""),
        );
    }

    fn write_pauses(&self, text: &mut String) {
        if self.pauses.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "\nLongest pause at the listener of the second server (two servers, {} s each; blocks come every 35 ms).\n\n\
             | first server | before | during |\n|---|--:|--:|",
            self.seconds
        );
        for pauses in &self.pauses {
            let (before, during) =
                (shown(Some(pauses.before), 0, " ms"), shown(Some(pauses.during), 0, " ms"));
            line(text, &[pauses.trouble.to_owned(), before, during]);
        }
    }

    fn write_verdicts(&self, text: &mut String) {
        *text += "\n| requirement | at most | measured | |\n|---|--:|--:|---|\n";
        let floor = self.figures(Contender::Floor).cpu;
        let off = self.figures(Contender::Box(Work::Bare));
        let on = self.figures(Contender::Box(Work::Meters));
        let watched = self.figures(Contender::Box(Work::Watched));
        let levels = self.figures(Contender::Box(Work::Levels));
        let to_floor = |figures: &Figures| figures.cpu.zip(floor).map(|(cpu, floor)| cpu / floor);
        verdict(text, "CPU, meters off, x floor", Some(1.25), to_floor(&off), 2, "");
        verdict(text, "CPU, meters on, x floor", Some(1.5), to_floor(&on), 2, "");
        verdict(text, "CPU, meters on and watched, x floor", Some(1.5), to_floor(&watched), 2, "");
        verdict(text, "CPU, meters, leveller and limiter on, x floor", Some(1.6), to_floor(&levels), 2, "");
        for peer in Contender::ALL.into_iter().filter(|contender| contender.is_peer()) {
            let figures = self.figures(peer);
            if figures.arrival.is_some_and(|arrival| arrival < QUICK_PEER_MS) {
                let name = format!("CPU s/h, meters on, below {} (arrival under 150 ms)", peer.name());
                verdict(text, &name, figures.cpu, on.cpu, 1, "");
            }
        }
        verdict(text, "CPU s/h per further mount", Some(2.0), self.slope(), 2, "");
        let pair = Figures::of(&self.pair);
        verdict(text, "resident memory, two mounts", Some(16.0), pair.resident, 1, " MiB");
        verdict(text, "start to first sound at a listener", Some(0.2), off.start, 3, " s");
        verdict(text, "capture to decoded arrival, median", Some(95.0), off.arrival, 1, " ms");
        let worst = self.pauses.iter().map(|pauses| pauses.during).reduce(f64::max);
        verdict(text, "pause at the other server's listener", Some(100.0), worst, 0, " ms");
    }

    /// CPU seconds per hour for each further mount: the least-squares line through the medians.
    fn slope(&self) -> Option<f64> {
        let points: Vec<(f64, f64)> = self
            .mounts
            .iter()
            .filter_map(|(count, turns)| Some((f64::from(*count), Figures::of(turns).cpu?)))
            .collect();
        slope(&points)
    }
}

fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) =
        points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let shared: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0).then(|| shared / spread)
}

fn verdict(
    text: &mut String,
    name: &str,
    limit: Option<f64>,
    figure: Option<f64>,
    digits: usize,
    unit: &str,
) {
    let word = match (limit, figure) {
        (Some(limit), Some(figure)) if figure <= limit => "met",
        (Some(_), Some(_)) => "**missed**",
        (None, _) | (_, None) => "not measured",
    };
    line(text, &[name.to_owned(), shown(limit, digits, unit), shown(figure, digits, unit), word.to_owned()]);
}

fn shown(figure: Option<f64>, digits: usize, unit: &str) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}{unit}"))
}

fn line(text: &mut String, cells: &[String]) {
    *text += &format!("| {} |\n", cells.join(" | "));
}

fn median(figures: Vec<f64>) -> Option<f64> {
    quantile(figures, 0.5)
}

/// A quantile, interpolated between the two figures beside it.
fn quantile(mut figures: Vec<f64>, at: f64) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let place = at * figures.len().checked_sub(1)? as f64;
    let below = figures.get(place as usize)?;
    let above = figures.get(place.ceil() as usize)?;
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_figures() {
        assert_eq!(quantile(vec![], 0.5), None);
        assert_eq!(quantile(vec![7.0], 0.95), Some(7.0));
        assert_eq!(quantile(vec![4.0, 1.0, 3.0, 2.0], 0.5), Some(2.5));
        assert_eq!(quantile((0..=100).map(f64::from).collect(), 0.95), Some(95.0));
    }

    #[test]
    fn a_line_has_its_slope() {
        let points: Vec<_> = [1.0, 2.0, 4.0, 32.0].map(|mounts| (mounts, 26.0 + 1.5 * mounts)).into();
        assert!((slope(&points).unwrap() - 1.5).abs() < 1e-9);
        assert_eq!(slope(&points[..1]), None);
    }

    #[test]
    fn a_requirement_without_a_figure_is_not_met() {
        let text = Results { rounds: 5, seconds: 60, ..Results::default() }.markdown();
        assert!(text.contains("not measured") && !text.contains("| met"), "{text}");
    }
}

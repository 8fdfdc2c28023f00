//! What is kept apart: the sound around incidents and marked moments, in a folder and a budget of its own.

use std::collections::VecDeque;

use units::Instant;

use super::{Recorder, ending};
use crate::index::Point;
use crate::name;
use crate::shelf::{Clip, Entry};
use crate::step::Step;
use crate::time::Moment;

/// Sound that is to be kept apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Keep {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    /// Letters, digits and `-` only.
    pub(crate) label: String,
}

impl Recorder {
    /// Something is to be kept apart, once it is all recorded.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.keeps.push_back(keep);
        let over = self.keeps.len().saturating_sub(MOST_KEEPS);
        self.keeps.drain(..over);
    }

    /// Keeps apart what is all recorded by now.
    pub(super) fn keep_apart(&mut self, now: Moment) {
        let (due, later): (VecDeque<Keep>, _) =
            std::mem::take(&mut self.keeps).into_iter().partition(|keep| keep.to <= now.at);
        self.keeps = later;
        for keep in due {
            let met: Vec<&Entry> =
                self.shelf.entries().iter().filter(|entry| self.is_of(entry, &keep)).collect();
            let Some((rendition, ending)) =
                met.last().and_then(|entry| Some((entry.rendition?, ending(entry.rendition.as_ref()?)?)))
            else {
                let text = format!("nothing was recorded of what is to be kept apart ({})", keep.label);
                self.steps.push_back(Step::Say { alarm: false, text });
                continue;
            };
            // One file plays one format: the newest.
            let met = met.iter().filter(|entry| entry.rendition == Some(rendition));
            let out_of = met.map(|entry| (entry.stem.clone(), entry.ending)).collect();
            let begins = now.earlier(now.at.since(keep.from).as_millis() as u64);
            let stem = name::stem(begins.clock, begins.offset_s, self.run.unwrap_or(1), self.seq);
            let clips = &self.shelf.clips;
            let stem = name::free(format!("{stem}_{}", keep.label), &|stem| {
                clips.iter().any(|clip| clip.name.rsplit_once('.').is_some_and(|(taken, _)| taken == stem))
            });
            let bytes = rendition.bitrate.bytes_per_second() * keep.to.since(keep.from).as_secs().max(1);
            let clip = Clip { name: format!("{stem}.{ending}"), bytes };
            self.make_room_for_clip(bytes);
            self.steps.push_back(Step::Keep {
                name: clip.name.clone(),
                from: keep.from,
                to: keep.to,
                out_of,
            });
            self.shelf.clips.push(clip);
        }
    }

    /// Whether a recording of this run holds some of what is to be kept.
    fn is_of(&self, entry: &Entry, keep: &Keep) -> bool {
        let at = |point: Option<Point>| point.map(|point| point.at);
        Some(entry.order.0) == self.run
            && at(entry.begin).is_some_and(|begins| begins < keep.to)
            && at(entry.end).is_some_and(|ends| ends > keep.from)
    }

    fn make_room_for_clip(&mut self, bytes: u64) {
        while self.shelf.clip_bytes() + bytes > self.config.incidents && !self.shelf.clips.is_empty() {
            let name = self.shelf.clips.remove(0).name;
            self.steps.push_back(Step::DeleteClip { name });
        }
    }
}

/// Incidents that wait for their end.
const MOST_KEEPS: usize = 64;

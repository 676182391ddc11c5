//! What the apps that tell how they go have said, and what of it the keeper is to hear, and when: pure, driven by
//! [`crate::listener`].
//!
//! However much an app says, few words go on: READY once, signs of life no more than eight times in the time within which the
//! manager wants one, the words of a status once in a second.

use std::time::{Duration, Instant};

use pod::Word;

use crate::message::Message;

/// Between two texts.
const STATUS_PAUSE: Duration = Duration::from_secs(1);
/// So many signs of life at most go on within the time that the manager gives.
const SIGNS: u32 = 8;

/// One app that tells.
#[derive(Debug)]
struct Voice {
    /// Its place in the pod.
    app: u16,
    ready: bool,
    /// It has given a sign of life since the last one that went on.
    alive: bool,
    ended: bool,
    /// What it says of itself, until that goes on.
    status: Option<Vec<u8>>,
    /// When that last went on: the others come first.
    heard: Option<Instant>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Voices {
    all: Vec<Voice>,
    /// Between two signs of life; absent: nobody wants them.
    pause: Option<Duration>,
    failing: bool,
    ready_told: bool,
    /// When the next sign of life, and the next text, may be told.
    sign_due: Option<Instant>,
    status_due: Option<Instant>,
}

impl Voices {
    /// Of the apps at these places.
    pub(crate) fn new(apps: impl Iterator<Item = u16>, watchdog: Option<Duration>) -> Self {
        let voice = |app| Voice {
            app,
            ready: false,
            alive: false,
            ended: false,
            status: None,
            heard: None,
        };
        Self {
            all: apps.map(voice).collect(),
            pause: watchdog.map(|watchdog| watchdog / SIGNS),
            failing: false,
            ready_told: false,
            sign_due: None,
            status_due: None,
        }
    }

    /// One of them has said something.
    pub(crate) fn hear(&mut self, at: usize, message: Message<'_>) {
        let Some(voice) = self.all.get_mut(at) else {
            return;
        };
        voice.ready |= message.ready;
        voice.alive |= message.alive;
        self.failing |= message.failing;
        if let Some(text) = message.status {
            let length = text.len().min(Word::MAX_TEXT);
            voice.status = text.get(..length).map(<[u8]>::to_vec);
        }
    }

    /// One of them has ended: no sign of life is expected of it. If it was not ready, it never will be, nor will the pod.
    pub(crate) fn ended(&mut self, at: usize) {
        if let Some(voice) = self.all.get_mut(at) {
            voice.ended = true;
        }
    }

    /// What is to be told now, if anything is. Nobody is to hear that the pod lives before it is ready: a manager would watch it
    /// from then on.
    pub(crate) fn due(&self, now: Instant) -> Option<Word> {
        if !self.ready_told && self.all.iter().all(|voice| voice.ready) {
            return Some(Word::Ready);
        }
        if self.ready_told && self.failing && self.pause.is_some() {
            return Some(Word::Failing);
        }
        if self.are_alive() && is_due(self.sign_due, now) {
            return Some(Word::Alive);
        }
        let saying = self.all.iter().filter(|voice| voice.status.is_some());
        let said = saying.min_by_key(|voice| voice.heard)?;
        let status = Word::Status {
            app: said.app,
            text: said.status.clone()?,
        };
        is_due(self.status_due, now).then_some(status)
    }

    /// This has been told.
    pub(crate) fn told(&mut self, word: &Word, now: Instant) {
        match word {
            Word::Ready => self.ready_told = true,
            Word::Failing => self.failing = false,
            Word::Alive => {
                self.all.iter_mut().for_each(|voice| voice.alive = false);
                self.sign_due = self.pause.map(|pause| now + pause);
            }
            Word::Status { app, .. } => {
                let said = self.all.iter_mut().find(|voice| voice.app == *app);
                if let Some(voice) = said {
                    voice.status = None;
                    voice.heard = Some(now);
                }
                self.status_due = Some(now + STATUS_PAUSE);
            }
        }
    }

    /// How long until something is due of which [`Self::due`] does not speak yet; `None`: until somebody says something.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let sign = self.sign_due.filter(|_| self.are_alive());
        let says = self.all.iter().any(|voice| voice.status.is_some());
        let next = [sign, self.status_due.filter(|_| says)];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Whether somebody wants to hear that all live, and all do. Who has ended gives no sign, so where all have none is given.
    fn are_alive(&self) -> bool {
        let mut living = self.all.iter().filter(|voice| !voice.ended).peekable();
        let wanted = self.ready_told && self.pause.is_some();
        wanted && living.peek().is_some() && living.all(|voice| voice.alive)
    }
}

fn is_due(next: Option<Instant>, now: Instant) -> bool {
    next.is_none_or(|next| next <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn says(voices: &mut Voices, at: usize, text: &str) {
        voices.hear(at, Message::parse(text.as_bytes()));
    }

    /// All that is due, told.
    fn told(voices: &mut Voices, now: Instant) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some(word) = voices.due(now) {
            voices.told(&word, now);
            words.push(word);
        }
        words
    }

    fn status(app: u16, text: &str) -> Word {
        let text = text.as_bytes().to_vec();
        Word::Status { app, text }
    }

    #[test]
    fn ready_is_told_once_when_all_are() {
        let (mut voices, now) = (Voices::new([0, 2].into_iter(), None), Instant::now());
        says(&mut voices, 0, "READY=1");
        assert_eq!(told(&mut voices, now), []);
        voices.ended(0);
        says(&mut voices, 1, "READY=1");
        assert_eq!(told(&mut voices, now), [Word::Ready]);
        says(&mut voices, 1, "READY=1");
        assert_eq!(told(&mut voices, now), []);
        let mut voices = Voices::new([0, 1].into_iter(), None);
        voices.ended(0);
        says(&mut voices, 1, "READY=1");
        assert_eq!(told(&mut voices, now), [], "who has ended was never ready");
    }

    #[test]
    fn a_sign_of_life_goes_on_when_each_that_lives_has_given_one_since_the_last() {
        let mut voices = Voices::new([0, 1].into_iter(), Some(8 * SECOND));
        let now = Instant::now();
        says(&mut voices, 0, "WATCHDOG=1\nREADY=1");
        says(&mut voices, 1, "WATCHDOG=1");
        assert_eq!(
            told(&mut voices, now),
            [],
            "nobody is watched before all are ready"
        );
        says(&mut voices, 1, "READY=1");
        assert_eq!(told(&mut voices, now), [Word::Ready, Word::Alive]);
        for at in [0, 0, 0] {
            says(&mut voices, at, "WATCHDOG=1");
            assert_eq!(told(&mut voices, now + 5 * SECOND), []);
        }
        says(&mut voices, 1, "WATCHDOG=1");
        assert_eq!(told(&mut voices, now + 5 * SECOND), [Word::Alive]);
        voices.ended(1);
        says(&mut voices, 0, "WATCHDOG=1");
        assert_eq!(told(&mut voices, now + 6 * SECOND), [Word::Alive]);
        voices.ended(0);
        assert_eq!(told(&mut voices, now + 9 * SECOND), [], "nobody lives");
    }

    #[test]
    fn signs_of_life_that_come_too_often_wait() {
        let mut voices = Voices::new([0].into_iter(), Some(8 * SECOND));
        let now = Instant::now();
        says(&mut voices, 0, "READY=1\nWATCHDOG=1");
        assert_eq!(told(&mut voices, now), [Word::Ready, Word::Alive]);
        assert_eq!(voices.wait(now), None);
        says(&mut voices, 0, "WATCHDOG=1");
        assert_eq!(told(&mut voices, now), []);
        assert_eq!(voices.wait(now), Some(SECOND));
        assert_eq!(told(&mut voices, now + SECOND), [Word::Alive]);
    }

    #[test]
    fn nobody_hears_signs_of_life_that_nobody_wants() {
        let (mut voices, now) = (Voices::new([0].into_iter(), None), Instant::now());
        says(&mut voices, 0, "READY=1\nWATCHDOG=1\nWATCHDOG=trigger");
        assert_eq!(told(&mut voices, now), [Word::Ready]);
        let mut voices = Voices::new([0].into_iter(), Some(SECOND));
        says(&mut voices, 0, "WATCHDOG=trigger");
        assert_eq!(told(&mut voices, now), []);
        says(&mut voices, 0, "READY=1");
        assert_eq!(told(&mut voices, now), [Word::Ready, Word::Failing]);
    }

    #[test]
    fn texts_go_on_one_at_a_time_the_last_of_each_app_and_none_drowns_another() {
        let (mut voices, now) = (Voices::new([0, 3].into_iter(), None), Instant::now());
        says(&mut voices, 0, "STATUS=one");
        assert_eq!(told(&mut voices, now), [status(0, "one")]);
        for text in ["STATUS=two", "STATUS=three"] {
            says(&mut voices, 0, text);
            says(&mut voices, 1, text);
        }
        assert_eq!(told(&mut voices, now), []);
        assert_eq!(voices.wait(now), Some(SECOND));
        assert_eq!(told(&mut voices, now + SECOND), [status(3, "three")]);
        says(&mut voices, 1, "STATUS=four");
        assert_eq!(told(&mut voices, now + 2 * SECOND), [status(0, "three")]);
        assert_eq!(told(&mut voices, now + 3 * SECOND), [status(3, "four")]);
        assert_eq!(voices.wait(now), None);
        says(&mut voices, 0, &format!("STATUS={}", "x".repeat(1000)));
        let cut = "x".repeat(Word::MAX_TEXT);
        assert_eq!(told(&mut voices, now + 9 * SECOND), [status(0, &cut)]);
    }
}

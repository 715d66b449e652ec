//! Whether a broker answers, asked at start and every minute: a sink that cannot publish is told of
//! before there is anything to publish.
//!
//! The question blocks, so it has a thread of its own, which holds neither the runtime nor a stop up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rdkafka::producer::Producer;

use super::line::Line;

/// How long after an answer the next question is asked, unless all connections are lost before.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How long a question may take, which is as long as one attempt to connect.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest time between two questions.
const REST: Duration = Duration::from_secs(1);

/// What is known of the brokers.
#[derive(Debug, Default)]
pub(super) struct Reach {
    state: Mutex<State>,
    changed: Condvar,
    /// A topic that is published to: asking for one costs less than asking for all.
    topic: OnceLock<Arc<str>>,
}

#[derive(Debug, Default)]
struct State {
    /// The last question had no answer.
    silent: bool,
    /// Something is amiss, so the next question is asked at once.
    doubtful: bool,
    over: bool,
}

impl Reach {
    /// Whether no broker answers, as far as is known.
    pub fn is_silent(&self) -> bool {
        self.state().silent
    }

    /// Notes a topic that is published to.
    pub fn publishes_to(&self, topic: &Arc<str>) {
        self.topic.get_or_init(|| Arc::clone(topic));
    }

    /// Notes that the client has lost its connections, which may be no more than an idle one closed.
    pub fn doubt(&self) {
        self.state().doubtful = true;
        self.changed.notify_one();
    }

    /// Has nothing asked any more.
    pub fn end(&self) {
        self.state().over = true;
        self.changed.notify_one();
    }

    /// Asks by way of this line until the end, or until the line is gone.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn ask_by(self: &Arc<Self>, line: &Line) -> std::io::Result<()> {
        let (reach, producer) = (Arc::clone(self), line.producer_while_it_lives());
        let ask = move || {
            while let Some(producer) = producer() {
                let topic = reach.topic.get().map(|topic| &**topic);
                let answer = producer.client().fetch_metadata(topic, PATIENCE);
                drop(producer);
                if !reach.note(answer.is_ok()) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("kafka-reach".into()).spawn(ask).map(drop)
    }

    /// Notes an answer, or that there was none, and waits until it is time to ask again; whether it
    /// ever is.
    fn note(&self, answered: bool) -> bool {
        let mut state = self.state();
        state.silent = !answered;
        let over = |state: &mut State| !state.over;
        state = self.wait(state, REST, over);
        if answered {
            state = self.wait(state, ASK_EVERY, |state| !state.over && !state.doubtful);
        }
        state.doubtful = false;
        !state.over
    }

    fn wait<'s>(
        &self,
        state: MutexGuard<'s, State>,
        time: Duration,
        wait_on: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'s, State> {
        let waited = self.changed.wait_timeout_while(state, time, wait_on);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_has_the_next_question_asked_at_once_and_an_end_none() {
        let reach = Arc::new(Reach::default());
        reach.doubt();
        // A minute, if the doubt were not seen.
        assert!(reach.note(true) && !reach.is_silent());
        assert!(reach.note(false) && reach.is_silent(), "without an answer it is asked again soon");
        let waiting = Arc::clone(&reach);
        let waits = std::thread::spawn(move || waiting.note(true));
        reach.end();
        assert!(!waits.join().expect("no panic"));
    }
}

//! Whether a Kafka broker answers. The question is asked at the start and then every minute, so that
//! a sink that cannot publish is reported before there is a record to publish.
//!
//! The question blocks, so a thread of its own asks it: neither the runtime nor a stop waits for it.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

/// How long after an answer the next question is asked, unless the connections are lost before.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How long one question can take, which is as long as one attempt to connect.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the sink can be waited for while a question is underway.
const STEP: Duration = Duration::from_secs(1);
/// Shortest time between two questions.
const REST: Duration = Duration::from_secs(1);

/// The result of the last question, and what decides when the next one is asked.
#[derive(Debug, Default)]
pub(super) struct Reach {
    state: Mutex<State>,
    changed: Condvar,
    /// A topic that the sink publishes to: asking for one topic costs less than asking for all.
    topic: OnceLock<Arc<str>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the last question had no answer.
    silent: bool,
    /// Whether the connections were lost since, so that the next question is asked at once.
    doubtful: bool,
    over: bool,
}

impl Reach {
    /// Whether no broker answered the last question.
    pub fn is_silent(&self) -> bool {
        self.state().silent
    }

    /// Sets the topic that later questions ask for; only the first call counts.
    pub fn publishes_to(&self, topic: &Arc<str>) {
        self.topic.get_or_init(|| Arc::clone(topic));
    }

    /// Asks again at once, because the client has lost all connections. That can mean no more than
    /// that idle connections were closed.
    pub fn doubt(&self) {
        self.state().doubtful = true;
        self.changed.notify_one();
    }

    /// Ends the questions.
    pub fn end(&self) {
        self.state().over = true;
        self.changed.notify_one();
    }

    /// Asks through the producer that `producer` returns, until [`Reach::end`] or until there is none.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn ask_by<C: ProducerContext + 'static>(
        self: &Arc<Self>,
        producer: impl Fn() -> Option<Arc<BaseProducer<C>>> + Send + 'static,
    ) -> std::io::Result<()> {
        let reach = Arc::clone(self);
        let ask = move || {
            while let Some(producer) = producer() {
                let answered = reach.ask(&producer);
                drop(producer);
                if !reach.note(answered) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("kafka-reach".into()).spawn(ask).map(drop)
    }

    /// Asks once and returns whether a broker answered. The wait is made of steps, because the end of the
    /// sink must not wait for a broker that hangs.
    fn ask<C: ProducerContext>(&self, producer: &BaseProducer<C>) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let topic = self.topic.get().map(|topic| &**topic);
        loop {
            match producer.client().fetch_metadata(topic, STEP) {
                Ok(_) => return true,
                Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))
                    if Instant::now() < deadline && !self.state().over => {}
                Err(_) => return false,
            }
        }
    }

    /// Notes whether a broker answered, then waits until the next question is due. Returns `false` if
    /// there is none, because the sink has ended.
    fn note(&self, answered: bool) -> bool {
        let mut state = self.state();
        state.silent = !answered;
        self.changed.wait_while_for(&mut state, |state| !state.over, REST);
        if answered {
            let quiet = |state: &mut State| !state.over && !state.doubtful;
            self.changed.wait_while_for(&mut state, quiet, ASK_EVERY);
        }
        state.doubtful = false;
        !state.over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
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

//! The topics of one sink and its counters per family, looked up once per family instead of once per
//! event.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use super::traced::sampled;
use crate::event::{Event, Record, Timestamp};
use crate::routing::TopicTemplate;
use crate::telemetry::{DurationHistogram, Metrics, Sink, SinkFamily};

/// Maps an event to its topic, and counts deliveries by family.
pub struct Routes {
    template: TopicTemplate,
    sink: String,
    topics: HashMap<String, Arc<str>>,
    /// Buffer for the look-up key, so that a look-up allocates nothing.
    place: String,
    delivered: HashMap<String, Counter>,
    families: prometheus_client::metrics::family::Family<SinkFamily, Counter>,
    duration: DurationHistogram,
}

impl Routes {
    /// The routes of one sink. Both maps stay as small as the catalogue, because families and names
    /// come from definitions and configuration, never from a request.
    pub fn new(sink: &str, template: TopicTemplate, metrics: &Metrics) -> Self {
        Self {
            template,
            sink: sink.to_owned(),
            topics: HashMap::new(),
            place: String::new(),
            delivered: HashMap::new(),
            families: metrics.delivered.clone(),
            duration: metrics.delivery_duration.get_or_create(&Sink { sink: sink.to_owned() }).clone(),
        }
    }

    /// Takes this template for the topics of the events that follow.
    pub fn fill_in(&mut self, template: &TopicTemplate) {
        if self.template != *template {
            self.template = template.clone();
            self.topics.clear();
        }
    }

    /// The topic of an event.
    pub fn topic(&mut self, event: &Event) -> Arc<str> {
        self.place.clear();
        for part in [&event.provider, &event.family, &event.source_name] {
            self.place.push_str(part);
            self.place.push('\0');
        }
        if let Some(topic) = self.topics.get(&self.place) {
            return Arc::clone(topic);
        }
        let topic: Arc<str> = self.template.render(&event.provider, &event.family, &event.source_name).into();
        self.topics.insert(self.place.clone(), Arc::clone(&topic));
        topic
    }

    /// Counts a record that the sink accepted, and its time since it arrived.
    pub fn delivered(&mut self, record: &Record, now: Timestamp) {
        let family = &*record.event.family;
        if !self.delivered.contains_key(family) {
            let labels = SinkFamily { sink: self.sink.clone(), family: family.to_owned() };
            self.delivered.insert(family.to_owned(), self.families.get_or_create(&labels).clone());
        }
        if let Some(counter) = self.delivered.get(family) {
            counter.inc();
        }
        let trace = || sampled(&record.event).map(|context| context.trace);
        self.duration.observe_traced(now.seconds_since(record.event.arrived), trace);
    }
}

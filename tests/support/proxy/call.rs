//! One call of SQS (JSON) or SNS (form in, XML out) as it passes by: what it asks for, which
//! entries its batch has, and how either protocol says that something failed.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::form::{self, MESSAGE};

/// What was seen of one call.
#[derive(Clone, Debug)]
pub struct Call {
    /// `ReceiveMessage`, `PublishBatch`, …; the path of a request that names no action.
    pub action: String,
    /// The queue's URL or the topic's ARN; empty if the call names neither.
    pub resource: String,
    /// When all of it had arrived, by the clock that also stamps system-call traces.
    pub at: SystemTime,
    /// The entries of a batch; none for other calls.
    pub entries: Vec<Entry>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What was answered: none yet, or never if the connection was cut.
    pub answer: Option<Answer>,
    pub(super) protocol: Protocol,
}

/// One entry of a batch, or one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its `Id`, distinct within the batch only; empty for a message.
    pub id: String,
    /// Its fields by name: `ReceiptHandle`, `Message`, `MessageGroupId`, …
    pub fields: BTreeMap<String, String>,
}

impl Entry {
    fn new(fields: BTreeMap<String, String>) -> Self {
        Self { id: fields.get("Id").cloned().unwrap_or_default(), fields }
    }

    /// A field; empty if it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// An answer as it goes out.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// Its headers, without those of its framing.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// An answer of nobody but the proxy.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).expect("a status of HTTP");
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header's value"));
        self
    }
}

/// An error as the services word it, for a call or for an entry of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The HTTP status; of no use for an entry.
    pub status: u16,
    /// The code that clients decide by.
    pub code: &'static str,
    /// Whether the service blames the request, so that repeating it is no use.
    pub sender_fault: bool,
}

impl Refusal {
    /// Too many requests. Both services say it with a 400.
    pub const THROTTLED: Self = Self { status: 400, code: "ThrottlingException", sender_fault: true };
    /// The same in the word that SQS has for one queue.
    pub const QUEUE_THROTTLED: Self = Self { status: 400, code: "RequestThrottled", sender_fault: true };
    /// The service fails.
    pub const INTERNAL: Self = Self { status: 500, code: "InternalError", sender_fault: false };
    /// The service is away.
    pub const UNAVAILABLE: Self = Self { status: 503, code: "ServiceUnavailable", sender_fault: false };
    /// The credentials were good once.
    pub const EXPIRED: Self = Self { status: 403, code: "ExpiredToken", sender_fault: true };
    /// The credentials do not suffice.
    pub const DENIED: Self = Self { status: 403, code: "AccessDenied", sender_fault: true };
    /// An entry that no repetition will mend.
    pub const INVALID: Self = Self { status: 400, code: "InvalidParameter", sender_fault: true };
}

/// How a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// SQS: the action in `X-Amz-Target`, JSON both ways.
    Json,
    /// SNS: the action in the form, XML in return.
    Query,
}

impl Call {
    pub(super) fn read(head: &Parts, body: Bytes) -> Self {
        let (at, headers) = (SystemTime::now(), head.headers.clone());
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        if let Some(action) = target.and_then(|target| target.rsplit('.').next()) {
            let document: Value = serde_json::from_slice(&body).unwrap_or_default();
            let resource = document["QueueUrl"].as_str().unwrap_or_default().to_owned();
            let entries = document["Entries"].as_array().into_iter().flatten().map(json_entry).collect();
            let (action, protocol) = (action.to_owned(), Protocol::Json);
            return Self { action, resource, at, entries, headers, body, answer: None, protocol };
        }
        // Links of the service are forms in their query.
        let form =
            form::read(if body.is_empty() { head.uri.query().unwrap_or("").as_bytes() } else { &body });
        let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Self {
            action: value("Action").unwrap_or_else(|| head.uri.path().to_owned()),
            resource: value("TopicArn").unwrap_or_default(),
            at,
            entries: form::members(&form).into_values().map(Entry::new).collect(),
            headers,
            body,
            answer: None,
            protocol: Protocol::Query,
        }
    }

    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What a `ReceiveMessage` brought: each message with its `MessageId`, `ReceiptHandle`, `Body`.
    pub fn received(&self) -> Vec<Entry> {
        let body = self.answer.as_ref().map_or(&[][..], |answer| &answer.body);
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        document["Messages"].as_array().into_iter().flatten().map(json_entry).collect()
    }

    /// The body without some of its entries; none if no entry would be left.
    pub(super) fn body_without(&self, ids: &[String]) -> Option<Bytes> {
        if self.entries.iter().all(|entry| ids.contains(&entry.id)) {
            return None;
        }
        Some(match self.protocol {
            Protocol::Json => {
                let mut document: Value = serde_json::from_slice(&self.body).expect("read before");
                let entries = document["Entries"].as_array_mut().expect("a batch has entries");
                entries.retain(|entry| !ids.iter().any(|id| entry["Id"] == **id));
                document.to_string().into()
            }
            Protocol::Query => form::without(&form::read(&self.body), ids).into(),
        })
    }

    /// What the service answers when it refuses all of a call.
    pub(super) fn refused(&self, refusal: Refusal) -> Answer {
        let Refusal { status, code, sender_fault } = refusal;
        let fault = if sender_fault { "Sender" } else { "Receiver" };
        match self.protocol {
            Protocol::Json => {
                let error = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": MESSAGE });
                Answer::new(status, error.to_string())
                    .with("content-type", "application/x-amz-json-1.0")
                    .with("x-amzn-query-error", &format!("{code};{fault}"))
            }
            Protocol::Query => {
                Answer::new(status, form::refusal(fault, code)).with("content-type", "text/xml")
            }
        }
    }

    /// What the service answers to a batch of which it took these entries and refused nothing.
    pub(super) fn outcome(&self, taken: &[Entry]) -> Answer {
        let ids = taken.iter().map(|entry| entry.id.as_str());
        Answer::new(
            200,
            match self.protocol {
                Protocol::Json => {
                    let taken: Vec<_> = ids.map(|id| json!({ "Id": id, "MessageId": id })).collect();
                    json!({ "Successful": taken, "Failed": [] }).to_string()
                }
                Protocol::Query => form::outcome(&self.action, ids),
            },
        )
    }

    /// An outcome in which some entries count among the failed, whatever became of them.
    pub(super) fn with_failures(&self, answer: Answer, ids: &[String], refusal: Refusal) -> Answer {
        if answer.status != StatusCode::OK {
            return answer;
        }
        let body = match self.protocol {
            Protocol::Json => json_with_failures(&answer.body, ids, refusal),
            Protocol::Query => form::with_failures(&answer.body, ids, refusal),
        };
        Answer { body: body.into(), ..answer }
    }
}

fn json_entry(entry: &Value) -> Entry {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = entry.as_object().into_iter().flatten();
    Entry::new(fields.map(|(name, value)| (name.clone(), text(value))).collect())
}

fn json_with_failures(body: &[u8], ids: &[String], refusal: Refusal) -> String {
    let mut outcome: Value = serde_json::from_slice(body).expect("an outcome is JSON");
    if let Some(successful) = outcome["Successful"].as_array_mut() {
        successful.retain(|entry| !ids.iter().any(|id| entry["Id"] == **id));
    }
    let Refusal { code, sender_fault, .. } = refusal;
    let failures = ids
        .iter()
        .map(|id| json!({ "Id": id, "Code": code, "SenderFault": sender_fault, "Message": MESSAGE }));
    match outcome["Failed"].as_array_mut() {
        Some(failed) => failed.extend(failures),
        None => outcome["Failed"] = failures.collect(),
    }
    outcome.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: Option<&str>, body: &str) -> Call {
        let mut request = http::Request::post("/");
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        Call::read(&request.body(()).unwrap().into_parts().0, Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn a_json_batch_loses_the_chosen_entries_and_no_other() {
        let call = read(
            Some("AmazonSQS.DeleteMessageBatch"),
            r#"{"QueueUrl":"q","Entries":[{"Id":"a","ReceiptHandle":"r&1"},{"Id":"b","ReceiptHandle":"r2"}]}"#,
        );
        assert_eq!((call.action.as_str(), call.resource.as_str()), ("DeleteMessageBatch", "q"));
        assert_eq!(call.entries[0].field("ReceiptHandle"), "r&1");
        let rest: Value = serde_json::from_slice(&call.body_without(&["a".into()]).unwrap()).unwrap();
        assert_eq!(rest, json!({ "QueueUrl": "q", "Entries": [{ "Id": "b", "ReceiptHandle": "r2" }] }));
        assert_eq!(call.body_without(&["a".into(), "b".into()]), None);
    }

    #[test]
    fn a_form_loses_the_chosen_entries_and_counts_on_without_a_gap() {
        let list = "PublishBatchRequestEntries.member";
        let call = read(
            None,
            &format!(
                "Action=PublishBatch&TopicArn=arn%3At&{list}.1.Id=a&{list}.1.Message=x\
                 &{list}.2.Id=b&{list}.2.Message=%C3%A9+%26%3D&{list}.3.Id=c&{list}.3.Message="
            ),
        );
        assert_eq!((call.action.as_str(), call.resource.as_str()), ("PublishBatch", "arn:t"));
        assert_eq!(call.entries[1].field("Message"), "é &=");
        let rest = String::from_utf8(call.body_without(&["a".into()]).unwrap().to_vec()).unwrap();
        assert_eq!(
            rest,
            format!(
                "Action=PublishBatch&TopicArn=arn%3At&{list}.1.Id=b&{list}.1.Message=%C3%A9%20%26%3D\
                 &{list}.2.Id=c&{list}.2.Message="
            )
        );
    }

    #[test]
    fn an_outcome_in_xml_names_each_entry_once() {
        let call = read(None, "Action=PublishBatch");
        let body = "<PublishBatchResponse><PublishBatchResult><Successful><member><Id>a</Id><MessageId>1</MessageId>\
                    </member><member><Id>b</Id></member></Successful><Failed /></PublishBatchResult><R/></PublishBatchResponse>";
        let answer = call.with_failures(Answer::new(200, body), &["b".into()], Refusal::INTERNAL);
        assert_eq!(
            std::str::from_utf8(&answer.body).unwrap(),
            "<PublishBatchResponse><PublishBatchResult><Successful><member><Id>a</Id><MessageId>1</MessageId>\
             </member></Successful><Failed><member><Id>b</Id><Code>InternalError</Code>\
             <Message>refused by a test</Message><SenderFault>false</SenderFault></member></Failed>\
             </PublishBatchResult><R/></PublishBatchResponse>"
        );
    }
}

//! A proxy between the bridge and the emulator of SQS and SNS: it sees every call, and does to
//! those of an action what a test asks for. Plain HTTP/1.1 in and out, in the test's own process.
//!
//! The rules are tried in the order in which they were set; the first that concerns a call decides
//! its fate. A call that none concerns goes through as it is.

pub mod call;
mod form;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use call::{Answer, Call, Entry, Refusal};

use super::await_until;
use super::aws::RUNTIME;

/// The action of a rule that concerns every call.
pub const ANY: &str = "*";

/// Which entries of a batch a fault is for.
pub type Choice = Arc<dyn Fn(&Entry) -> bool + Send + Sync>;

/// What becomes of an answer to a call.
pub type Rewriting = Arc<dyn Fn(&Call, Answer) -> Answer + Send + Sync>;

/// What happens to a call.
#[derive(Clone)]
pub enum Fault {
    /// The service refuses it, and has done nothing.
    Refuse(Refusal),
    /// This is answered, and the service has done nothing.
    Answer(Answer),
    /// Each entry of the batch counts as taken, and the service has done nothing.
    Accept,
    /// It is held for so long before the service gets it; never, if the client goes meanwhile.
    HoldCall(Duration),
    /// The service has done it, and its answer is held for so long.
    HoldAnswer(Duration),
    /// The connection is closed, and the service has done nothing.
    CutBefore,
    /// The connection is closed once the service has done it.
    CutAfter,
    /// Some entries of the batch fail, and the service has done the others.
    FailEntries(Choice, Refusal),
    /// The service has done all of the batch, and some entries are said to have failed.
    DisownEntries(Choice, Refusal),
    /// The service has done it, and this makes another answer of its own.
    Rewrite(Rewriting),
}

impl Fault {
    /// Some entries fail.
    pub fn fail_entries(choice: impl Fn(&Entry) -> bool + Send + Sync + 'static, refusal: Refusal) -> Self {
        Self::FailEntries(Arc::new(choice), refusal)
    }

    /// Some entries are said to fail.
    pub fn disown_entries(choice: impl Fn(&Entry) -> bool + Send + Sync + 'static, refusal: Refusal) -> Self {
        Self::DisownEntries(Arc::new(choice), refusal)
    }

    /// The answer is made over.
    pub fn rewrite(make: impl Fn(&Call, Answer) -> Answer + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(make))
    }
}

/// A proxy of a test's own; it ends with the value, and closes its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// Host and port behind.
    behind: String,
    client: Client<HttpConnector, Full<Bytes>>,
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Vec<Call>>,
}

struct Rule {
    action: String,
    /// It concerns every so-manieth call of the action.
    every: usize,
    /// Calls of the action that it has seen.
    seen: usize,
    /// Calls that it may still concern.
    left: usize,
    fault: Fault,
}

impl Rule {
    fn concerns(&mut self, call: &Call) -> bool {
        if self.left == 0 || (self.action != ANY && self.action != call.action) {
            return false;
        }
        self.seen += 1;
        let concerned = self.seen.is_multiple_of(self.every);
        self.left -= usize::from(concerned);
        concerned
    }
}

impl Proxy {
    /// Starts one before an endpoint, a URL without a path.
    pub fn before(endpoint: &str) -> Self {
        let behind = endpoint.strip_prefix("http://").expect("an endpoint in plain HTTP");
        let shared = Arc::new(Shared {
            behind: behind.trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            rules: Mutex::default(),
            calls: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let accepting = RUNTIME.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Starts one with no service behind it, which takes every batch itself: for what is to be timed,
    /// and not beside the emulator's own work.
    pub fn alone() -> Self {
        let proxy = Self::before("http://127.0.0.1:9");
        proxy.always(ANY, Fault::Accept);
        proxy
    }

    /// Where to call it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port of this machine to call it at.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A fault for all calls of an action from now on.
    pub fn always(&self, action: &str, fault: Fault) {
        self.add(action, 1, usize::MAX, fault);
    }

    /// A fault for the next calls of an action.
    pub fn times(&self, count: usize, action: &str, fault: Fault) {
        self.add(action, 1, count, fault);
    }

    /// A fault for the `nth` call of an action, the one `nth` calls later, and so on.
    pub fn every(&self, nth: usize, action: &str, fault: Fault) {
        self.add(action, nth, usize::MAX, fault);
    }

    /// Forgets all rules. What is held already stays held.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// The calls of an action up to now, in the order in which they arrived; of [`ANY`], all.
    pub fn calls(&self, action: &str) -> Vec<Call> {
        let calls = lock(&self.shared.calls);
        calls.iter().filter(|call| action == ANY || call.action == action).cloned().collect()
    }

    /// How many calls of an action there were.
    pub fn count(&self, action: &str) -> usize {
        lock(&self.shared.calls).iter().filter(|call| action == ANY || call.action == action).count()
    }

    /// Waits until there were so many calls of an action; all there were by then.
    #[track_caller]
    pub fn await_calls(&self, action: &str, count: usize, deadline: Duration) -> Vec<Call> {
        await_until(&format!("{count} calls of {action}"), deadline, || {
            (self.count(action) >= count).then(|| self.calls(action))
        })
    }

    fn add(&self, action: &str, every: usize, left: usize, fault: Fault) {
        let rule = Rule { action: action.to_owned(), every, seen: 0, left, fault };
        lock(&self.shared.rules).push(rule);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a socket of this runtime");
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let service = service_fn(|request| exchange(&shared, request));
            // A connection that was cut, from here or from there, is what this is for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

async fn exchange(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let call = Call::read(&head, body);
    let (number, fault) = shared.note(&call);
    let answer = shared.answer(&head, &call, fault).await?;
    lock(&shared.calls)[number].answer = Some(answer.clone());
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

impl Shared {
    /// Keeps a call and decides its fate.
    fn note(&self, call: &Call) -> (usize, Option<Fault>) {
        let mut calls = lock(&self.calls);
        calls.push(call.clone());
        let mut rules = lock(&self.rules);
        let fault = rules.iter_mut().find_map(|rule| rule.concerns(call).then(|| rule.fault.clone()));
        (calls.len() - 1, fault)
    }

    async fn answer(&self, head: &Parts, call: &Call, fault: Option<Fault>) -> Result<Answer, Cut> {
        let forward = |body: &Bytes| self.forward(head, body.clone());
        let chosen = |choice: Choice| -> Vec<String> {
            call.entries.iter().filter(|entry| choice(entry)).map(|entry| entry.id.clone()).collect()
        };
        Ok(match fault {
            None => forward(&call.body).await?,
            Some(Fault::Refuse(refusal)) => call.refused(refusal),
            Some(Fault::Answer(answer)) => answer,
            Some(Fault::Accept) => call.outcome(&call.entries),
            Some(Fault::HoldCall(time)) => {
                tokio::time::sleep(time).await;
                forward(&call.body).await?
            }
            Some(Fault::HoldAnswer(time)) => {
                let answer = forward(&call.body).await?;
                tokio::time::sleep(time).await;
                answer
            }
            Some(Fault::CutBefore) => return Err(Cut),
            Some(Fault::CutAfter) => {
                forward(&call.body).await?;
                return Err(Cut);
            }
            Some(Fault::FailEntries(choice, refusal)) => {
                let ids = chosen(choice);
                let answer = match call.body_without(&ids) {
                    Some(body) => forward(&body).await?,
                    None => call.outcome(&[]),
                };
                call.with_failures(answer, &ids, refusal)
            }
            Some(Fault::DisownEntries(choice, refusal)) => {
                call.with_failures(forward(&call.body).await?, &chosen(choice), refusal)
            }
            Some(Fault::Rewrite(make)) => make(call, forward(&call.body).await?),
        })
    }

    /// Lets the service answer; a service that does not is a connection that was cut.
    async fn forward(&self, head: &Parts, body: Bytes) -> Result<Answer, Cut> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = format!("http://{}{path}", self.behind).parse().map_err(|_| Cut)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = without_framing(head.headers.clone());
        request.headers_mut().remove(header::HOST);
        let (head, body) = self.client.request(request).await.map_err(|_| Cut)?.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        Ok(Answer { status: head.status, headers: without_framing(head.headers), body })
    }
}

/// What concerns one connection only, or the length of a body that may have changed.
fn without_framing(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT] {
        headers.remove(name);
    }
    headers
}

/// A test that panicked with the lock held has failed already.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

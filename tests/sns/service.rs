//! The service's own API, as far as a subscriber calls it: it confirms, or fails as it was told to,
//! and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::http;

const CONFIRMED: &str = r#"<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ConfirmSubscriptionResult><SubscriptionArn>arn:aws:sns:eu-west-1:111111111111:events:6b0e71bd-7e97-4d97-80ce-4a0994e55286</SubscriptionArn></ConfirmSubscriptionResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></ConfirmSubscriptionResponse>"#;
const DENIED: &str = r#"<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>not allowed</Message></Error><RequestId>r</RequestId></ErrorResponse>"#;

/// The fields of one call.
pub type Call = BTreeMap<String, String>;

pub struct Service {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    denies: AtomicBool,
}

impl Service {
    /// Serves until the process ends.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, shared) = (listener.local_addr().unwrap().port(), Arc::<Shared>::default());
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&of_thread);
                // A client that goes away is no matter.
                std::thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
            }
        });
        Self { port, shared }
    }

    /// Whether it refuses from now on.
    pub fn deny(&self, denies: bool) {
        self.shared.denies.store(denies, Ordering::SeqCst);
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = http::read(&mut stream)? {
            self.calls.lock().unwrap().push(fields(&String::from_utf8_lossy(&request.body)));
            let (status, body) = if self.denies.load(Ordering::SeqCst) {
                ("403 Forbidden", DENIED)
            } else {
                ("200 OK", CONFIRMED)
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.get_mut().write_all((head + body).as_bytes())?;
        }
        Ok(())
    }
}

fn fields(form: &str) -> Call {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.replace("%3A", ":")))
    };
    form.split('&').filter_map(pair).collect()
}

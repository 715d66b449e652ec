//! A gate in front of a real broker, which lets in who shows a token of Amazon MSK with IAM: it speaks SASL
//! itself, and checks the signature by the published rules of Signature Version 4, with no library for them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
const NOT_AUTHENTICATED: i16 = 58;
/// How long a client is let in before it has to show a token again.
const SESSION: Duration = Duration::from_secs(3);

/// What the gate knows of an access key: its secret, and until when it counts.
pub type Keys = dyn Fn(&str) -> Option<(String, SystemTime)> + Send + Sync;

/// A gate that runs until the process ends.
pub struct Gate {
    pub port: u16,
    /// The access keys of the tokens that were let in, in their order.
    pub let_in: Arc<Mutex<Vec<String>>>,
    /// Why others were not.
    pub refused: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// A gate at this port in front of the broker's.
    pub fn open(port: u16, broker: u16, region: &'static str, keys: Arc<Keys>) -> Self {
        let (let_in, refused) = <(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<String>>>)>::default();
        let gate = Self { port, let_in: Arc::clone(&let_in), refused: Arc::clone(&refused) };
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (keys, let_in, refused) = (Arc::clone(&keys), Arc::clone(&let_in), Arc::clone(&refused));
                let check = move |token: &str| {
                    let checked = checked(token, region, &*keys);
                    match &checked {
                        Ok(key) => let_in.lock().unwrap().push(key.clone()),
                        Err(why) => refused.lock().unwrap().push(why.clone()),
                    }
                    checked
                };
                thread::spawn(move || serve(client, broker, &check));
            }
        });
        gate
    }
}

/// Passes on what a client asks, once it has authenticated itself, and as long as that counts.
fn serve(client: TcpStream, broker: u16, check: &dyn Fn(&str) -> Result<String, String>) -> io::Result<()> {
    let mut broker = TcpStream::connect(("127.0.0.1", broker))?;
    let (mut from_client, to_client) = (client.try_clone()?, Arc::new(Mutex::new(client.try_clone()?)));
    let (mut from_broker, answers) = (broker.try_clone()?, Arc::clone(&to_client));
    thread::spawn(move || {
        while let Ok(answer) = frame(&mut from_broker) {
            if write_frame(&mut answers.lock().unwrap(), &answer).is_err() {
                break;
            }
        }
        let _ = answers.lock().unwrap().shutdown(std::net::Shutdown::Both);
    });
    let mut session: Option<Instant> = None;
    while let Ok(request) = frame(&mut from_client) {
        let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        let (kind, client_id) = (number(0), usize::try_from(number(8)).unwrap_or_default());
        let (correlation, body) = (&request[4..8], &request[10 + client_id..]);
        match kind {
            SASL_HANDSHAKE => {
                let answer = [correlation, b"\0\0\0\0\0\x01\0\x0bOAUTHBEARER"].concat();
                write_frame(&mut to_client.lock().unwrap(), &answer)?;
            }
            SASL_AUTHENTICATE => {
                let said = String::from_utf8_lossy(&body[4..]).into_owned();
                let token = said.strip_prefix("n,,\x01auth=Bearer ").unwrap_or_default();
                let checked = check(token.trim_end_matches('\x01'));
                let lasts = i64::try_from(SESSION.as_millis()).unwrap().to_be_bytes();
                let answer = match &checked {
                    Ok(_) => [correlation, &[0, 0, 0xff, 0xff, 0, 0, 0, 0], &lasts].concat(),
                    Err(why) => {
                        let length = u16::try_from(why.len()).unwrap().to_be_bytes();
                        let code = NOT_AUTHENTICATED.to_be_bytes();
                        [correlation, &code, &length, why.as_bytes(), &[0; 4], &[0; 8]].concat()
                    }
                };
                write_frame(&mut to_client.lock().unwrap(), &answer)?;
                session = checked.is_ok().then(|| Instant::now() + SESSION);
            }
            API_VERSIONS => write_frame(&mut broker, &request)?,
            _ if session.is_some_and(|end| Instant::now() < end) => write_frame(&mut broker, &request)?,
            // As a broker does it with whom it does not know, or not any more.
            _ => break,
        }
    }
    client.shutdown(std::net::Shutdown::Both)?;
    broker.shutdown(std::net::Shutdown::Both)
}

fn frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(to: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    to.write_all(&[&length, frame].concat())
}

/// The access key of a valid token, or what is wrong with it.
fn checked(token: &str, region: &str, keys: &Keys) -> Result<String, String> {
    let url = URL_SAFE_NO_PAD.decode(token).map_err(|_| "no base64url")?;
    let url = String::from_utf8(url).map_err(|_| "no text")?;
    let host = format!("kafka.{region}.amazonaws.com");
    let query =
        url.strip_prefix(&format!("https://{host}/?")).ok_or_else(|| format!("not its host: {url}"))?;
    let given: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let get = |name: &str| given.get(name).copied().ok_or_else(|| format!("{name} is missing"));
    let expected = [
        ("Action", "kafka-cluster%3AConnect"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Expires", "900"),
        ("X-Amz-SignedHeaders", "host"),
    ];
    for (name, value) in expected {
        if get(name)? != value {
            return Err(format!("{name} is {}", get(name)?));
        }
    }
    get("X-Amz-Security-Token")?;
    if !get("User-Agent")?.starts_with("fanbridge") {
        return Err("another program".into());
    }
    let (credential, date) = (get("X-Amz-Credential")?, get("X-Amz-Date")?);
    let parts: Vec<&str> = credential.split("%2F").collect();
    let [key, day, its_region, "kafka-cluster", "aws4_request"] = parts[..] else {
        return Err(format!("the credential is {credential}"));
    };
    if its_region != region || !date.starts_with(day) {
        return Err("another region or day".into());
    }
    let (secret, key_ends) = keys(key).ok_or("an unknown access key")?;
    let part = |from: usize, to: usize| date.get(from..to).unwrap_or_default();
    let (day_at, time) = ([part(0, 4), part(4, 6), part(6, 8)], [part(9, 11), part(11, 13), part(13, 15)]);
    let text = format!("{}T{}Z", day_at.join("-"), time.join(":"));
    let signed_at = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| "no date")?;
    let ends = (SystemTime::from(signed_at) + Duration::from_secs(900)).min(key_ends);
    if SystemTime::now() > ends {
        return Err("the token is over".into());
    }
    let scope = format!("{day}/{region}/kafka-cluster/aws4_request");
    let covered = given.iter().filter(|(name, _)| !["X-Amz-Signature", "User-Agent"].contains(name));
    let canonical: Vec<String> = covered.map(|(name, value)| format!("{name}={value}")).collect();
    let empty = hex::encode(Sha256::digest(b""));
    let request = format!("GET\n/\n{}\nhost:{host}\n\nhost\n{empty}", canonical.join("&"));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
    let steps = [day, region, "kafka-cluster", "aws4_request"];
    let signing = steps.iter().fold(format!("AWS4{secret}").into_bytes(), |key, step| mac(&key, step));
    if get("X-Amz-Signature")? == hex::encode(mac(&signing, &text)) {
        Ok(key.to_owned())
    } else {
        Err("the signature is wrong".into())
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

//! As much of HTTP as stands in for a service: a request is read from a connection.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;

/// What somebody asked.
#[derive(Default)]
pub struct Request {
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The next request of a connection; none when it has ended.
pub fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let (mut request, mut length) = (Request::default(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(": ") {
            None if line.trim_end().is_empty() => break,
            None => request.path = line.split(' ').nth(1).unwrap_or_default().to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(io::Error::other)?;
            }
            Some((name, value)) => request.headers.push((name.to_ascii_lowercase(), value.to_owned())),
        }
    }
    request.body = vec![0; length];
    stream.read_exact(&mut request.body)?;
    Ok(Some(request))
}

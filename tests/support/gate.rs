//! The way to a server, with a gate in it. While the gate is shut, connections are accepted and
//! kept, and nothing passes: to its clients the server is there, and answers nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// A gate, open at first; dropping it lets in no more connections.
pub struct Gate {
    /// Where clients find the server.
    pub port: u16,
    position: Arc<Position>,
}

#[derive(Default)]
struct Position {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Shut,
    Gone,
}

impl Gate {
    /// A gate at one port of this machine, before the server at another.
    pub fn new(port: u16, server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the gate's port is free");
        let position = Arc::new(Position::default());
        let kept = Arc::clone(&position);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let position = Arc::clone(&kept);
                if position.get() == State::Gone {
                    return;
                }
                std::thread::spawn(move || join(client, server, &position));
            }
        });
        Self { port, position }
    }

    /// From now on nothing passes.
    pub fn shut(&self) {
        self.position.set(State::Shut);
    }

    /// What was held back passes, and everything after it.
    pub fn open(&self) {
        self.position.set(State::Open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.position.set(State::Gone);
        // The thread that accepts looks at the gate after the next connection: this one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Position {
    fn get(&self) -> State {
        *self.state.lock().unwrap()
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap() = state;
        self.changed.notify_all();
    }

    /// Waits while the gate is shut; whether it is there still.
    fn await_open(&self) -> bool {
        let state = self.state.lock().unwrap();
        *self.changed.wait_while(state, |state| *state == State::Shut).unwrap() == State::Open
    }
}

/// Carries bytes both ways until one end closes.
fn join(client: TcpStream, server: u16, position: &Arc<Position>) {
    if !position.await_open() {
        return;
    }
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))) else { return };
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(position));
    std::thread::spawn(move || carry(back.0, back.1, &back.2));
    carry(client, server, position);
}

fn carry(mut from: TcpStream, mut to: TcpStream, position: &Position) {
    let _ = to.set_nodelay(true);
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !position.await_open() || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // Also the other direction ends: nobody here closes half a connection.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::support::bridge::free_port;

    #[test]
    fn nothing_passes_a_shut_gate_and_nothing_is_lost_at_it() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let gate = Gate::new(free_port(), server.local_addr().unwrap().port());
        let mut client = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
        let (mut far, _) = server.accept().unwrap();
        let mut byte = [0];
        client.write_all(b"1").unwrap();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"1");

        gate.shut();
        client.write_all(b"2").unwrap();
        far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(far.read(&mut byte).is_err(), "something passed");
        TcpStream::connect(("127.0.0.1", gate.port)).expect("the gate accepts connections");

        gate.open();
        far.set_read_timeout(None).unwrap();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"2");
        drop(client);
        assert_eq!(far.read(&mut byte).unwrap(), 0, "the end passes as well");
    }
}

//! The way to a server, with a gate in it. While the gate is shut, connections are accepted and
//! kept, and nothing passes: to its clients the server is there, and answers nothing. It may also
//! hold back the answers alone, and lose them.

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

#[derive(Clone, Copy, Default)]
struct State {
    leaf: Leaf,
    /// How often the gate was cut, and how many connections that concerned.
    cuts: usize,
    cut_off: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Leaf {
    #[default]
    Open,
    Shut,
    /// Open for what clients say.
    HoldingAnswers,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
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
                if position.state.lock().unwrap().leaf == Leaf::Gone {
                    return;
                }
                std::thread::spawn(move || join(client, server, &position));
            }
        });
        Self { port, position }
    }

    /// From now on nothing passes.
    pub fn shut(&self) {
        self.position.set(Leaf::Shut);
    }

    /// From now on the server hears its clients, and they do not hear it.
    pub fn hold_answers(&self) {
        self.position.set(Leaf::HoldingAnswers);
    }

    /// Opens the gate, but ends the connections in which something is held back, and loses that.
    pub fn cut(&self) {
        self.position.state.lock().unwrap().cuts += 1;
        self.open();
    }

    /// How many connections were ended so.
    pub fn cut_off(&self) -> usize {
        self.position.state.lock().unwrap().cut_off
    }

    /// What was held back passes, and everything after it.
    pub fn open(&self) {
        self.position.set(Leaf::Open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.position.set(Leaf::Gone);
        // The thread that accepts looks at the gate after the next connection: this one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Position {
    fn set(&self, leaf: Leaf) {
        self.state.lock().unwrap().leaf = leaf;
        self.changed.notify_all();
    }

    /// Waits while nothing passes that way; whether something may in the end.
    fn await_passage(&self, way: Way) -> bool {
        let held = |leaf| leaf == Leaf::Shut || (leaf == Leaf::HoldingAnswers && way == Way::Back);
        let state = self.state.lock().unwrap();
        let cuts = state.cuts;
        let mut state =
            self.changed.wait_while(state, |state| state.cuts == cuts && held(state.leaf)).unwrap();
        state.cut_off += usize::from(state.cuts > cuts);
        state.cuts == cuts && state.leaf != Leaf::Gone
    }
}

/// Carries bytes both ways until one end closes.
fn join(client: TcpStream, server: u16, position: &Arc<Position>) {
    if !position.await_passage(Way::There) {
        return;
    }
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))) else { return };
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(position));
    std::thread::spawn(move || carry(back.0, back.1, Way::Back, &back.2));
    carry(client, server, Way::There, position);
}

fn carry(mut from: TcpStream, mut to: TcpStream, way: Way, position: &Position) {
    let _ = to.set_nodelay(true);
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !position.await_passage(way) || to.write_all(&bytes[..count]).is_err() {
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

    fn gate_and_connection() -> (Gate, TcpListener, TcpStream, TcpStream) {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let gate = Gate::new(free_port(), server.local_addr().unwrap().port());
        let client = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
        let (far, _) = server.accept().unwrap();
        (gate, server, client, far)
    }

    #[test]
    fn an_answer_that_is_held_back_is_lost_with_its_connection_and_its_question_was_heard() {
        let (gate, server, mut client, mut far) = gate_and_connection();
        let mut byte = [0];
        gate.hold_answers();
        client.write_all(b"?").unwrap();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"?");
        far.write_all(b"!").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(client.read(&mut byte).is_err(), "the answer came through");
        gate.cut();
        client.set_read_timeout(None).unwrap();
        assert!(!matches!(client.read(&mut byte), Ok(1..)), "the answer came through");
        assert_eq!(gate.cut_off(), 1);

        let mut client = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
        let (mut far, _) = server.accept().unwrap();
        far.write_all(b"!").unwrap();
        client.read_exact(&mut byte).unwrap();
    }

    #[test]
    fn nothing_passes_a_shut_gate_and_nothing_is_lost_at_it() {
        let (gate, _server, mut client, mut far) = gate_and_connection();
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

//! WebSockets pass through whole, carried by a library that others wrote on both sides.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use cirque_tests::{Edge, ports};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::witness::nothing_in_flight;

/// A server that echoes the messages of one WebSocket, and says how that was closed.
fn server() -> (SocketAddr, JoinHandle<Option<CloseFrame>>) {
    let address = ports::address();
    let listener = TcpListener::bind(address).expect("the port was free a moment ago");
    let serving = std::thread::spawn(move || {
        let mut socket = loop {
            let (stream, _) = listener.accept().expect("somebody connects");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout above zero is accepted");
            // A probe asks for none.
            if let Ok(socket) = tungstenite::accept(stream) {
                break socket;
            }
        };
        let mut closed = None;
        loop {
            match socket.read() {
                Ok(Message::Close(frame)) => closed = frame,
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    socket.send(message).expect("it is open")
                }
                Ok(_) => {}
                Err(_) => return closed,
            }
        }
    });
    (address, serving)
}

fn edge_before(address: SocketAddr, keys: &str) -> Edge {
    Edge::builder().backend_at("ws", address, "").without_probe().toml(keys).start()
}

fn client(edge: &Edge) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(edge.address()).expect("the edge listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout above zero is accepted");
    let (socket, answer) = tungstenite::client(format!("ws://{}/socket", edge.address()), stream)
        .expect("the edge lets it through");
    assert_eq!(answer.status().as_u16(), 101);
    socket
}

#[test]
fn messages_of_every_size_come_back_and_a_close_is_passed_on() {
    let (address, server) = server();
    let edge = edge_before(address, "");
    let mut socket = client(&edge);
    let large = Message::Binary(vec![7; 3_000_000].into());
    for message in [Message::Text("hello".into()), Message::Binary(Vec::new().into()), large] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "done".into() };
    socket.close(Some(goodbye.clone())).unwrap();
    // The answer to the close, and then the end of the connection.
    assert_eq!(socket.read().unwrap(), Message::Close(Some(goodbye.clone())));
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    assert_eq!(server.join().unwrap(), Some(goodbye));
    drop(socket);
    nothing_in_flight(&edge);
    assert_eq!(edge.logged("/socket")["http.response.status_code"], 101);
}

/// Limits that hold for requests are shorter than the silence: only the tunnel's own counts.
#[test]
fn a_silent_socket_stays_open_within_its_own_limit_only() {
    let (address, server) = server();
    let edge = edge_before(
        address,
        "client = { client_body_timeout = '300ms', send_timeout = '300ms', keepalive_timeout = '1s', tunnel_timeout = '3s' }\n\
         upstreams.app = { read_timeout = '300ms', send_timeout = '300ms' }\n\
         defaults.route.timeout = '500ms'",
    );
    let mut socket = client(&edge);
    let silence = Duration::from_millis(1800);
    socket.get_ref().set_read_timeout(Some(silence)).unwrap();
    let nothing = socket.read().unwrap_err();
    assert!(matches!(nothing, tungstenite::Error::Io(_)), "{nothing:?}");
    socket.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send(Message::Text("still there?".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Text("still there?".into()));
    // Now nobody says anything for longer than the limit.
    let cut = socket.read().unwrap_err();
    assert!(
        !matches!(cut, tungstenite::Error::Io(ref error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "{cut:?}"
    );
    assert_eq!(server.join().unwrap(), None);
    nothing_in_flight(&edge);
}

//! Connections: how many, how long they may be silent, and how a stop ends them.

use std::net::SocketAddr;
use std::time::Duration;

use cirque_app::serve::Node;
use cirque_app::state::AppState;
use cirque_shared::report::chain;
use cirque_shared::shutdown::Drained;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::site::Data;

const GET: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
/// Longer than anything here takes, short enough to fail soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that listens, until it is told to stop.
struct Running {
    data: Data,
    address: SocketAddr,
    state: AppState,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

impl Running {
    async fn start(mut data: Data) -> Self {
        data.config.server.port = 0;
        let node = Node::start(&data.config).await.unwrap();
        let (address, state) = (node.address(), node.state().clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(node.run_until(async {
            let _ = stopped.await;
        }));
        Self { data, address, state, stop, ended }
    }

    async fn with(change: impl FnOnce(&mut cirque_app::config::Server)) -> Self {
        let mut data = Data::seeded(5).await;
        change(&mut data.config.server);
        Self::start(data).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Tells the node to stop and says how and when that ended.
    async fn stop(self) -> (Drained, Duration) {
        let started = Instant::now();
        self.stop.send(()).unwrap();
        let drained = timeout(PATIENCE, self.ended).await.expect("the node stops").unwrap();
        (drained, started.elapsed())
    }
}

/// Reads one answer whose body is short.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer").unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if read == 0 || text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('}')) {
            return text;
        }
    }
}

/// Waits until the other end closes, and says what came before that and how long it took.
async fn until_closed(stream: &mut TcpStream) -> (String, Duration) {
    let started = Instant::now();
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the node closes the connection");
    (String::from_utf8_lossy(&bytes).into_owned(), started.elapsed())
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let node = Running::with(|_| ()).await;
    let mut stream = node.connect().await;
    for _ in 0..3 {
        stream.write_all(GET).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(node.state.metrics.connections.open.get(), 1);
}

// key: server.header_timeout
#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off() {
    let node = Running::with(|server| server.header_timeout = Duration::from_millis(100)).await;
    let silent = node.connect().await;
    let mut slow = node.connect().await;
    slow.write_all(GET).await.unwrap();
    answer(&mut slow).await;
    slow.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    for mut stream in [silent, slow] {
        let (text, after) = until_closed(&mut stream).await;
        assert_eq!(text, "");
        assert!(after < Duration::from_secs(5), "{after:?}");
    }
    assert_eq!(node.state.metrics.connections.slow_heads.get(), 2);
    let mut prompt = node.connect().await;
    prompt.write_all(GET).await.unwrap();
    assert!(answer(&mut prompt).await.starts_with("HTTP/1.1 200"));
}

// key: server.keep_alive_timeout
#[tokio::test]
async fn an_idle_connection_is_closed_later_than_a_slow_head() {
    let node = Running::with(|server| {
        server.header_timeout = Duration::from_millis(100);
        server.keep_alive_timeout = Duration::from_secs(1);
    })
    .await;
    let mut stream = node.connect().await;
    stream.write_all(GET).await.unwrap();
    answer(&mut stream).await;
    let (text, after) = until_closed(&mut stream).await;
    assert_eq!(text, "");
    assert!(after > Duration::from_millis(900) && after < Duration::from_secs(5), "{after:?}");
    assert_eq!(node.state.metrics.connections.slow_heads.get(), 0);
}

// key: server.write_timeout
#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let mut data = Data::seeded(5).await;
    data.add_a_heavy_post().await;
    data.config.server.write_timeout = Duration::from_millis(100);
    let node = Running::start(data).await;
    let mut stream = node.connect().await;
    let request = "GET /api/v1/posts/heavy HTTP/1.1\r\nhost: x\r\n\r\n".repeat(4);
    stream.write_all(request.as_bytes()).await.unwrap();
    let metrics = &node.state.metrics.connections;
    let cut = async {
        while metrics.slow_readers.get() == 0 || metrics.open.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, cut).await.expect("the node gives up");
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_is_not_idle() {
    const LETTERS: usize = 24_000_000;
    let mut data = Data::seeded(5).await;
    data.add_a_post_of(LETTERS).await;
    data.config.server.keep_alive_timeout = Duration::from_secs(1);
    let node = Running::start(data).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(node.address).await.unwrap();
    let request = "GET /api/v2/posts/heavy?fields=content HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let mut buffer = vec![0; 800_000];
    let mut taken = 0;
    loop {
        pace.tick().await;
        // About 0.8 MB every 0.1 s.
        let mut filled = 0;
        while filled < buffer.len() {
            let read = timeout(PATIENCE, stream.read(&mut buffer[filled..])).await.unwrap().unwrap();
            if read == 0 {
                assert!(taken + filled > LETTERS, "cut after {} bytes", taken + filled);
                assert!(started.elapsed() > Duration::from_secs(2), "too quick to show anything");
                return;
            }
            filled += read;
        }
        taken += filled;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_counted() {
    let data = Data::seeded(20).await;
    data.add_a_heavy_post().await;
    let node = Running::start(data).await;
    let mut stream = node.connect().await;
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", Data::slow_search());
    stream.write_all(request.as_bytes()).await.unwrap();
    while node.state.metrics.http.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    let line = r#"http_requests_total{code="499",method="GET",route="/api/v1/tags"} 1"#;
    let counted = async {
        while !node.state.metrics.text().contains(line) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, counted).await.expect("it is counted");
    assert_eq!(node.state.metrics.http.in_flight.get(), 0);
}

// key: server.max_head_size
#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let node = Running::with(|server| server.max_head_size = 8 << 10).await;
    for (size, expected) in [(6_000, "HTTP/1.1 200"), (20_000, "HTTP/1.1 431")] {
        let mut stream = node.connect().await;
        let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(size));
        stream.write_all(head.as_bytes()).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.starts_with(expected), "{text}");
    }
}

// key: server.max_connections
#[tokio::test]
async fn at_the_limit_a_connection_waits_for_its_turn() {
    let node = Running::with(|server| server.max_connections = 1).await;
    let mut first = node.connect().await;
    first.write_all(GET).await.unwrap();
    answer(&mut first).await;
    let mut second = node.connect().await;
    second.write_all(GET).await.unwrap();
    let mut buffer = [0; 1];
    let waiting = timeout(Duration::from_millis(200), second.peek(&mut buffer)).await;
    assert!(waiting.is_err(), "no answer while the first is open");
    drop(first);
    assert!(answer(&mut second).await.starts_with("HTTP/1.1 200"));
}

// key: server.host, server.port
#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_named() {
    let node = Running::with(|_| ()).await;
    let mut taken = node.data.config.clone();
    taken.server.port = node.address.port();
    let error = Node::start(&taken).await.unwrap_err();
    let expected = format!("could not listen on 127.0.0.1:{}: ", node.address.port());
    assert!(chain(&error).starts_with(&expected), "{}", chain(&error));
    let mut foreign = node.data.config.clone();
    (foreign.server.host, foreign.server.port) = ("192.0.2.1".to_owned(), 0);
    let error = Node::start(&foreign).await.unwrap_err();
    assert!(chain(&error).starts_with("could not listen on 192.0.2.1:0: "), "{}", chain(&error));
}

#[tokio::test]
async fn an_idle_node_stops_at_once() {
    let node = Running::with(|_| ()).await;
    let mut idle = node.connect().await;
    idle.write_all(GET).await.unwrap();
    answer(&mut idle).await;
    let address = node.address;
    let (drained, after) = node.stop().await;
    assert_eq!(drained, Drained::Clean);
    assert!(after < Duration::from_secs(2), "{after:?}");
    assert_eq!(until_closed(&mut idle).await.0, "");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let data = Data::seeded(20).await;
    data.add_a_heavy_post().await;
    let node = Running::start(data).await;
    let mut stream = node.connect().await;
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", Data::slow_search());
    stream.write_all(request.as_bytes()).await.unwrap();
    while node.state.metrics.http.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    let (stopped, (text, _)) = tokio::join!(node.stop(), until_closed(&mut stream));
    assert_eq!(stopped.0, Drained::Clean);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("connection: close"), "{text}");
}

// key: server.grace_period
#[tokio::test]
async fn what_is_not_finished_in_the_grace_period_is_cut_and_counted() {
    let mut data = Data::seeded(20).await;
    data.add_a_heavy_post().await;
    data.config.server.grace_period = Duration::from_millis(50);
    let node = Running::start(data).await;
    let mut stream = node.connect().await;
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", Data::slow_search());
    stream.write_all(request.as_bytes()).await.unwrap();
    while node.state.metrics.http.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    let state = node.state.clone();
    let (stopped, (text, _)) = tokio::join!(node.stop(), until_closed(&mut stream));
    assert_eq!((stopped.0, text.as_str()), (Drained::Cut(1), ""));
    assert_eq!(state.metrics.connections.cut.get(), 1);
}

// key: server.drain_delay
#[tokio::test]
async fn a_node_says_that_it_is_leaving_before_it_stops_listening() {
    let node = Running::with(|server| server.drain_delay = Duration::from_millis(500)).await;
    let (address, state) = (node.address, node.state.clone());
    let asked = async {
        while !state.lifecycle.is_draining() {
            tokio::task::yield_now().await;
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until_closed(&mut stream).await.0
    };
    let ((drained, after), text) = tokio::join!(node.stop(), asked);
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("connection: close"), "{text}");
    assert_eq!(drained, Drained::Clean);
    assert!(after >= Duration::from_millis(500), "{after:?}");
}

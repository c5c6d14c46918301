//! Calls of gRPC pass through whole: one message or many, both ways at once, errors, and their trailers.

use cirque_tests::{Edge, grpc};

use crate::witness::nothing_in_flight;

/// An edge before this gRPC server.
fn edge(server: &grpc::Server) -> Edge {
    let keys =
        "upstreams.app = { protocol = 'h2', probe = { interval = '1h' } }\nclient.client_body_timeout = '1s'";
    Edge::builder().backend_at("grpc", server.address(), "").toml(keys).start()
}

#[test]
fn one_message_for_one() {
    let server = grpc::Server::start();
    let edge = edge(&server);
    let mut client = grpc::Client::to(edge.address());
    for message in ["hello", "", &"x".repeat(1_000_000)] {
        assert_eq!(client.unary(message).unwrap().into_inner(), message);
    }
    let line = edge.logged("/test.Echo/Echo");
    assert_eq!(
        (line["http.response.status_code"].as_u64(), line["backend"].as_str()),
        (Some(200), Some("grpc"))
    );
    nothing_in_flight(&edge);
}

#[test]
fn many_messages_for_one_and_a_conversation() {
    let server = grpc::Server::start();
    let edge = edge(&server);
    let mut client = grpc::Client::to(edge.address());
    assert_eq!(client.many(5000).unwrap(), 5000);
    // Each message is sent when the one before was answered: nothing may wait for a buffer to fill.
    let (heard, ended) = client.converse(&["one", "two", "three"]);
    assert_eq!(heard, ["one", "two", "three"]);
    ended.unwrap();
    nothing_in_flight(&edge);
}

#[test]
fn an_error_arrives_with_its_code_message_and_details() {
    let server = grpc::Server::start();
    let edge = edge(&server);
    let mut client = grpc::Client::to(edge.address());
    let expected = grpc::error();
    let same = |status: &tonic::Status| {
        assert_eq!((status.code(), status.message()), (expected.code(), expected.message()));
        assert_eq!(status.metadata().get("x-detail"), expected.metadata().get("x-detail"));
    };
    // Without any message: the trailers are the head.
    same(&client.unary("fail").unwrap_err());
    // After a message: the trailers come last.
    let (heard, ended) = client.converse(&["late"]);
    assert_eq!(heard, ["late"]);
    same(&ended.unwrap_err());
    nothing_in_flight(&edge);
}

#[test]
fn a_server_that_is_gone_is_unavailable() {
    let server = grpc::Server::start();
    let edge = edge(&server);
    drop(server);
    let status = grpc::Client::to(edge.address()).unary("hello").unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    nothing_in_flight(&edge);
}

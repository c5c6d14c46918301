//! Decides what a pingora error means: whose fault, and which of our failures.

use std::time::Duration;

use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType};

use crate::respond::Refusal;
use crate::retry::Failure;

/// An attempt that never got a connection.
pub(super) fn before_send(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Failure::ConnectTimeout,
        // A kept connection of HTTP/2 that takes no more requests.
        ErrorType::H2Error => Failure::StaleConnection,
        _ => Failure::Connect,
    }
}

/// An attempt that had a connection; `is_reused`: one from the pool.
///
/// `is_untouched`: the backend said that it did not look at the request (RFC 9113 §8.7).
pub(super) fn after_send(error: &Error, is_reused: bool, is_untouched: bool) -> Failure {
    match error.etype() {
        ErrorType::H2Error if is_untouched => Failure::StaleConnection,
        ErrorType::ReadTimedout => Failure::ReadTimeout,
        ErrorType::WriteTimedout => Failure::WriteTimeout,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError if is_reused => {
            Failure::StaleConnection
        }
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => Failure::Reset,
        _ => Failure::Protocol,
    }
}

/// A client that made its request impossible to answer.
pub(super) fn of_client(error: &Error) -> Refusal {
    match error.etype() {
        ErrorType::ReadTimedout => Refusal::BodyTooSlow,
        ErrorType::ReadError
        | ErrorType::WriteError
        | ErrorType::WriteTimedout
        | ErrorType::ConnectionClosed
        // A stream that was reset, or the connection below it.
        | ErrorType::H2Error => Refusal::ClientLeft,
        _ => Refusal::Malformed,
    }
}

/// Whether a head only announces another one. 101 is final: the connection changes hands.
pub(super) fn is_interim(head: &ResponseHeader) -> bool {
    head.status.is_informational() && head.status.as_u16() != 101
}

/// A silence that was cut short by the time of one attempt is the attempt's.
pub(super) fn cut_short(failure: Failure, took: Duration, attempt_timeout: Option<Duration>) -> Failure {
    match failure {
        Failure::ReadTimeout | Failure::WriteTimeout
            if attempt_timeout.is_some_and(|timeout| took >= timeout) =>
        {
            Failure::AttemptTimeout
        }
        failure => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pooled_connection_is_not_the_backends_fault() {
        for (error, is_reused, expected) in [
            (ErrorType::ConnectionClosed, true, Failure::StaleConnection),
            (ErrorType::ConnectionClosed, false, Failure::Reset),
            (ErrorType::WriteError, true, Failure::StaleConnection),
            (ErrorType::ReadTimedout, true, Failure::ReadTimeout),
            (ErrorType::InvalidHTTPHeader, true, Failure::Protocol),
        ] {
            assert_eq!(after_send(&Error::new(error.clone()), is_reused, false), expected, "{error:?}");
        }
    }

    #[test]
    fn a_request_that_the_backend_did_not_look_at_is_not_its_fault() {
        let error = Error::new(ErrorType::H2Error);
        assert_eq!(after_send(&error, true, true), Failure::StaleConnection);
        assert_eq!(after_send(&error, true, false), Failure::Protocol);
        assert_eq!(before_send(&error), Failure::StaleConnection);
    }

    #[test]
    fn a_client_that_stops_sending_is_told_so() {
        assert_eq!(of_client(&Error::new(ErrorType::ReadTimedout)), Refusal::BodyTooSlow);
        assert_eq!(of_client(&Error::new(ErrorType::ConnectionClosed)), Refusal::ClientLeft);
        assert_eq!(of_client(&Error::new(ErrorType::H2Error)), Refusal::ClientLeft);
    }
}

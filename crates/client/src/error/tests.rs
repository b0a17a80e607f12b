use std::error::Error as _;
use std::io;

use tonic::{Code, Status};

use super::Error;
use crate::method::Method;

fn call(code: Code, message: &str) -> Error {
    Error::call(&"http://10.0.0.1:2379", Method::RANGE, &Status::new(code, message))
}

#[test]
fn an_answer_names_endpoint_call_and_code_and_has_no_source() {
    let error = call(Code::OutOfRange, super::COMPACTED);
    assert_eq!(
        error.to_string(),
        "http://10.0.0.1:2379: KV/Range: OutOfRange: etcdserver: mvcc: required revision has been compacted"
    );
    assert!(error.source().is_none());
    assert!(error.is_compacted());
    assert_eq!(error.code(), Some(Code::OutOfRange));
}

#[test]
fn the_transport_is_the_source_and_is_not_printed_twice() {
    let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody home");
    let error =
        Error::call(&"http://10.0.0.1:2379", Method::RANGE, &Status::from_error(Box::new(Outer(refused))));
    assert_eq!(error.to_string(), "http://10.0.0.1:2379: KV/Range: Unknown: transport error");
    let source = error.source().unwrap();
    assert_eq!(source.to_string(), "nobody home");
    assert!(!error.is_permanent());
}

#[test]
fn a_failed_handshake_is_permanent() {
    let invalid = io::Error::new(io::ErrorKind::InvalidData, "unknown issuer");
    let status = Status::from_error(Box::new(Outer(invalid)));
    assert!(Error::call(&"https://10.0.0.1:2379", Method::RANGE, &status).is_permanent());
}

#[test]
fn permanence_follows_the_message_where_codes_are_shared() {
    let learner = "etcdserver: can only promote a learner member";
    assert!(call(Code::FailedPrecondition, learner).is_permanent());
    let behind = format!("{learner} which is in sync with leader");
    assert!(!call(Code::FailedPrecondition, &behind).is_permanent());
    assert!(call(Code::ResourceExhausted, super::NO_SPACE).is_permanent());
    let large = "grpc: received message larger than max (3000012 vs. 2097152)";
    assert!(call(Code::ResourceExhausted, large).is_permanent());
    assert!(!call(Code::ResourceExhausted, "etcdserver: too many requests").is_permanent());
    assert!(!call(Code::Unavailable, "etcdserver: no leader").is_permanent());
    assert!(call(Code::Unknown, "auth: permission denied").is_permanent());
    assert!(!call(Code::Unknown, "auth: revision in header is old").is_permanent());
}

#[test]
fn a_repeated_text_is_dropped_but_not_its_kind() {
    let invalid = io::Error::new(io::ErrorKind::InvalidData, "unknown issuer");
    let status = Status::from_error(Box::new(Outer(io::Error::other(Same(invalid)))));
    let error = Error::call(&"https://10.0.0.1:2379", Method::RANGE, &status);
    let source = error.source().unwrap();
    assert_eq!(source.to_string(), "unknown issuer");
    assert!(source.source().is_none());
    assert!(error.is_permanent());
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Same(#[source] io::Error);

#[derive(Debug, thiserror::Error)]
#[error("transport error")]
struct Outer(#[source] io::Error);

//! Our own path for HTTP/1.1, byte by byte: what it promises beyond what both paths do.

mod answers;
mod requests;
mod settings;
mod slowness;
mod trailers;
mod tunnels;

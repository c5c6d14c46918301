//! The one door to cirque: reads the command line, runs the role it names, and ends with its exit code.

mod ask;
mod cli;
mod up;

use std::process::ExitCode;

// Measured beside the system's allocator and mimalloc: docs/decisions/0006-allocator.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    up::follow_parent();
    cli::run().into()
}

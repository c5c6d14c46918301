//! The one door to cirque: reads the command line, runs the role it names, and ends with its exit code.

mod cli;
mod up;

use std::process::ExitCode;

// Measured beside the system's allocator and jemalloc: docs/decisions/0006-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    up::follow_parent();
    cli::run().into()
}

//! Checks of the code base itself, without running it.

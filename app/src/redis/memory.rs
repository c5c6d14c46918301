//! Decides whether a Redis may run out of memory, from what it says of itself.

/// What an operator should know, if anything. `info` is the answer to `INFO memory`.
pub(super) fn warning(info: &str) -> Option<&'static str> {
    let field = |name: &str| {
        info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let policy = field("maxmemory_policy")?;
    let limit: u64 = field("maxmemory")?.parse().ok()?;
    match (limit, policy) {
        (0, _) => Some(
            "Redis has no limit of memory: set maxmemory, and maxmemory-policy to allkeys-lru or volatile-ttl, \
             or it takes what the machine has",
        ),
        (_, "noeviction") => Some(
            "Redis refuses writes when its memory is full: set maxmemory-policy to allkeys-lru or volatile-ttl; \
             every key here has an expiry and may go",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_can_fill_up_is_warned_of() {
        for (limit, policy, expected) in [
            ("0", "noeviction", Some("no limit of memory")),
            ("0", "allkeys-lru", Some("no limit of memory")),
            ("100000000", "noeviction", Some("refuses writes")),
            ("100000000", "allkeys-lru", None),
            ("100000000", "volatile-ttl", None),
        ] {
            let info =
                format!("# Memory\r\nused_memory:1\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n");
            let found = warning(&info);
            assert_eq!(found.is_some(), expected.is_some(), "{limit} {policy}: {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{found:?}");
        }
        assert_eq!(warning("nothing that we know"), None);
    }
}

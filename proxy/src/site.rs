//! What one configuration makes: routes and upstreams, taken as a whole by each request.
//!
//! A site is never changed. A reload builds another one around what stays: backends with what is known of them,
//! budgets, series. Requests that began with the old site end with it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::policy::RateLimit;
use crate::config::{self, Config};
use crate::limit::concurrency::Count;
use crate::limit::rate::Memory;
use crate::metrics::Metrics;
use crate::metrics::client::LimitMetrics;
use crate::metrics::route::RouteSeries;
use crate::operator::Orders;
use crate::retry::budget::Budget;
use crate::route::Table;
use crate::upstream::{Member, Upstream};

/// A configuration at work.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) config: Config,
    /// The operator's word beside it.
    pub(crate) orders: Orders,
    pub(crate) table: Table<Arc<Route>>,
    /// As written.
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) limits: Vec<Arc<Limit>>,
}

/// A route with what belongs to it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) config: config::Route,
    /// The pool that answers, where one does.
    pub(crate) upstream: Option<Arc<Upstream>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) metrics: Arc<RouteSeries>,
    /// The rate limits that hold.
    pub(crate) limits: Vec<Arc<Limit>>,
    /// The requests that it is working on, where there is a limit.
    pub(crate) count: Arc<Count>,
}

/// A rate limit with what is remembered for it.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) config: RateLimit,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: LimitMetrics,
}

impl Site {
    /// Builds the site of a configuration, around what stays of the previous one.
    pub(crate) fn new(config: Config, orders: Orders, metrics: &Metrics, previous: Option<&Self>) -> Self {
        let upstreams: Vec<Arc<Upstream>> = config
            .upstreams
            .iter()
            .map(|upstream| {
                let before = previous.and_then(|previous| previous.upstream(&upstream.name));
                Arc::new(Upstream::new(upstream.clone(), &orders, metrics, before.map(AsRef::as_ref)))
            })
            .collect();
        let limits: Vec<Arc<Limit>> = config
            .rate_limits
            .iter()
            .map(|limit| {
                let before = previous.and_then(|previous| previous.limit(&limit.name));
                let before = before.filter(|before| before.config.keys == limit.keys);
                Arc::new(Limit {
                    memory: before.map_or_else(
                        || Arc::new(Memory::new(limit.keys)),
                        |before| Arc::clone(&before.memory),
                    ),
                    metrics: metrics.client.limit(&limit.name),
                    config: limit.clone(),
                })
            })
            .collect();
        let routes: Vec<Arc<Route>> = config
            .routes
            .iter()
            .map(|route| {
                let named = route.action.upstream();
                let upstream = upstreams.iter().find(|upstream| Some(upstream.config.name.as_str()) == named);
                let before = previous.and_then(|previous| previous.route(&route.name));
                let budget = before.filter(|before| before.config.retry.has_same_budget(&route.retry));
                Arc::new(Route {
                    upstream: upstream.map(Arc::clone),
                    budget: budget.map_or_else(
                        || Arc::new(Budget::new(route.retry.budget, route.retry.budget_floor)),
                        |before| Arc::clone(&before.budget),
                    ),
                    metrics: before.map_or_else(
                        || Arc::new(metrics.route(&route.name)),
                        |before| Arc::clone(&before.metrics),
                    ),
                    limits: route
                        .rate_limits
                        .iter()
                        .filter_map(|name| limits.iter().find(|limit| limit.config.name == *name))
                        .map(Arc::clone)
                        .collect(),
                    count: before.map(|before| Arc::clone(&before.count)).unwrap_or_default(),
                    config: route.clone(),
                })
            })
            .collect();
        let table = Table::new(routes.iter().map(|route| (&route.config, Arc::clone(route))));
        Self { config, orders, table, routes, upstreams, limits }
    }

    /// The upstream of this name.
    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| upstream.config.name == name)
    }

    /// The rate limit of this name.
    fn limit(&self, name: &str) -> Option<&Arc<Limit>> {
        self.limits.iter().find(|limit| limit.config.name == name)
    }

    /// The route of this name.
    pub(crate) fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.config.name == name)
    }

    /// Begins to count as the site at work: the operator's orders come into force, and the series of what the
    /// previous site had and this one has not come to an end.
    pub(crate) fn take_over(&self, previous: Option<&Self>, metrics: &Metrics) {
        let now = Instant::now();
        for upstream in &self.upstreams {
            upstream.obey(&self.orders, now);
        }
        let Some(previous) = previous else { return };
        for gone in previous.limits.iter().filter(|limit| self.limit(&limit.config.name).is_none()) {
            metrics.client.retire_limit(&gone.metrics);
        }
        for gone in previous.routes.iter().filter(|route| self.route(&route.config.name).is_none()) {
            gone.metrics.retire();
        }
        for before in &previous.upstreams {
            let after = self.upstream(&before.config.name);
            if after.is_none() {
                metrics.retire_upstream(&before.metrics);
            }
            let stays = |gone: &Member| {
                let members = after.into_iter().flat_map(|after| &after.backends);
                members.clone().any(|member| member.config.id == gone.config.id)
            };
            for gone in before.backends.iter().filter(|member| !stays(member)) {
                metrics.retire_backend(&gone.metrics);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::Registry;

    use super::*;
    use crate::balance::Key;
    use crate::operator::{Duty, Order};
    use crate::upstream::availability::Event;

    fn text(backends: &[(&str, u16, u32)]) -> String {
        let mut text = "[[listeners]]\nname = 'l'\naddress = '127.0.0.1:1'\n\
             [[routes]]\nname = 'r'\nupstream = 'u'\n"
            .to_owned();
        for (id, port, weight) in backends {
            text += &format!(
                "[[upstreams.u.backends]]\nid = '{id}'\naddress = '127.0.0.1:{port}'\nweight = {weight}\n"
            );
        }
        text
    }

    fn site(backends: &[(&str, u16, u32)], metrics: &Metrics, previous: Option<&Site>) -> Site {
        let config = Config::from_text("test", &text(backends)).unwrap();
        let site = Site::new(config, Orders::default(), metrics, previous);
        site.take_over(previous, metrics);
        site
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_stays_keeps_what_is_known_of_it_whatever_else_changes() {
        let metrics = Metrics::new(&Registry::new());
        let old = site(&[("a", 1, 1), ("b", 2, 1)], &metrics, None);
        let now = Instant::now();
        let lease = old.upstreams[0].choose(Key::ANY, &[1], now).unwrap();
        for _ in 0..3 {
            old.upstreams[0].apply(1, Event::ProbeFailed, now);
        }
        let new = site(&[("c", 3, 1), ("b", 2, 7), ("a", 1, 1)], &metrics, Some(&old));
        let pool = &new.upstreams[0];
        assert_eq!(pool.backends[2].in_flight(), 1, "what is in flight stays counted");
        assert!(pool.facts(1).verdict(now).is_err(), "what was down is down");
        assert_eq!(pool.backends[1].weight, 7);
        // What the old site's requests find out is known in the new one.
        for _ in 0..3 {
            old.upstreams[0].apply(0, Event::ProbeFailed, now);
        }
        assert!(!pool.backends[2].is_available(1));
        drop(lease);
        assert_eq!(pool.backends[2].in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_at_another_address_is_another_one() {
        let metrics = Metrics::new(&Registry::new());
        let old = site(&[("a", 1, 1), ("b", 2, 1)], &metrics, None);
        for _ in 0..3 {
            old.upstreams[0].apply(0, Event::ProbeFailed, Instant::now());
        }
        let new = site(&[("a", 9, 1), ("b", 2, 1)], &metrics, Some(&old));
        assert!(new.upstreams[0].backends[0].is_available(1));
    }

    #[tokio::test(start_paused = true)]
    async fn series_end_with_their_object_and_start_from_zero_with_it() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry);
        let old = site(&[("a", 1, 1), ("b", 2, 1)], &metrics, None);
        let new = site(&[("b", 2, 1), ("c", 3, 1)], &metrics, Some(&old));
        let text = registry.text();
        assert!(!text.contains("backend=\"a\""), "{text}");
        assert!(text.contains("proxy_backend_up{backend=\"b\",upstream=\"u\"} 1"), "{text}");
        assert!(text.contains("proxy_backend_up{backend=\"c\",upstream=\"u\"} 1"), "{text}");
        drop(new);
    }

    #[tokio::test(start_paused = true)]
    async fn the_operators_orders_hold_from_the_start_and_are_taken_back() {
        let metrics = Metrics::new(&Registry::new());
        let mut orders = Orders::default();
        orders.give("u", "a", Order { duty: Duty::Draining, weight: Some(5), comment: String::new() });
        let config = Config::from_text("test", &text(&[("a", 1, 1), ("b", 2, 1)])).unwrap();
        let drained = Site::new(config.clone(), orders, &metrics, None);
        drained.take_over(None, &metrics);
        assert!(drained.upstreams[0].backends[0].is_out());
        assert_eq!(drained.upstreams[0].backends[0].weight, 5);
        let active = Site::new(config, Orders::default(), &metrics, Some(&drained));
        active.take_over(Some(&drained), &metrics);
        assert!(!active.upstreams[0].backends[0].is_out());
        assert_eq!(active.upstreams[0].backends[0].weight, 1);
    }
}

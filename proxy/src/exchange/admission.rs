//! Which route takes a request, whether it is let in, and what is said when it is not.

use std::sync::Arc;

use super::Exchange;
use crate::config::policy::RateKey;
use crate::limit::rate::{self, Verdict};
use crate::limit::{Subject, access};
use crate::respond::{Answer, Form, RETRY_AFTER, Refusal};
use crate::route::{self, Asked, Found};
use crate::site::{Limit, Route};

impl Exchange {
    /// Finds the route of a request, and whether the route takes it.
    pub(crate) fn find_route(&mut self, asked: &Asked<'_>) -> Result<Arc<Route>, Refusal> {
        let site = self.edge.site();
        let route = match site.table.find(asked) {
            Found::Route { target, matched } => {
                self.matched = matched;
                Arc::clone(target)
            }
            Found::WrongMethod(methods) => {
                self.fields.push(("Allow", methods.join(", ")));
                return Err(Refusal::MethodNotAllowed);
            }
            Found::Nothing => return Err(Refusal::NoRoute),
        };
        route.budget.deposit();
        self.route = Some(Arc::clone(&route));
        self.admit(&route, asked)?;
        Ok(route)
    }

    /// Whether a route takes this request.
    fn admit(&mut self, route: &Route, asked: &Asked<'_>) -> Result<(), Refusal> {
        if !access::is_allowed(&route.config.access, self.head.client) {
            return Err(Refusal::Acl);
        }
        let closed = &route.config.maintenance;
        if closed.is_on && !closed.allow.iter().any(|network| network.contains(&self.head.client)) {
            self.fields.push((RETRY_AFTER, closed.retry_after.as_secs().to_string()));
            return Err(Refusal::Maintenance);
        }
        for limit in &route.limits {
            self.ask(limit, route, asked)?;
        }
        if let Some(most) = route.config.max_requests {
            self.slot = Some(route.count.enter(most).ok_or(Refusal::Overload)?);
        }
        Ok(())
    }

    /// Asks a rate limit for one request.
    fn ask(&mut self, limit: &Arc<Limit>, route: &Route, asked: &Asked<'_>) -> Result<(), Refusal> {
        let (rate, now) = (&limit.config.rate, self.started);
        let verdict = match &limit.config.key {
            RateKey::Client => limit.memory.ask(rate, Subject::of(self.head.client), now),
            RateKey::Route => limit.memory.ask(rate, &route.config.name, now),
            RateKey::Header(name) => match (asked.header)(name) {
                Some(value) => limit.memory.ask(rate, value, now),
                None => return Ok(()),
            },
        };
        let Verdict::Refused { wait } = verdict else { return Ok(()) };
        self.limited = Some(Arc::clone(limit));
        if limit.config.is_dry_run {
            limit.metrics.dry_run.inc();
            return Ok(());
        }
        limit.metrics.refused.inc();
        self.fields.extend(rate::fields(&limit.config.name, rate, wait));
        Err(Refusal::Rate)
    }

    /// What the `*` of the route's path stood for in this path.
    pub(crate) fn rest_of(&self, path: &[u8]) -> Vec<u8> {
        route::rest(path, self.matched)
    }

    /// Says which methods would have been understood.
    pub(crate) fn allow(&mut self, methods: &str) {
        self.fields.push(("Allow", methods.to_owned()));
    }

    /// The answer that a refusal leads to, for a client with this `Accept` header (empty: none).
    pub(crate) fn answer_to(&self, refusal: Refusal, accept: &str) -> Answer {
        let route = self.route.as_ref().map(|route| &route.config);
        let site = self.edge.site();
        refusal.answer(&Form {
            accept,
            request_id: &self.head.id,
            unavailable: self.unavailable(refusal),
            pages: route.map_or(&site.config.error_pages, |route| &route.error_pages),
            maintenance: route.and_then(|route| route.maintenance.page.as_ref()),
            fields: &self.fields,
        })
    }
}

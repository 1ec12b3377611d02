//! What is recorded of an attempt, and refusals.

use std::sync::Arc;

use crate::{
    admission::at_least_a_second,
    admit::{Attempt, Denied, MAX_USER_AGENT_BYTES},
    attempts::Address,
    engine::Inner,
    event::{Detail, Reason, Role, SessionContext, StreamEventKind, clean},
    identity::SessionId,
};

impl Inner {
    /// The context of an attempt, as it is recorded.
    pub(crate) fn context_of(&self, role: Role, attempt: &Attempt) -> Arc<SessionContext> {
        let session = SessionId::at(self.clock.unix_ms());
        let mut context = SessionContext::new(session, role, self.scrub_key(&attempt.key));
        context.protocol = attempt.protocol;
        context.peer = attempt.peer;
        context.via = attempt.via;
        context.peer_source = attempt.peer_source;
        let agent = attempt.user_agent.as_deref().map(|text| self.scrub(text));
        context.user_agent = agent.map(|text| clean(&text, MAX_USER_AGENT_BYTES).into());
        context.hops = attempt.hops.as_ref().map(|hops| self.scrub_hops(hops));
        context.token = attempt.token.map(Arc::new);
        Arc::new(context)
    }

    /// Refuses an attempt without asking anyone.
    pub(crate) fn refuse_unasked(
        &self,
        role: Role,
        attempt: &Attempt,
        reason: Reason,
        detail: &str,
    ) -> Denied {
        let context = self.context_of(role, attempt);
        let (rate, now) = (self.limits.load().attempts, self.clock.monotonic());
        let over = self.attempts.over(Address::of_session(&context), rate, now);
        let reason = over.map_or(reason, |_| Reason::RateLimited);
        let detail = Detail::new(&self.scrub(detail));
        self.refuse_with(&context, reason.clone(), detail);
        let mut denied = Denied::of(&context, reason);
        denied.retry_after = over.map(at_least_a_second);
        denied
    }

    /// Reports a refusal, and charges it to the budget of its address.
    pub(crate) fn refuse(&self, context: &Arc<SessionContext>, reason: Reason) {
        self.refuse_with(context, reason, None);
    }

    fn refuse_with(&self, context: &Arc<SessionContext>, reason: Reason, detail: Option<Detail>) {
        // An honest client tries again.
        if !matches!(reason, Reason::ServerShutdown | Reason::ServerDraining) {
            let rate = self.limits.load().attempts;
            let address = Address::of_session(context);
            self.attempts.refused(address, rate, self.clock.monotonic());
        }
        self.report(
            context,
            StreamEventKind::denied(context.role, reason, detail),
        );
    }
}

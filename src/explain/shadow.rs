//! What `client_auth.shadow`, which is only tried, would say to the same request.

use rustls_pki_types::CertificateDer;

use super::{Answer, Asked, Gate, Step, fact, judged};
use crate::clock::WallTime;
use crate::identity::ClientCert;

impl Gate<'_> {
    /// One step, where the host's profile has a shadow.
    pub(super) fn shadow(
        &self,
        chain: &[CertificateDer<'_>],
        client: &ClientCert,
        answer: &Answer,
        asked: &Asked,
        now: WallTime,
    ) -> Option<Step> {
        let host = asked.host.as_ref();
        let trust = self.trust.shadow_of(host);
        let allow = self.config.proxy.shadow_allow.get(self.trust.profile(host).number()).and_then(Option::as_deref);
        // Where nobody is asked for a certificate there is nothing to try.
        if trust.is_none() && allow.is_none() || self.trust.of(host).is_none() {
            return None;
        }
        let tried = trust.map(|trust| judged(Some(trust), chain, now));
        let tried = self.answer_on(tried.as_ref().unwrap_or(client), asked, host, allow);
        Some(fact("shadow", said(answer, &tried)))
    }
}

fn said(answer: &Answer, tried: &Answer) -> String {
    let what = match (answer.lets_in(), tried.lets_in()) {
        (true, false) => format!("would refuse it: {tried}"),
        (false, true) => format!("would let it in, which is refused now: {answer}"),
        (false, false) if answer.reason != tried.reason => format!("would refuse it, too, for another reason: {tried}"),
        _ => "would say the same".to_owned(),
    };
    format!("client_auth.shadow, which is only tried, {what}")
}

//! Asking the Web App whether a connection is allowed: once, and again with the same nonce when the answer is lost.
//!
//! The call goes over ordinary TLS to the primary's public name and is signed by the node's key. A refusal (4xx) is final and its words
//! go to the browser; silence, a broken connection and errors of the server's are tried again until the limit.

use std::time::Duration;

use meridian_node::NodeClient;
use meridian_proxy_core::{Passed, Refusal};
use meridian_runtime::Backoff;
use meridian_wire::{AuthorizeRequest, AuthorizeResponse, public_paths};
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// A grant is at most 4 KiB; a longer answer is not ours.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

pub(crate) struct Questioner {
    pub(crate) node: NodeClient,
    pub(crate) http: reqwest::Client,
    /// Limit of the whole question. One try has a third of it, so that a lost answer leaves time for another.
    pub(crate) wait: Duration,
}

/// How one try ended without a usable answer.
enum Failure {
    Final(Refusal),
    /// May pass: what to say when the time is up.
    Passing(Refusal),
}

impl Questioner {
    /// Asks at `address`, a URL without a path.
    pub(crate) async fn ask(
        &self,
        address: &str,
        question: &AuthorizeRequest,
    ) -> Result<AuthorizeResponse, Refusal> {
        let url = url_of(address);
        let body = serde_json::to_vec(question).map_err(|_| Refusal::Signing)?;
        let deadline = Instant::now() + self.wait;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let try_until = deadline.min(Instant::now() + self.wait / 3);
            let tried = timeout_at(try_until, self.try_once(&url, &body)).await;
            let refusal = match tried {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::Final(refusal))) => return Err(refusal),
                Ok(Err(Failure::Passing(refusal))) => refusal,
                Err(_) => Refusal::WebSilent,
            };
            let next = Instant::now() + backoff.next_wait();
            if next >= deadline {
                tracing::warn!(hop = "web", url, "the Web App was asked in vain");
                return Err(refusal);
            }
            sleep(next - Instant::now()).await;
        }
    }

    async fn try_once(&self, url: &str, body: &[u8]) -> Result<AuthorizeResponse, Failure> {
        // Signed anew each time: the signature's own nonce may be used once.
        let signed = self.node.sign_call("POST", public_paths::AUTHORIZE, body);
        let signed = signed.map_err(|_| Failure::Final(Refusal::Signing))?;
        let mut request =
            self.http.post(url).header(http::header::CONTENT_TYPE, "application/json").body(body.to_vec());
        for (name, value) in signed.pairs() {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| failed(&error))?;
        read_answer(response).await
    }
}

async fn read_answer(mut response: reqwest::Response) -> Result<AuthorizeResponse, Failure> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::Final(Refusal::WebAnswer("it is too long")));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|_| Failure::Final(Refusal::WebAnswer("it is no grant")));
    }
    let fallback = ("web_refused", "The Web App refused this connection.");
    if status.is_client_error() {
        Err(Failure::Final(Refusal::WebRefused(Passed::read(status, &body, fallback))))
    } else if status.is_server_error() {
        Err(Failure::Passing(Refusal::WebRefused(Passed::read(status, &body, fallback))))
    } else {
        Err(Failure::Final(Refusal::WebAnswer("it is a redirect")))
    }
}

fn failed(error: &reqwest::Error) -> Failure {
    if error.is_builder() {
        return Failure::Final(Refusal::WebAnswer("its address is no URL"));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    tracing::info!(hop = "web", %cause, "a question was not answered");
    Failure::Passing(if error.is_timeout() { Refusal::WebSilent } else { Refusal::WebUnreachable })
}

fn url_of(address: &str) -> String {
    let scheme = if address.contains("://") { "" } else { "https://" };
    format!("{scheme}{}{}", address.trim_end_matches('/'), public_paths::AUTHORIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_means_https() {
        assert_eq!(url_of("a.example/"), "https://a.example/api/v1/connections/authorize");
        assert_eq!(url_of("http://a:1"), "http://a:1/api/v1/connections/authorize");
    }
}

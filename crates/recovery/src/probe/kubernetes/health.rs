//! `/livez` and `/readyz`.

use http::{Request, StatusCode};
use kube::client::Body;
use tokio::time::timeout;

use crate::error_text;
use crate::facts::Health;
use crate::probe::access::ANSWER;

/// Asks an endpoint. That nothing comes back is an answer: clients of the API server do not get more.
///
/// `Err` is a question that was not let through, which says nothing about health.
pub(super) async fn ask(client: &kube::Client, path: &str) -> Result<Health, String> {
    let request = Request::get(path).body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = timeout(ANSWER, async {
        let response = client.send(request).await?;
        let status = response.status();
        Ok::<_, kube::Error>((status, response.into_body().collect_bytes().await?))
    });
    match answer.await {
        Ok(Ok((status, body))) => understand(status, &String::from_utf8_lossy(&body)),
        Ok(Err(error)) => Ok(Health { ok: false, detail: error_text::of(&error) }),
        Err(_) => Ok(Health { ok: false, detail: format!("no answer within {} s", ANSWER.as_secs()) }),
    }
}

/// An endpoint that is not ok lists its checks, those that fail with `[-]`
/// (`staging/src/k8s.io/apiserver/pkg/server/healthz/healthz.go`).
fn understand(status: StatusCode, body: &str) -> Result<Health, String> {
    if status == StatusCode::OK {
        return Ok(Health { ok: true, detail: String::new() });
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(format!("{status}: the kubeconfig's user may not ask; it needs cluster-admin rights"));
    }
    let failing = body.lines().filter_map(|line| line.strip_prefix("[-]"));
    let failing: Vec<&str> = failing.map(|line| line.trim_end_matches(": reason withheld")).collect();
    let detail = if failing.is_empty() { format!("{status}: {body}") } else { failing.join(", ") };
    Ok(Health { ok: false, detail: error_text::one_line(&detail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_checks_that_fail_are_told() {
        let body = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]poststarthook/rbac failed: reason \
                    withheld\nreadyz check failed\n";
        let health = understand(StatusCode::INTERNAL_SERVER_ERROR, body).unwrap();
        assert_eq!(health, Health { ok: false, detail: "etcd failed, poststarthook/rbac failed".into() });
    }

    #[test]
    fn a_proxy_in_its_place_is_not_ok_and_cannot_paint_the_screen() {
        let health = understand(StatusCode::BAD_GATEWAY, "\u{1b}[2Jnothing\nhere").unwrap();
        assert_eq!(health.detail, "502 Bad Gateway: [2Jnothing here");
    }

    #[test]
    fn not_being_allowed_to_ask_says_nothing_about_health() {
        assert!(understand(StatusCode::FORBIDDEN, "no").is_err());
        assert!(understand(StatusCode::OK, "ok").unwrap().ok);
    }
}

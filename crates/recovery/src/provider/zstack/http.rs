//! One request and its answer.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, StatusCode, Url};
use serde_json::Value;
use tracing::debug;

use super::wire::{ErrorCode, Failure};
use crate::provider::{ProviderError, Result};

/// The context path of a ZStack management node.
const CONTEXT: &str = "/zstack";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Far above the answer for a thousand VMs.
const LARGEST_ANSWER: usize = 16 << 20;
const LONGEST_SENTENCE: usize = 300;

/// What the API answered.
pub(super) enum Answer {
    /// Status 200, with the body.
    Done(Value),
    /// 202: a job was taken, or goes on.
    Accepted,
    /// 503 with an error code: the call, or the job asked for, failed.
    Failed(ErrorCode),
    /// Another status, with a sentence.
    Status(StatusCode, String),
}

/// The API of a management node.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    endpoint: String,
}

impl Http {
    /// The API at this URL, whose certificate chains to one of the CAs in this file; to one of the system's without.
    pub(super) fn new(endpoint: &str, ca: Option<&Path>) -> Result<Self> {
        let bad = |reason: String| ProviderError::Endpoint { reason };
        let url = Url::parse(endpoint).map_err(|error| bad(format!("{error}; write https://HOST:8443")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(format!("{} is neither http nor https", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("a user or password does not belong in it; use an AccessKey".into()));
        }
        let endpoint = url.as_str().trim_end_matches('/').trim_end_matches(CONTEXT).to_owned();
        // The management node is near, and signatures are for it alone: no proxy, no redirect.
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy();
        if let Some(ca) = ca {
            client = client.tls_certs_only(authorities(ca).map_err(bad)?);
        }
        let client = client.build().map_err(|error| bad(format!("set up HTTP: {error}")))?;
        Ok(Self { client, endpoint })
    }

    /// Sends a request to a path from `/v1` on.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: HeaderMap,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let call = format!("{method} {path}");
        let mut url = Url::parse(&format!("{}{CONTEXT}{path}", self.endpoint))
            .map_err(|error| ProviderError::Protocol { call: call.clone(), reason: error.to_string() })?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.json(body);
        }
        let begin = Instant::now();
        let response = request.send().await.map_err(|error| self.unreachable(error));
        let ms = begin.elapsed().as_millis();
        match &response {
            Ok(response) => debug!(call, status = response.status().as_u16(), ms, "cloud answered"),
            Err(error) => debug!(call, ms, error = ?error.to_string(), "cloud call failed"),
        }
        let response = response?;
        let status = response.status();
        let bytes = self.read(response, &call).await?;
        self.understand(call, status, &bytes)
    }

    async fn read(&self, mut response: reqwest::Response, call: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST_ANSWER {
                let reason = format!("it is larger than {LARGEST_ANSWER} bytes");
                return Err(ProviderError::Protocol { call: call.into(), reason });
            }
        }
        Ok(bytes)
    }

    fn understand(&self, call: String, status: StatusCode, bytes: &[u8]) -> Result<Answer> {
        let not_json = |error: serde_json::Error| ProviderError::Protocol { call, reason: error.to_string() };
        match status {
            StatusCode::OK => serde_json::from_slice(bytes).map(Answer::Done).map_err(not_json),
            StatusCode::ACCEPTED => Ok(Answer::Accepted),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorized(sentence(bytes))),
            StatusCode::SERVICE_UNAVAILABLE => match serde_json::from_slice(bytes) {
                Ok(Failure { error }) if error.is_about_identity() => Err(self.unauthorized(error.message())),
                Ok(Failure { error }) => Ok(Answer::Failed(error)),
                Err(_) => Err(self.unreachable(NobodyHome(status))),
            },
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                Err(self.unreachable(NobodyHome(status)))
            }
            _ => Ok(Answer::Status(status, sentence(bytes))),
        }
    }

    fn unreachable(&self, source: impl Error + Send + Sync + 'static) -> ProviderError {
        ProviderError::Unreachable { endpoint: self.endpoint.clone(), source: Box::new(source) }
    }

    pub(super) fn unauthorized(&self, message: String) -> ProviderError {
        ProviderError::Unauthorized { endpoint: self.endpoint.clone(), message }
    }
}

/// A gateway answered in the API's place.
#[derive(Debug)]
struct NobodyHome(StatusCode);

impl fmt::Display for NobodyHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0)
    }
}

impl Error for NobodyHome {}

/// What a body says, fit for one line.
fn sentence(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_SENTENCE).collect()
}

/// The certificates in a file.
fn authorities(file: &Path) -> std::result::Result<Vec<Certificate>, String> {
    let bytes = fs_err::read(file).map_err(|error| format!("its ca: {error}"))?;
    match Certificate::from_pem_bundle(&bytes) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("its ca: {} holds no certificate in PEM", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let endpoint = |text| Http::new(text, None).map(|http| http.endpoint);
        for good in [
            "http://cloud:8080",
            "http://cloud:8080/",
            "http://cloud:8080/zstack",
            "http://cloud:8080/zstack/",
        ] {
            assert_eq!(endpoint(good).unwrap(), "http://cloud:8080", "{good}");
        }
        for bad in ["cloud", "ftp://cloud", "http://admin:hunter2@cloud"] {
            let error = endpoint(bad).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    /// One answer over TLS, on loopback; the CA in a file.
    async fn served() -> (tempfile::NamedTempFile, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio_rustls::rustls::ServerConfig;

        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(ca.path(), cert.pem()).unwrap();
        let key = tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let provider = std::sync::Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key.into()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
                    .await;
                let _ = stream.shutdown().await;
            }
        });
        (ca, format!("https://localhost:{port}"))
    }

    #[tokio::test]
    async fn a_cloud_is_known_by_the_ca_of_the_inventory_alone() {
        let (ca, endpoint) = served().await;
        let ask = async |ca: Option<&Path>| {
            let http = Http::new(&endpoint, ca).unwrap();
            http.send(Method::GET, "/v1/vms", &[], HeaderMap::new(), None).await
        };
        assert!(matches!(ask(Some(ca.path())).await, Ok(Answer::Done(_))));
        assert!(ask(None).await.is_err());
        let (other, _) = served().await;
        assert!(ask(Some(other.path())).await.is_err());
        fs_err::write(other.path(), "no certificate").unwrap();
        let why = Http::new(&endpoint, Some(other.path())).unwrap_err().to_string();
        assert!(why.contains("holds no certificate"), "{why}");
    }
}

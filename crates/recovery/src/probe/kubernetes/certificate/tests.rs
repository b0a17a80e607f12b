use std::collections::BTreeMap;

use rcgen::{CertificateParams, CertifiedKey, DnType, KeyPair, date_time_ymd};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::probe::Access;

/// A certificate for somebody else that was good in one year.
fn good_in(year: i32) -> CertifiedKey<KeyPair> {
    issue("somebody.else", year)
}

fn issue(name: &str, year: i32) -> CertifiedKey<KeyPair> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "kube\napiserver");
    params.not_before = date_time_ymd(year, 1, 1);
    params.not_after = date_time_ymd(year, 12, 31);
    let signing_key = KeyPair::generate().unwrap();
    CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

/// A TLS server for one connection, and whether a client ever got through to it.
async fn serve(pair: CertifiedKey<KeyPair>) -> (String, tokio::task::JoinHandle<bool>) {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(stream).await.is_ok()
    });
    (url, served)
}

#[tokio::test]
async fn an_expired_certificate_for_another_name_is_seen_and_not_accepted() {
    let (url, got_through) = serve(good_in(2020)).await;
    let certificate = served(&url).await.unwrap();
    assert_eq!(certificate.not_before.to_string(), "2020-01-01T00:00:00Z");
    assert_eq!(certificate.not_after.to_string(), "2020-12-31T00:00:00Z");
    assert!(certificate.subject.contains("apiserver") && !certificate.subject.contains('\n'));
    assert!(!got_through.await.unwrap(), "the connection came about");
}

#[tokio::test]
async fn a_certificate_that_is_good_is_not_accepted_either() {
    let (url, got_through) = serve(good_in(2999)).await;
    assert_eq!(served(&url).await.unwrap().not_after.to_string(), "2999-12-31T00:00:00Z");
    assert!(!got_through.await.unwrap(), "the connection came about");
}

#[tokio::test]
async fn a_server_without_tls_shows_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        stream.try_write(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
    });
    assert!(served(&url).await.is_err());
    plain.await.unwrap();
    for url in ["https://", "not a url", "https://[::1", ""] {
        assert!(served(url).await.is_err(), "{url:?}");
    }
}

#[test]
fn of_a_file_the_first_certificate_is_read_and_nothing_else_shown() {
    let (server, issuer) = (good_in(2021), good_in(2022));
    let key = server.signing_key.serialize_pem();
    let text = format!("some text\n{key}{}{}", server.cert.pem(), issuer.cert.pem());
    assert_eq!(first(text.as_bytes()).unwrap().not_before.to_string(), "2021-01-01T00:00:00Z");

    for text in
        [key.clone(), key.replace("PRIVATE KEY", "CERTIFICATE"), "-----BEGIN CERTIFICATE-----\nx".into()]
    {
        let why = first(text.as_bytes()).unwrap_err();
        let secret = key.lines().nth(1).unwrap();
        assert!(!why.is_empty() && !why.contains(secret), "{why}");
    }
}

/// What the health of an API server with this certificate is, for a kubeconfig that trusts it.
async fn health_of(pair: CertifiedKey<KeyPair>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (ca, kubeconfig) = (dir.path().join("ca.crt"), dir.path().join("admin.conf"));
    fs_err::write(&ca, pair.cert.pem()).unwrap();
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                contexts: [{ name: c, context: { cluster: c, user: u } }]\n\
                clusters: [{ name: c, cluster: { server: 'https://elsewhere', certificate-authority: ca.crt } }]\n\
                users: [{ name: u, user: { token: hunter2 } }]\n";
    fs_err::write(&kubeconfig, text).unwrap();
    let (url, got_through) = serve(pair).await;
    let json = serde_json::json!({
        "version": 1, "cluster": "test", "hosts": {}, "etcd": { "members": {} },
        "kubernetes": { "kubeconfig": kubeconfig, "controlPlane": { "m1": {
            "url": url,
            "apiserver": { "unit": "a" }, "controllerManager": { "unit": "c" }, "scheduler": { "unit": "s" },
        } } },
    });
    let inventory = serde_json::from_value(json).unwrap();
    let client = Access::new(&inventory, BTreeMap::new()).api("m1").await.unwrap();
    let health = super::super::health::ask(&client, "/livez").await.unwrap();
    assert!(!health.ok);
    if got_through.await.unwrap() { "got through".into() } else { health.detail }
}

#[tokio::test]
async fn requests_are_made_only_over_a_certificate_that_is_good_for_the_server() {
    let expired = health_of(issue("127.0.0.1", 2020)).await;
    assert!(expired.contains("certificate expired"), "{expired}");
    let future = health_of(issue("127.0.0.1", 2999)).await;
    assert!(future.contains("not valid yet"), "{future}");
    let mut params = CertificateParams::new(vec!["somebody.else".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2999, 1, 1);
    let signing_key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    let stranger = health_of(CertifiedKey { cert, signing_key }).await;
    assert!(stranger.contains("not valid for name"), "{stranger}");
}

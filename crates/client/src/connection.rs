//! One HTTP/2 connection to one member, and the calls over it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::tokio_stream::{self, Stream};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tracing::debug;

use crate::auth::{Auth, Token, is_stale};
use crate::dial::Dialer;
use crate::method::Method;
use crate::tls::Tls;
use crate::{ClientCertificate, ConnectOptions, Endpoint, Error, Result};

/// The largest response a [`Client`](crate::Client) accepts, 128 MiB.
///
/// A snapshot chunk is 32 KiB and a fragmented watch response about 2 MiB; this bounds a range, which
/// should be read in pages of keys.
pub const MAX_RESPONSE_BYTES: usize = 128 << 20;

/// How often a connection in use is pinged, and how long the answer may take, so that a member
/// whose machine is gone ends a watch. etcd drops clients that ping more often than every 5 s
/// (`--grpc-keepalive-min-time`).
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Makes a member without a leader refuse a stream, or end it, instead of keeping it silent
/// (`api/v3rpc/rpctypes/md.go`).
pub(crate) const REQUIRE_LEADER: (&str, &str) = ("hasleader", "true");

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    channel: Channel,
    endpoint: Arc<Endpoint>,
    auth: Option<Arc<Auth>>,
    /// Problem of the client certificate, if any.
    client_certificate: Option<ClientCertificate>,
    pub(crate) command_timeout: Duration,
    pub(crate) snapshot_idle_timeout: Duration,
}

impl Connection {
    pub(crate) async fn open(options: &ConnectOptions, endpoint: &str) -> Result<Self> {
        let endpoint = Arc::new(Endpoint::parse(endpoint, options.has_tls_file())?);
        let tls = endpoint.is_tls().then(|| Tls::new(options, &endpoint)).transpose()?;
        let invalid = |_| Error::Endpoint { endpoint: endpoint.to_string(), reason: "not a URL" };
        // The dialer does TLS; to tonic, the connection is a plain one with the origin of an encrypted one.
        let url = |scheme: &str| format!("{scheme}://{}", endpoint.authority());
        let origin = url(if endpoint.is_tls() { "https" } else { "http" });
        let builder = Channel::from_shared(url("http"))
            .map_err(invalid)?
            .origin(
                origin
                    .parse()
                    .map_err(|_| Error::Endpoint { endpoint: origin.clone(), reason: "not a URL" })?,
            )
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let dialer = Dialer::new(endpoint.clone(), tls.clone(), KEEP_ALIVE, options.dial_timeout);
        // The connect timeout of the dialer covers one TCP attempt; this one all of them and the handshake.
        let channel = timeout(options.dial_timeout, builder.connect_with_connector(dialer))
            .await
            .map_err(|_| Error::ConnectTimeout {
                endpoint: endpoint.to_string(),
                timeout: options.dial_timeout,
            })?
            .map_err(|error| unconnected(&endpoint, tls.as_ref(), &error))?;
        let connection = Self {
            channel,
            endpoint,
            client_certificate: tls.as_ref().and_then(Tls::client_certificate).cloned(),
            auth: options.user.as_ref().map(|(name, password)| Arc::new(Auth::new(name, password))),
            command_timeout: options.command_timeout,
            snapshot_idle_timeout: options.snapshot_idle_timeout,
        };
        connection.renew_token().await?;
        Ok(connection)
    }

    pub(crate) fn with_command_timeout(&self, command_timeout: Duration) -> Self {
        Self { command_timeout, ..self.clone() }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// One request, one response, within the command timeout.
    pub(crate) async fn unary<Q, R>(&self, method: Method, message: Q) -> Result<R>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        let Some(auth) = &self.auth else {
            return self.within(self.command_timeout, method, self.try_unary(method, None, message)).await;
        };
        let call = async {
            let token = auth.token().await;
            match self.try_unary(method, token.as_ref(), message.clone()).await {
                Err(status) if is_stale(&status) => {
                    self.replace_token(auth, token.as_ref()).await?;
                    self.try_unary(method, auth.token().await.as_ref(), message).await
                }
                other => other,
            }
        };
        self.within(self.command_timeout, method, call).await
    }

    /// One request, many responses; `patience` is for the first of them to be announced.
    pub(crate) async fn server_streaming<Q, R>(
        &self,
        patience: Duration,
        method: Method,
        message: Q,
    ) -> Result<Streaming<R>>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        self.renew_token().await?;
        self.streaming(patience, method, None, tokio_stream::once(message)).await
    }

    /// A stream of requests and one of responses. The token must be fresh: see
    /// [`renew_token`](Self::renew_token).
    pub(crate) async fn streaming<S, R>(
        &self,
        patience: Duration,
        method: Method,
        metadata: Option<(&'static str, &'static str)>,
        requests: S,
    ) -> Result<Streaming<R>>
    where
        S: Stream + Send + 'static,
        S::Item: Message + 'static,
        R: Message + Default + 'static,
    {
        let mut request = Self::request(self.token().await.as_ref(), requests);
        if let Some((key, value)) = metadata {
            request.metadata_mut().insert(key, MetadataValue::from_static(value));
        }
        let call = async {
            let mut grpc = self.ready().await?;
            let codec = ProstCodec::<S::Item, R>::default();
            Ok(grpc.streaming(request, method.path(), codec).await?.into_inner())
        };
        self.within(patience, method, call).await
    }

    /// Gets a new token, when there is a user.
    ///
    /// Streams call this first, for they are rare, and because etcd refuses a watch with a stale
    /// token by a cancelled watch, not by an error that could be recognised before it is handed on.
    pub(crate) async fn renew_token(&self) -> Result<()> {
        let Some(auth) = &self.auth else { return Ok(()) };
        let renew = async {
            let token = auth.token().await;
            self.replace_token(auth, token.as_ref()).await
        };
        self.within(self.command_timeout, Method::AUTHENTICATE, renew).await
    }

    pub(crate) fn error(&self, method: Method, status: &Status) -> Error {
        let error = Error::call(&*self.endpoint, method, status);
        match (&error, &self.client_certificate) {
            // A member that refuses a certificate hangs up after the handshake, on the first call.
            (Error::Call { cause: Some(_), .. }, Some(certificate)) => Error::ClientCertificate {
                endpoint: self.endpoint.to_string(),
                certificate: certificate.clone(),
            },
            _ => error,
        }
    }

    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        method: Method,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T> {
        let begin = Instant::now();
        let result = match timeout(limit, call).await {
            Ok(result) => result.map_err(|status| self.error(method, &status)),
            Err(_) => {
                let endpoint = self.endpoint.to_string();
                Err(Error::Timeout { endpoint, rpc: method.name(), timeout: limit })
            }
        };
        let (ms, endpoint, rpc) = (begin.elapsed().as_millis(), &*self.endpoint, method.name());
        match &result {
            Ok(_) => debug!(%endpoint, rpc, ms, "etcd answered"),
            Err(error) => debug!(%endpoint, rpc, ms, error = ?error.to_string(), "etcd call failed"),
        }
        result
    }

    async fn token(&self) -> Option<Token> {
        match &self.auth {
            Some(auth) => auth.token().await,
            None => None,
        }
    }

    async fn replace_token(&self, auth: &Auth, stale: Option<&Token>) -> Result<(), Status> {
        auth.renew(stale, |request| self.try_unary(Method::AUTHENTICATE, None, request)).await
    }

    async fn try_unary<Q, R>(&self, method: Method, token: Option<&Token>, message: Q) -> Result<R, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, R>::default();
        Ok(grpc.unary(Self::request(token, message), method.path(), codec).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_RESPONSE_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        Ok(grpc)
    }

    fn request<T>(token: Option<&Token>, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

/// The error of a failed connection, with certificate problems if any.
fn unconnected(endpoint: &Endpoint, tls: Option<&Tls>, error: &tonic::transport::Error) -> Error {
    let endpoint_text = endpoint.to_string();
    let connect = Error::connect(endpoint, error);
    let Some(tls) = tls else { return connect };
    if let Some(problem) = tls.rejected() {
        return Error::ServerCertificate { endpoint: endpoint_text, problem };
    }
    match (connect.is_permanent(), tls.client_certificate()) {
        (true, Some(certificate)) => {
            Error::ClientCertificate { endpoint: endpoint_text, certificate: certificate.clone() }
        }
        _ => connect,
    }
}

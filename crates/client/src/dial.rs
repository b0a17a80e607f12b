//! The byte stream to a member: TCP or a unix socket, with TLS if the endpoint requires it.
//!
//! tonic's own connector always verifies certificates, and its errors name neither dates nor names. This one can also
//! connect to members with expired certificates, if requested.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::Uri;
use tower::Service;

use crate::endpoint::{Address, Endpoint};
use crate::tls::Tls;

/// Connects to one endpoint, whatever URI it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    endpoint: Arc<Endpoint>,
    tls: Option<Tls>,
    tcp: HttpConnector,
}

impl Dialer {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        tls: Option<Tls>,
        keep_alive: Duration,
        patience: Duration,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(keep_alive));
        tcp.set_connect_timeout(Some(patience));
        Self { endpoint, tls, tcp }
    }

    async fn dial(mut self) -> io::Result<TokioIo<Stream>> {
        let plain = match self.endpoint.address() {
            Address::Unix(path) => Stream::new(UnixStream::connect(path).await?),
            Address::Tcp(authority) => {
                let uri = format!("http://{authority}").parse::<Uri>().map_err(io::Error::other)?;
                Stream::new(self.tcp.call(uri).await.map_err(io::Error::other)?.into_inner())
            }
        };
        let Some(tls) = self.tls else { return Ok(TokioIo::new(plain)) };
        let name = ServerName::try_from(tls.server_name.clone()).map_err(io::Error::other)?;
        let encrypted = TlsConnector::from(tls.config).connect(name, plain).await?;
        Ok(TokioIo::new(Stream::new(encrypted)))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Any of the streams.
pub(crate) struct Stream(Box<dyn Duplex>);

impl Stream {
    fn new(stream: impl Duplex + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

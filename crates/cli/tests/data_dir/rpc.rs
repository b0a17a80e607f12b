//! Calls of any message: what clients may send and ours does not.

use lifeboat_client::{Client, ConnectOptions};
use prost::bytes::{Buf, BufMut};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::raft::Proto;
use crate::support::PASSWORD;

/// A user's connection to a member.
pub struct Rpc {
    channel: Channel,
    endpoint: String,
    user: Option<&'static str>,
    token: Option<String>,
}

impl Rpc {
    pub async fn connect(endpoint: &str, user: Option<&'static str>) -> Self {
        let channel = Channel::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap();
        Self { channel, endpoint: endpoint.to_owned(), user, token: None }
    }

    /// Calls a method, and logs in again if the token is invalid.
    pub async fn call(&mut self, method: &'static str, message: &[u8]) -> Result<Vec<u8>, Status> {
        let answer = self.once(method, message).await;
        match &answer {
            Err(status)
                if status.message().contains("auth token") || status.message().contains("user name") =>
            {
                self.login().await;
                self.once(method, message).await
            }
            _ => answer,
        }
    }

    /// A user that is not there, or has no password, sends without a token.
    async fn login(&mut self) {
        self.token = None;
        let Some(user) = self.user else { return };
        let Ok(client) = Client::connect(&ConnectOptions::default(), &self.endpoint).await else { return };
        self.token = client.authenticate(user, PASSWORD).await.ok().map(|response| response.token);
    }

    async fn once(&self, method: &'static str, message: &[u8]) -> Result<Vec<u8>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(message.to_vec());
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request.set_timeout(std::time::Duration::from_secs(3));
        Ok(grpc.unary(request, PathAndQuery::from_static(method), Bytes).await?.into_inner())
    }
}

/// Messages as they are.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// The method that a request of an InternalRaftRequest's field comes from.
pub fn method(tag: u32) -> &'static str {
    match tag {
        3 => "/etcdserverpb.KV/Range",
        4 => "/etcdserverpb.KV/Put",
        5 => "/etcdserverpb.KV/DeleteRange",
        6 => "/etcdserverpb.KV/Txn",
        7 => "/etcdserverpb.KV/Compact",
        8 => "/etcdserverpb.Lease/LeaseGrant",
        9 => "/etcdserverpb.Lease/LeaseRevoke",
        10 => "/etcdserverpb.Maintenance/Alarm",
        1000 => "/etcdserverpb.Auth/AuthEnable",
        1011 => "/etcdserverpb.Auth/AuthDisable",
        1100 => "/etcdserverpb.Auth/UserAdd",
        1101 => "/etcdserverpb.Auth/UserDelete",
        1103 => "/etcdserverpb.Auth/UserChangePassword",
        1104 => "/etcdserverpb.Auth/UserGrantRole",
        1105 => "/etcdserverpb.Auth/UserRevokeRole",
        1200 => "/etcdserverpb.Auth/RoleAdd",
        1201 => "/etcdserverpb.Auth/RoleDelete",
        1203 => "/etcdserverpb.Auth/RoleGrantPermission",
        1204 => "/etcdserverpb.Auth/RoleRevokePermission",
        other => panic!("no method makes requests of field {other}"),
    }
}

/// Makes `root`, and `app`, who reads some keys and writes others; and turns authentication on.
pub async fn make_users(rpc: &mut Rpc) {
    let text = |tag, text: &str| Proto::default().bytes(tag, text);
    let permission = |role: &str, kind: i64, key: &str, end: &str| {
        let permission = Proto::default().nonzero(1, kind).bytes(2, key).nonempty(3, end);
        text(1, role).bytes(2, permission)
    };
    for (tag, message) in [
        (1100, text(1, "root").bytes(2, PASSWORD)),
        (1104, text(1, "root").bytes(2, "root")),
        (1100, text(1, "app").bytes(2, PASSWORD)),
        (1200, text(1, "reader")),
        (1203, permission("reader", 0, "a", "c")),
        (1200, text(1, "writer")),
        (1203, permission("writer", 1, "a/1", "")),
        (1203, permission("writer", 2, "b", "c\u{ff}\0")),
        (1104, text(1, "app").bytes(2, "reader")),
        (1104, text(1, "app").bytes(2, "writer")),
        (1000, Proto::default()),
    ] {
        rpc.call(method(tag), message.as_ref()).await.unwrap();
    }
}

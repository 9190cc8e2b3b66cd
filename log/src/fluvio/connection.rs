//! One connection to a server of the cluster: requests out, answers in, each found by its number.
//!
//! Every wait has an end, so that a server that stands still is noticed, and acknowledgements are sent at once: a server
//! sends the head of an answer before its records and would otherwise wait 40 ms for the first to be acknowledged.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use fluvio::dataplane::api::{Request, RequestMessage};
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::{Decoder, Encoder, Version};
use fluvio_spu_schema::{ApiVersions, ApiVersionsRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server may take to accept a connection, to take a request in, and to answer a quick one.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is never larger: the records of one and what is around them.
const LARGEST_FRAME: usize = 64 << 20;
const CLIENT: &str = "streambook";

/// A connection that is of no use any more, or an answer that says no.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("could not connect to {address}")]
    Connect { address: String, source: io::Error },
    #[error("the connection to {address} failed")]
    Broken { address: String, source: io::Error },
    #[error("{address} closed the connection")]
    Closed { address: String },
    #[error("{address} did not answer within {after:?}")]
    Silent { address: String, after: Duration },
    #[error("{address} sent what is no answer")]
    Garbled { address: String, source: io::Error },
    #[error("{address} does not know requests of kind {kind} in a version this program knows")]
    Version { address: String, kind: u16 },
    #[error("{address} refused")]
    Refused { address: String, source: Box<ErrorCode> },
}

/// A connection. After an error it must be given up.
pub(super) struct Connection {
    stream: TcpStream,
    address: String,
    received: BytesMut,
    versions: ApiVersions,
    last: i32,
}

/// A request that was sent: what its answer is found and read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) number: i32,
    version: Version,
}

impl Connection {
    pub(super) async fn open(address: &str) -> Result<Self, ConnectionError> {
        let failed = |source| ConnectionError::Connect { address: address.to_owned(), source };
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let address = address.to_owned();
        let mut connection =
            Self { stream, address, received: BytesMut::new(), versions: ApiVersions::new(), last: 0 };
        let asked = ApiVersionsRequest {
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            client_os: std::env::consts::OS.to_owned(),
            client_arch: std::env::consts::ARCH.to_owned(),
        };
        let sent = connection.write(asked, ApiVersionsRequest::DEFAULT_API_VERSION).await?;
        let answer = connection.answer_to::<ApiVersionsRequest>(sent, PATIENCE).await?;
        connection.versions = answer.api_keys;
        Ok(connection)
    }

    /// Sends a request and waits for its answer. Answers to other requests are lost.
    pub(super) async fn call<R: Request>(
        &mut self,
        request: R,
        patience: Duration,
    ) -> Result<R::Response, ConnectionError> {
        let sent = self.send(request).await?;
        self.answer_to::<R>(sent, patience).await
    }

    /// Sends a request.
    pub(super) async fn send<R: Request>(&mut self, request: R) -> Result<Sent, ConnectionError> {
        let known = self.versions.iter().find(|known| u16::try_from(known.api_key) == Ok(R::API_KEY));
        let version = known
            .filter(|known| {
                known.max_version >= R::MIN_API_VERSION && known.min_version <= R::MAX_API_VERSION
            })
            .map(|known| known.max_version.min(R::MAX_API_VERSION));
        let unknown = || ConnectionError::Version { address: self.address.clone(), kind: R::API_KEY };
        let version = version.ok_or_else(unknown)?;
        self.write(request, version).await
    }

    async fn write<R: Request>(&mut self, request: R, version: Version) -> Result<Sent, ConnectionError> {
        self.last = self.last.wrapping_add(1);
        let mut message = RequestMessage::new_request(request).set_client_id(CLIENT);
        message.header.set_api_version(version).set_correlation_id(self.last);
        let mut bytes = vec![0; 4];
        let encoded = message.encode(&mut bytes, 0);
        encoded.map_err(|source| ConnectionError::Garbled { address: self.address.clone(), source })?;
        let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
        if let Some(place) = bytes.get_mut(..4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        let written = timeout(PATIENCE, self.stream.write_all(&bytes)).await;
        written.map_err(|_| self.silent(PATIENCE))?.map_err(|source| self.broken(source))?;
        Ok(Sent { number: self.last, version })
    }

    async fn answer_to<R: Request>(
        &mut self,
        sent: Sent,
        patience: Duration,
    ) -> Result<R::Response, ConnectionError> {
        let found = async {
            loop {
                let (number, answer) = self.receive().await?;
                if number == sent.number {
                    return Ok(answer);
                }
            }
        };
        let answer = timeout(patience, found).await;
        let answer = answer.unwrap_or_else(|_| Err(self.silent(patience)))?;
        self.read::<R>(sent, answer)
    }

    /// Reads the answer to this request.
    pub(super) fn read<R: Request>(
        &self,
        sent: Sent,
        mut answer: Bytes,
    ) -> Result<R::Response, ConnectionError> {
        let decoded = R::Response::decode_from(&mut answer, sent.version);
        decoded.map_err(|source| ConnectionError::Garbled { address: self.address.clone(), source })
    }

    /// The next answer and the number of the request it belongs to. May be dropped and called again.
    pub(super) async fn receive(&mut self) -> Result<(i32, Bytes), ConnectionError> {
        loop {
            if let Some(mut answer) = self.frame()? {
                let number = answer.try_get_i32();
                return Ok((number.map_err(|_| self.garbled("an answer without a number"))?, answer));
            }
            let read = self.stream.read_buf(&mut self.received).await;
            if read.map_err(|source| self.broken(source))? == 0 {
                return Err(ConnectionError::Closed { address: self.address.clone() });
            }
            self.acknowledge();
        }
    }

    /// The next frame, if it was received whole.
    fn frame(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        let Some(length) = self.received.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LARGEST_FRAME {
            return Err(self.garbled("an answer that is too large"));
        }
        if self.received.len() < 4 + length {
            self.received.reserve(4 + length - self.received.len());
            return Ok(None);
        }
        self.received.advance(4);
        Ok(Some(self.received.split_to(length).freeze()))
    }

    /// Acknowledges what was received now and not with the next data. The kernel forgets this wish, so it is told often; if it
    /// cannot be told, answers only come later.
    fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        let _told = rustix::net::sockopt::set_tcp_quickack(&self.stream, true);
    }

    /// An error of the server as an error of this connection.
    pub(super) fn refused(&self, code: ErrorCode) -> ConnectionError {
        ConnectionError::Refused { address: self.address.clone(), source: Box::new(code) }
    }

    pub(super) fn silent(&self, after: Duration) -> ConnectionError {
        ConnectionError::Silent { address: self.address.clone(), after }
    }

    fn broken(&self, source: io::Error) -> ConnectionError {
        ConnectionError::Broken { address: self.address.clone(), source }
    }

    pub(super) fn garbled(&self, what: &str) -> ConnectionError {
        let source = io::Error::new(io::ErrorKind::InvalidData, what);
        ConnectionError::Garbled { address: self.address.clone(), source }
    }
}

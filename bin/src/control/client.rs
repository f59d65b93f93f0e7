//! Asks a daemon over its control socket.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;

use crate::control::protocol::{ErrorBody, ErrorReason};

/// How long the daemon may take until its answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is one document: tens of thousands of peers.
const MAX_DOCUMENT_LEN: usize = 256 * 1024 * 1024;
/// Longest line of a list: one route with every attribute at its largest is about 200 kB.
const MAX_LINE_LEN: usize = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach pipitd at {path}: {source}")]
    NotReached {
        /// The socket tried.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The socket's permissions keep us out.
    #[error("not allowed to use {path}: {source}")]
    NotAllowed {
        /// The socket tried.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Somebody listens and says nothing.
    #[error("pipitd at {path} did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent {
        /// The socket tried.
        path: PathBuf,
    },
    /// The daemon answered that it will not.
    #[error("{message}")]
    Refused {
        /// The class of the refusal.
        reason: ErrorReason,
        /// The daemon's words.
        message: String,
    },
    /// The answer ended before its end, which is what happens when the daemon ends.
    #[error("pipitd at {path} ended its answer early: {source}")]
    CutOff {
        /// The socket in use.
        path: PathBuf,
        /// What the HTTP client saw.
        source: hyper::Error,
    },
    /// The answer is none of ours: another program, or another version.
    #[error("pipitd at {path} gave an answer that cannot be read ({what}); is it of this version?")]
    Unreadable {
        /// The socket in use.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// One connection to a daemon, for one request after the other.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Client {
    /// Connects to the daemon that listens on `path`.
    pub async fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).await.map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path, source },
                _ => ClientError::NotReached { path, source },
            }
        })?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|source| ClientError::CutOff {
                    path: path.to_owned(),
                    source,
                })?;
        // An error of the connection reaches us as the error of the request that it breaks.
        let driver = tokio::spawn(async { drop(connection.await) }).abort_handle();
        Ok(Client {
            path: path.to_owned(),
            sender,
            driver,
        })
    }

    /// The socket in use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fetches one document.
    pub async fn document<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let response = self.get(path).await?;
        let body = read_whole(&self.path, response.into_body()).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(error.to_string()))
    }

    /// Has something done; the answer.
    pub async fn act<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::POST, path).await?;
        let body = read_whole(&self.path, response.into_body()).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(error.to_string()))
    }

    /// Starts to fetch a list that travels as lines.
    pub async fn lines(&mut self, path_and_query: &str) -> Result<Lines<'_>, ClientError> {
        let response = self.get(path_and_query).await?;
        Ok(Lines {
            client: self,
            body: response.into_body(),
            splitter: LineSplitter::default(),
        })
    }

    async fn get(&mut self, path_and_query: &str) -> Result<Response<Incoming>, ClientError> {
        self.send(Method::GET, path_and_query).await
    }

    async fn send(
        &mut self,
        method: Method,
        path_and_query: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path_and_query)
            .header(header::HOST, "pipit")
            .body(Empty::new())
            .map_err(|error| self.unreadable(error.to_string()))?;
        let response = tokio::time::timeout(ANSWER_TIMEOUT, self.sender.send_request(request))
            .await
            .map_err(|_| ClientError::Silent {
                path: self.path.clone(),
            })?
            .map_err(|source| ClientError::CutOff {
                path: self.path.clone(),
                source,
            })?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let body = read_whole(&self.path, response.into_body()).await?;
        let body: ErrorBody =
            serde_json::from_slice(&body).map_err(|_| self.unreadable(status.to_string()))?;
        Err(ClientError::Refused {
            reason: body.reason,
            message: body.message,
        })
    }

    fn unreadable(&self, what: String) -> ClientError {
        ClientError::Unreadable {
            path: self.path.clone(),
            what,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn read_whole(path: &Path, body: Incoming) -> Result<Bytes, ClientError> {
    match Limited::new(body, MAX_DOCUMENT_LEN).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(source) => ClientError::CutOff {
                path: path.to_owned(),
                source: *source,
            },
            Err(error) => ClientError::Unreadable {
                path: path.to_owned(),
                what: error.to_string(),
            },
        }),
    }
}

/// The lines of a list, as they arrive.
#[derive(Debug)]
pub struct Lines<'a> {
    client: &'a Client,
    body: Incoming,
    splitter: LineSplitter,
}

impl Lines<'_> {
    /// The next line without its end; `None` when the list is complete.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(line) = self.splitter.pop() {
                return Ok(Some(line));
            }
            match self.body.frame().await {
                None if self.splitter.is_empty() => return Ok(None),
                None => return Err(self.client.unreadable("the last line has no end".to_owned())),
                Some(Err(source)) => {
                    return Err(ClientError::CutOff {
                        path: self.client.path.clone(),
                        source,
                    });
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.splitter
                            .push(data)
                            .map_err(|LineTooLong| self.client.unreadable("a line has no end".to_owned()))?;
                    }
                }
            }
        }
    }
}

/// Cuts chunks into lines without copying, except for a line that spans chunks.
#[derive(Debug, Default)]
struct LineSplitter {
    complete: VecDeque<Bytes>,
    partial: BytesMut,
}

/// A line is longer than [`MAX_LINE_LEN`].
#[derive(Debug, PartialEq, Eq)]
struct LineTooLong;

impl LineSplitter {
    fn push(&mut self, mut chunk: Bytes) -> Result<(), LineTooLong> {
        while let Some(end) = chunk.iter().position(|&byte| byte == b'\n') {
            let mut line = chunk.split_to(end + 1);
            line.truncate(end);
            if !self.partial.is_empty() {
                self.partial.extend_from_slice(&line);
                line = self.partial.split().freeze();
            }
            self.complete.push_back(line);
        }
        self.partial.extend_from_slice(&chunk);
        if self.partial.len() > MAX_LINE_LEN {
            Err(LineTooLong)
        } else {
            Ok(())
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        self.complete.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.complete.is_empty() && self.partial.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_chunks_fall() {
        let text = b"{\"a\":1}\n\n{\"b\":\"two\"}\n";
        for size in 1..=text.len() {
            let mut splitter = LineSplitter::default();
            for chunk in text.chunks(size) {
                splitter.push(Bytes::copy_from_slice(chunk)).unwrap();
            }
            let lines: Vec<Bytes> = std::iter::from_fn(|| splitter.pop()).collect();
            assert_eq!(
                lines,
                [&b"{\"a\":1}"[..], b"", b"{\"b\":\"two\"}"],
                "chunks of {size}"
            );
            assert!(splitter.is_empty());
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut splitter = LineSplitter::default();
        let chunk = Bytes::from(vec![b'x'; MAX_LINE_LEN]);
        assert_eq!(splitter.push(chunk), Ok(()));
        assert_eq!(splitter.push(Bytes::from_static(b"x")), Err(LineTooLong));
    }
}

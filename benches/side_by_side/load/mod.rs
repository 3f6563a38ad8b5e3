//! The load: one thread, one epoll, many connections.

mod client;
mod connection;
mod handshakes;
mod http1;
mod http2;
mod record;

pub(crate) use client::{Client, Tls, Version};
pub(crate) use connection::Crowd;
pub(crate) use handshakes::shake_hands;

/// The length of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Size {
    /// A line of 24 bytes.
    Small,
    Kib8,
    Mib1,
    Mib100,
}

impl Size {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Small => 24,
            Self::Kib8 => 8 << 10,
            Self::Mib1 => 1 << 20,
            Self::Mib100 => 100 << 20,
        }
    }

    /// What is asked for to get it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Small => "/api/hello",
            Self::Kib8 => "/api/kib8",
            Self::Mib1 => "/api/mib1",
            Self::Mib100 => "/api/mib100",
        }
    }

    /// The size that a request's target stands for.
    pub(crate) fn from_path(target: &[u8]) -> Self {
        [Self::Kib8, Self::Mib100, Self::Mib1]
            .into_iter()
            .find(|size| target.starts_with(size.path().as_bytes()))
            .unwrap_or(Self::Small)
    }
}

/// What is asked for, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Order {
    pub(crate) path: &'static str,
    /// The length of the body that is sent.
    pub(crate) upload: Option<Size>,
    /// What must come back.
    pub(crate) status: u16,
    /// Requests at once on a connection of HTTP/2; `None` is HTTP/1.1.
    pub(crate) streams: Option<usize>,
}

impl Order {
    /// A small GET by HTTP/1.1.
    pub(crate) const SMALL: Self = Self { path: "/api/hello", upload: None, status: 200, streams: None };
}

/// How far a load has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Answers that are complete.
    pub(crate) answers: u64,
    /// Bytes of bodies, in either direction.
    pub(crate) bytes: u64,
}

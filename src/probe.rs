//! One HTTP request, made as a client would: what the container's health check and the demo do.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::HostPort;
use crate::tls::{Connector, ServerTrust};

/// More of an answer than this is not read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// What to ask.
#[derive(Debug)]
pub struct Question<'a> {
    /// GET, or POST of a JSON body.
    pub json: Option<&'static str>,
    /// `http://` or `https://`.
    pub url: &'a str,
    /// How to shake hands, for `https://`.
    pub tls: Option<&'a Connector>,
    /// For everything together.
    pub deadline: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, at most 64 KiB.
    pub body: String,
}

/// Asks.
///
/// # Errors
/// A sentence: what could not be done, and with whom.
pub async fn ask(question: &Question<'_>) -> Result<Answer, String> {
    let answer = timeout(question.deadline, ask_patiently(question)).await;
    answer.unwrap_or_else(|_| Err(format!("{} did not answer within {:?}", question.url, question.deadline)))
}

/// The chain that a TLS server shows, whoever it is: nothing is believed and nothing is sent.
///
/// # Errors
/// A sentence: what could not be done, and with whom.
pub async fn shown_chain(target: &HostPort, deadline: Duration) -> Result<Vec<CertificateDer<'static>>, String> {
    let connector = Connector::new(&ServerTrust::Loopback, None).map_err(|error| error.to_string())?;
    let host = target.host.to_string();
    let shake = async {
        let socket = TcpStream::connect((host.trim_matches(['[', ']']), target.port)).await;
        let socket = socket.map_err(|error| format!("cannot connect to {target}: {error}"))?;
        let stream = connector.connect(&host, socket).await;
        stream.map_err(|error| format!("the TLS handshake with {target} failed: {error}"))
    };
    let stream = timeout(deadline, shake).await;
    let stream = stream.unwrap_or_else(|_| Err(format!("{target} did not answer within {deadline:?}")))?;
    Ok(stream.get_ref().1.peer_certificates().unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect())
}

async fn ask_patiently(question: &Question<'_>) -> Result<Answer, String> {
    let Question { url, .. } = question;
    let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(format!("{url} begins with neither http:// nor https://")),
    };
    let authority = uri.authority().ok_or_else(|| format!("{url} names no host"))?.as_str();
    let target =
        HostPort::parse(authority, if secure { 443 } else { 80 }).map_err(|error| format!("{url}: {error}"))?;
    let failed = |error: std::io::Error| format!("cannot connect to {target}: {error}");
    let host = target.host.to_string();
    let socket = TcpStream::connect((host.trim_matches(['[', ']']), target.port)).await.map_err(failed)?;
    match (secure, question.tls) {
        (false, _) => exchange(question, &uri, authority, socket).await,
        (true, Some(connector)) => {
            let stream = connector
                .connect(&host, socket)
                .await
                .map_err(|error| format!("the TLS handshake with {target} failed: {error}"))?;
            exchange(question, &uri, authority, stream).await
        }
        (true, None) => Err(format!("{url}: there is nothing to know the server by")),
    }
}

async fn exchange(
    question: &Question<'_>,
    uri: &Uri,
    authority: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Answer, String> {
    let failed = |error: hyper::Error| format!("{} gave no answer: {error}", question.url);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let driver = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path_and_query| path_and_query.as_str());
    let request = Request::builder().uri(path).header(HOST, authority);
    let request = match question.json {
        None => request.body(Full::default()),
        Some(json) => request
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(json.as_bytes()))),
    };
    let answer = sender.send_request(request.map_err(|error| error.to_string())?).await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await.map_err(|error| error.to_string())?;
    driver.abort();
    Ok(Answer { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
}

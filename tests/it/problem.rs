//! Answers of the gateway's own: RFC 9457, or HTML, or text, as the client asks.

use crate::support::Site;
use crate::support::site::ROUTES;

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_has_the_members_of_rfc_9457_and_ours() {
    let site = Site::start("[[route]]\npath = \"/get\"\nmethods = [\"GET\"]\nupstream = \"api\"\n").await;
    for (request, with_certificate, status, title, reason) in [
        ("GET /get", false, 403, "Forbidden", "certificate_missing"),
        ("GET /nowhere", true, 404, "Not Found", "no_route"),
        ("POST /get", true, 405, "Method Not Allowed", "method_not_allowed"),
        ("GET /get/../..", true, 400, "Bad Request", "bad_path"),
        ("GET /x/..%2fget", true, 400, "Bad Request", "ambiguous_path"),
        ("TRACE /get", true, 405, "Method Not Allowed", "method_not_allowed"),
        ("GET nowhere", true, 400, "Bad Request", "bad_target"),
    ] {
        let client = if with_certificate { &site.client } else { &site.stranger };
        let answer = client.send_raw(format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{request}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        let problem = answer.json();
        let members: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
        let mut sorted = members.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["detail", "reason", "request_id", "status", "title", "type"], "{request}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["title"], title);
        assert_eq!(problem["reason"], reason);
        assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"));
        assert_eq!(problem["type"], format!("urn:gateway:problem:{reason}"));
        assert!(problem["detail"].as_str().unwrap().len() > 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_follows_accept_and_head_has_no_body() {
    let site = Site::start(ROUTES).await;
    for (accept, content_type) in [
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("text/html", "text/html; charset=utf-8"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/plain;q=0.9, text/html;q=0.1", "text/plain; charset=utf-8"),
        ("text/html;q=0.1, application/json", "application/problem+json"),
        ("text/html;q=0", "application/problem+json"),
        ("TEXT/HTML", "text/html; charset=utf-8"),
        ("image/png", "application/problem+json"),
        ("", "application/problem+json"),
        (";;;,,,", "application/problem+json"),
    ] {
        let request = format!("/private HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        let mut raw = site.stranger.raw().await;
        raw.send(format!("GET {request}")).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.header("content-type")), (403, Some(content_type)), "{accept}");
        for word in ["certificate_missing", answer.header("x-request-id").unwrap()] {
            assert!(answer.text().contains(word), "{accept}: {}", answer.text());
        }
        raw.send(format!("HEAD {request}")).await;
        let head = raw.answer_to_head().await;
        assert_eq!((head.status, head.header("content-type")), (403, Some(content_type)), "{accept}");
        assert_eq!(head.header("content-length"), answer.header("content-length"), "{accept}");
        // Nothing of a body has come: the next answer follows at once.
        raw.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer().await.text(), "OK", "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_client_sends_comes_back_in_a_page() {
    let site = Site::start(ROUTES).await;
    for request in [
        "GET /<script>alert(1)</script> HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n",
        "GET /%3Cscript%3E HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nX-Request-Id: <script>\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: <script>\r\nAccept: text/html\r\n\r\n",
    ] {
        let answer = site.stranger.send_raw(request).await;
        assert!(matches!(answer.status, 400 | 403), "{request}");
        assert!(!answer.text().to_lowercase().contains("script"), "{}", answer.text());
    }
}

//! The live page, embedded when the program was built; without it, a plain page that tells how to get it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

/// Files of `web/dist`: their paths and contents. Names that end in `.gz` are compressed copies.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));
/// The page itself, which every view is.
const INDEX: &str = "/index.html";
/// Names below this contain a hash of the content.
const HASHED: &str = "/assets/";

/// Routes of the page: its views, which link to the Grafana at `grafana`, and its files.
pub(super) fn routes(grafana: Option<&str>) -> Router {
    let views = ["/", "/device/{*name}", "/events", "/pipeline", "/ask", "/ask/{*query_type}"];
    let mut router: Router<Index> = Router::new().route("/page.css", get(style));
    for view in views {
        router = router.route(view, get(index));
    }
    for (name, _) in FILES.iter().filter(|(name, _)| *name != INDEX && !name.ends_with(".gz")) {
        router = router.route(name, get(file));
    }
    router.with_state(Index(grafana.and_then(linked_to)))
}

/// The page with what is configured; `None` is the page as it was built.
#[derive(Clone)]
struct Index(Option<Arc<str>>);

/// Returns the page with an address that it reads as it starts: no request, and no inline script.
fn linked_to(grafana: &str) -> Option<Arc<str>> {
    let (_, page) = FILES.iter().find(|(name, _)| *name == INDEX)?;
    let address = grafana.replace('&', "&amp;").replace('"', "&quot;");
    let tag = format!("<meta name=\"spindle-grafana\" content=\"{address}\" />\n  </head>");
    Some(std::str::from_utf8(page).ok()?.replacen("</head>", &tag, 1).into())
}

async fn index(State(Index(page)): State<Index>, headers: HeaderMap) -> Response {
    if let Some(page) = page {
        return ([(header::CACHE_CONTROL, "no-store")], Html(page.to_string())).into_response();
    }
    send(INDEX, &headers).unwrap_or_else(|| Html(include_str!("index.html")).into_response())
}

async fn file(request: Request) -> Response {
    send(request.uri().path(), request.headers()).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

/// Sends a file, compressed if the browser takes that.
fn send(name: &str, headers: &HeaderMap) -> Option<Response> {
    let find = |name: &str| FILES.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes);
    let plain = find(name)?;
    let compressed = find(&format!("{name}.gz")).filter(|_| super::compression::takes_gzip(headers));
    let caching = if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-store" };
    let mut response = (
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type(name))),
            (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ],
        compressed.unwrap_or(plain),
    )
        .into_response();
    if compressed.is_some() {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "woff2" => "font/woff2",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Style of the plain page: a separate file, because the content security policy forbids inline styles.
async fn style() -> Response {
    let css = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, css)], include_str!("page.css")).into_response()
}

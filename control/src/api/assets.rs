//! The console's files, embedded in the executable. Paths of the application itself give its page.

use axum::{
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
        request::Parts,
    },
    response::{IntoResponse, Response},
};

use super::error::ApiError;

const PAGE: &str = "index.html";

/// Serves a file, or the page.
pub(super) async fn console(parts: Parts, uri: Uri) -> Response {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let refusal =
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Only GET works here");
        return ([(ALLOW, "GET, HEAD")], refusal).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    let (name, file) = match meridian_console::file(path) {
        Some(file) if !path.is_empty() => (path, Some(file)),
        // A missing script or picture is missing; everything else is a path of the application.
        _ if path.starts_with("assets/") => (path, None),
        _ => (PAGE, meridian_console::file(PAGE)),
    };
    let Some(file) = file else {
        return ApiError::not_found("file").into_response();
    };
    if parts.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == file.etag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    // Files under assets/ carry their content's hash in their name.
    let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = file.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(kind) = HeaderValue::from_str(&file.content_type) {
        headers.insert(CONTENT_TYPE, kind);
    }
    if let Ok(etag) = HeaderValue::from_str(&file.etag) {
        headers.insert(ETAG, etag);
    }
    response
}

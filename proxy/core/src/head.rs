//! Heads of HTTP/1.1 messages: bytes in, `http` types out. The caller bounds the bytes; headers are bounded here.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};

use crate::Refusal;

/// No honest upgrade request or answer has more.
pub const MAX_HEADERS: usize = 64;

/// A head and how many bytes it took; what follows belongs to whatever was upgraded to.
#[derive(Debug)]
pub struct Head<T> {
    pub message: T,
    pub length: usize,
}

/// Reads a request's head; `None` when more bytes are needed.
///
/// # Errors
/// [`Refusal::Malformed`] or [`Refusal::HeadTooLong`] (too many headers).
pub fn parse_request(bytes: &[u8]) -> Result<Option<Head<Request<()>>>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLong),
        Err(
            httparse::Error::HeaderName
            | httparse::Error::HeaderValue
            | httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::Version,
        ) => return Err(Refusal::Malformed("it is no HTTP/1.1 request")),
    };
    let (Some(method), Some(path), Some(1)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Refusal::Malformed("it is no HTTP/1.1 request"));
    };
    let mut request = Request::new(());
    *request.method_mut() = method.parse().map_err(|_| Refusal::Malformed("the method is none"))?;
    *request.uri_mut() = origin_form(path)?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = header_map(parsed.headers)?;
    Ok(Some(Head { message: request, length }))
}

/// Reads an answer's head; `None` when more bytes are needed or it is no HTTP/1.1 answer at all (then `Err`).
///
/// # Errors
/// [`Refusal::AgentAnswer`]: it comes from an agent.
pub fn parse_response(bytes: &[u8]) -> Result<Option<Head<Response<()>>>, Refusal> {
    const WRONG: Refusal = Refusal::AgentAnswer("its answer is no HTTP/1.1");
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes).map_err(|_| WRONG)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let (Some(code), Some(1)) = (parsed.code, parsed.version) else { return Err(WRONG) };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(code).map_err(|_| WRONG)?;
    *response.headers_mut() = header_map(parsed.headers).map_err(|_| WRONG)?;
    Ok(Some(Head { message: response, length }))
}

fn origin_form(path: &str) -> Result<Uri, Refusal> {
    let uri: Uri = path.parse().map_err(|_| Refusal::Malformed("the path is none"))?;
    if uri.scheme().is_none() && uri.authority().is_none() && path.starts_with('/') {
        Ok(uri)
    } else {
        Err(Refusal::Malformed("only a path may be asked for"))
    }
}

fn header_map(headers: &[httparse::Header<'_>]) -> Result<HeaderMap, Refusal> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| Refusal::Malformed("a header's name is none"))?;
        let value = HeaderValue::from_bytes(header.value)
            .map_err(|_| Refusal::Malformed("a header's value is none"))?;
        map.append(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_is_read_to_its_end_and_no_further() {
        let bytes = b"GET /a?b HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\n\r\nrest";
        assert!(parse_request(&bytes[..20]).unwrap().is_none());
        let head = parse_request(bytes).unwrap().unwrap();
        assert_eq!(&bytes[head.length..], b"rest");
        assert_eq!((head.message.uri().path(), head.message.uri().query()), ("/a", Some("b")));
        assert_eq!(head.message.headers().get_all("a").iter().count(), 2);
    }

    #[test]
    fn other_things_are_no_heads() {
        for bytes in [
            &b"\x16\x03\x01\x00\x00"[..],
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET http://x/ HTTP/1.1\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nA : 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert!(matches!(parse_request(bytes), Err(Refusal::Malformed(_))), "{}", bytes.escape_ascii());
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: 1\r\n".repeat(MAX_HEADERS + 1));
        assert!(matches!(parse_request(many.as_bytes()), Err(Refusal::HeadTooLong)));
        assert!(parse_response(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse_request(&bytes);
            let _ = parse_response(&bytes);
            let _ = parse_request(&[b"GET / HTTP/1.1\r\n", &bytes[..], b"\r\n\r\n"].concat());
            let _ = parse_response(&[b"HTTP/1.1 101 x\r\n", &bytes[..], b"\r\n\r\n"].concat());
        }

        #[test]
        fn a_whole_head_is_never_longer_than_what_was_given(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(Some(head)) = parse_request(&bytes) {
                prop_assert!(head.length <= bytes.len());
            }
        }
    }
}

//! What a server lists in XML, looked at before the driver reads it.
//!
//! The driver takes what it does not know for nothing: from a login page, or an error that came with status 200, it reads
//! that a folder is empty. To a backup that means that there is none yet (BACKUP-4).

use http::{Method, Request};
use opendal::Buffer;
use quick_xml::events::{BytesText, Event};
use quick_xml::{Reader, Writer};

use super::fault::Fault;
use crate::store::address::decode;
use crate::store::error::Outage;

/// The answer that a request for a list is due.
pub(super) enum Due {
    /// S3: `ListBucketResult`.
    Page,
    /// RFC 4918, section 14.16: `multistatus`, about what is at or below this path.
    Multistatus { path: String },
}

impl Due {
    /// None if no list was asked for.
    pub(super) fn to(request: &Request<Buffer>) -> Option<Self> {
        let uri = request.uri();
        if request.method().as_str() == "PROPFIND" {
            let path = decoded(uri.path());
            return Some(Self::Multistatus { path });
        }
        let asks = |query: &str| query.split('&').any(|setting| setting == "list-type=2");
        let is_page = request.method() == Method::GET && uri.query().is_some_and(asks);
        is_page.then_some(Self::Page)
    }

    /// What the driver may read.
    pub(super) fn check(&self, said: Vec<u8>) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Page => match root(&said).as_deref() {
                Some("ListBucketResult") => Ok(said),
                Some("Error") => Err(Fault::of_code(&said).unwrap_or(SERVER_FAULT)),
                _ => Err(FOREIGN),
            },
            Self::Multistatus { path } => match root(&said).as_deref() {
                Some("multistatus") => by_path(&said, path),
                _ => Err(FOREIGN),
            },
        }
    }
}

pub(super) const FOREIGN: Fault = Fault::Outage {
    outage: Outage::Foreign,
    pause: None,
};

const SERVER_FAULT: Fault = Fault::Outage {
    outage: Outage::ServerFault,
    pause: None,
};

/// The name of a document's root, without its prefix.
fn root(said: &[u8]) -> Option<String> {
    let mut reader = Reader::from_reader(said);
    loop {
        let event = reader.read_event().ok()?;
        if let Event::Start(tag) | Event::Empty(tag) = &event {
            return Some(tag.local_name().as_ref().to_owned());
        }
        if event == Event::Eof {
            return None;
        }
    }
}

/// A multistatus whose references are paths, as the driver expects them; they may be whole URLs (RFC 4918, section 8.3). One that
/// names nothing at or below `path` is about something else.
fn by_path(said: &[u8], path: &str) -> Result<Vec<u8>, Fault> {
    let mut reader = Reader::from_reader(said);
    let mut writer = Writer::new(Vec::with_capacity(said.len()));
    let mut reference: Option<String> = None;
    let mut is_about_it = false;
    loop {
        let mut event = reader.read_event().map_err(|_| FOREIGN)?;
        if event == Event::Eof {
            break;
        }
        if let Event::Start(tag) = &event
            && tag.local_name().as_ref() == "href"
        {
            reference = Some(String::new());
        } else if let Event::End(_) = &event
            && let Some(told) = reference.take()
        {
            is_about_it |= is_at_or_below(&decoded(&told), path);
        } else if let Event::Text(text) = &mut event
            && let Some(told) = &mut reference
        {
            let here = text.as_ref().to_owned();
            let here = match told.is_empty() {
                true => path_of(here.trim_start()),
                false => &here,
            };
            told.push_str(here);
            *text = BytesText::from_escaped(here.to_owned());
        }
        writer.write_event(event).map_err(|_| FOREIGN)?;
    }
    match is_about_it {
        true => Ok(writer.into_inner()),
        false => Err(FOREIGN),
    }
}

/// The path of a reference, which may be a whole URL.
fn path_of(reference: &str) -> &str {
    match reference.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => reference,
    }
}

fn is_at_or_below(told: &str, path: &str) -> bool {
    let rest = told.trim_end().strip_prefix(path.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path without its escapes. One that is escaped wrongly is taken as it is.
fn decoded(path: &str) -> String {
    decode(path).unwrap_or_else(|_| path.to_owned())
}

//! A bundle's text: one fact a line, in one order, so that one bundle has one text.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt::Write as _;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Bundle, BundleError, Group, Measurement, OperatorKey, UnixSeconds};
use crate::channel::ChannelPublicKey;
use crate::message::FleetId;

const TITLE: &str = "keyhaven vault bundle v1";

pub(super) fn encode(bundle: &Bundle) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name} {value}");
    };
    let Group {
        members,
        quorum,
        rollbacks,
    } = bundle.group;
    line("keyhaven", "vault bundle v1");
    line("fleet", &hex(bundle.fleet.as_bytes()));
    line("serial", &bundle.serial.to_string());
    line("issued", &bundle.issued.0.to_string());
    line("expires", &bundle.expires.0.to_string());
    line(
        "operator",
        &format!("ed25519 {}", BASE64.encode(bundle.operator.as_bytes())),
    );
    line(
        "channel",
        &format!("x-wing {}", BASE64.encode(bundle.channel_key.as_bytes())),
    );
    match &bundle.log_key {
        None => line("log", "none"),
        Some(key) => line("log", &format!("ed25519 {}", BASE64.encode(key))),
    }
    line("group", &format!("n={members} q={quorum} f={rollbacks}"));
    line("guesses", &bundle.guesses.to_string());
    line("lifetime-guesses", &bundle.lifetime_guesses.to_string());
    match &bundle.measurement {
        Measurement::None => line("measurement", "none"),
        Measurement::Sha384(digest) => line("measurement", &format!("sha384 {}", hex(digest))),
    }
    text
}

/// The operator's key alone, from a text that nobody has vouched for yet.
pub(super) fn operator(text: &str) -> Result<OperatorKey, BundleError> {
    let mut lines = Lines::of(text)?;
    for skipped in ["fleet", "serial", "issued", "expires"] {
        lines.value(skipped)?;
    }
    lines.operator()
}

/// Takes exactly what [`encode`] writes: an unknown, repeated, missing or reordered line, or another
/// spelling of a number, is malformed.
pub(super) fn decode(text: &str) -> Result<Bundle, BundleError> {
    let mut lines = Lines::of(text)?;
    let fleet = FleetId::new(unhex(lines.value("fleet")?, "fleet")?);
    let serial = number(lines.value("serial")?, "serial")?;
    let issued = UnixSeconds(number(lines.value("issued")?, "issued")?);
    let expires = UnixSeconds(number(lines.value("expires")?, "expires")?);
    let operator = lines.operator()?;
    let channel_key = lines
        .value("channel")?
        .strip_prefix("x-wing ")
        .and_then(|key| BASE64.decode(key).ok())
        .and_then(|key| ChannelPublicKey::parse(&key).ok())
        .ok_or(malformed("channel"))?;
    let log_key = match lines.value("log")? {
        "none" => None,
        key => Some(ed25519(key, "log")?),
    };
    let group = group(lines.value("group")?).ok_or(malformed("group"))?;
    let guesses = number(lines.value("guesses")?, "guesses")?;
    let lifetime_guesses = number(lines.value("lifetime-guesses")?, "lifetime-guesses")?;
    let measurement = match lines.value("measurement")? {
        "none" => Measurement::None,
        digest => Measurement::Sha384(unhex(
            digest
                .strip_prefix("sha384 ")
                .ok_or(malformed("measurement"))?,
            "measurement",
        )?),
    };
    lines.end()?;
    let bundle = Bundle {
        fleet,
        serial,
        issued,
        expires,
        operator,
        channel_key,
        log_key,
        group,
        guesses,
        lifetime_guesses,
        measurement,
    };
    // One bundle has one text: whatever slack the parsers above leave is refused here.
    if encode(&bundle) == text {
        Ok(bundle)
    } else {
        Err(malformed("canonical form"))
    }
}

struct Lines<'a>(core::str::Split<'a, char>);

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Result<Self, BundleError> {
        let text = text.strip_suffix('\n').ok_or(malformed("last"))?;
        let mut lines = text.split('\n');
        if lines.next() != Some(TITLE) {
            return Err(malformed("keyhaven vault bundle v1"));
        }
        Ok(Self(lines))
    }

    fn value(&mut self, name: &'static str) -> Result<&'a str, BundleError> {
        self.0
            .next()
            .and_then(|line| line.strip_prefix(name))
            .and_then(|line| line.strip_prefix(' '))
            .ok_or(malformed(name))
    }

    fn operator(&mut self) -> Result<OperatorKey, BundleError> {
        Ok(OperatorKey::from_bytes(ed25519(
            self.value("operator")?,
            "operator",
        )?))
    }

    fn end(&mut self) -> Result<(), BundleError> {
        self.0
            .next()
            .map_or(Ok(()), |_| Err(malformed("after measurement")))
    }
}

fn malformed(line: &'static str) -> BundleError {
    BundleError::Malformed { line }
}

fn number<T: FromStr>(value: &str, line: &'static str) -> Result<T, BundleError> {
    value.parse().map_err(|_| malformed(line))
}

fn group(value: &str) -> Option<Group> {
    let mut parts = value.split(' ');
    let mut part = |name: &str| parts.next()?.strip_prefix(name)?.parse().ok();
    Some(Group {
        members: part("n=")?,
        quorum: part("q=")?,
        rollbacks: part("f=")?,
    })
}

fn ed25519(value: &str, line: &'static str) -> Result<[u8; 32], BundleError> {
    value
        .strip_prefix("ed25519 ")
        .and_then(|key| BASE64.decode(key).ok())
        .and_then(|key| <[u8; 32]>::try_from(key).ok())
        .ok_or(malformed(line))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex<const N: usize>(text: &str, line: &'static str) -> Result<[u8; N], BundleError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut out = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return Err(malformed(line));
    }
    for (place, pair) in out.iter_mut().zip(pairs) {
        let pair = core::str::from_utf8(pair).map_err(|_| malformed(line))?;
        *place = u8::from_str_radix(pair, 16).map_err(|_| malformed(line))?;
    }
    Ok(out)
}

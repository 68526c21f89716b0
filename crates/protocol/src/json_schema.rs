//! JSON schemas of the types that have their own text form.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    clusters::{MAX_MINUTES, Minutes},
    error::{ErrorBody, ErrorCode},
    id::{self, TokenId},
    lifetime::{self, Lifetime},
    name::{self, TokenName},
    objects::{DataKey, MAX_NAME, ObjectName},
    token::Secret,
};

macro_rules! schemas {
    ($($type:ident $schema:tt;)*) => {
        $(
            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($type).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

/// A [`jiff::Timestamp`], as it stands on the wire.
#[derive(Debug)]
pub struct DateTime;

/// What of a DNS-1123 subdomain stands between two points.
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

schemas! {
    DateTime {"type": "string", "format": "date-time"};
    TokenName {
        "type": "string",
        "description": "Unicode's composed form (NFC), all visible, no space at the edges.",
        "minLength": 1,
        "maxLength": name::MAX_CHARS,
    };
    TokenId {"type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": id::MAX_CHARS};
    Secret {"type": "string", "format": "password"};
    Lifetime {
        "type": "string",
        "description": "Numbers with units (w, d, h, m, s, ms, us, ns), at least one second: 2h45m30s, 1.5h, 90s, 7d.",
        "pattern": "^\\+?(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w))+$",
        "maxLength": lifetime::MAX_TEXT,
    };
    Minutes {"type": "integer", "minimum": 1, "maximum": MAX_MINUTES};
    ObjectName {"type": "string", "pattern": format!("^{LABEL}(\\.{LABEL})*$"), "maxLength": MAX_NAME};
    DataKey {"type": "string", "pattern": "^[-._a-zA-Z0-9]+$", "minLength": 1, "maxLength": MAX_NAME};
    ErrorBody {
        "type": "object",
        "properties": {
            "status": {"type": "integer", "description": "The HTTP status, again."},
            "errorCode": {"type": "string", "enum": ErrorCode::ALL.iter().map(|code| code.name()).collect::<Vec<_>>()},
            "errorParams": {
                "type": "object",
                "properties": {"field": {"type": "string", "description": "The text for people."}},
                "required": ["field"],
            },
        },
        "required": ["status", "errorCode", "errorParams"],
    };
}

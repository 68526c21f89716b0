//! Fuzz tests of what strangers can send, for as long as one likes: nothing may panic, and what is read must mean one thing.
//!
//! Not part of the usual tests, whose properties are the same and whose cases are few: `make soak` runs these for
//! minutes each, `MLP_FUZZ_SECONDS` says how long. Each prints `fuzz NAME CASES SECONDS`.
#![allow(clippy::print_stdout, reason = "the figures are read by tests/soak/test_fuzz.py")]

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use mlplatform_platform::idempotency::Key;
use mlplatform_protocol::{
    ErrorBody, Lifetime, TokenName,
    token::{Shape, shape},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult, TestRunner},
};

use crate::credential;

/// Cases between two looks at the clock.
const BATCH: u32 = 10_000;

fn run<S: Strategy>(name: &str, strategy: &S, check: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let seconds = std::env::var("MLP_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (began, mut cases) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        // A new runner, so that each batch has a new seed.
        let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(strategy, &check).unwrap();
        cases += u64::from(BATCH);
    }
    println!("fuzz {name} {cases} {}", began.elapsed().as_secs());
}

#[test]
#[ignore = "make soak"]
fn token() {
    let near = "mlp[xra]_[0-9A-Za-z]{30,44}|mlp[a-z]?_?\\PC{0,60}|\\PC{0,80}";
    run("token", &near, |text| {
        let looked = shape(&text);
        let ours = ["mlpx_", "mlpr_", "mlpa_"].iter().any(|prefix| text.starts_with(prefix));
        prop_assert_eq!(looked == Shape::Opaque, !ours);
        let harmless = mlplatform_platform::text::harmless(&text);
        prop_assert!(!matches!(looked, Shape::Whole(_)) || !harmless.contains(&text), "a token reaches the log");
        Ok(())
    });
}

#[test]
#[ignore = "make soak"]
fn lifetime() {
    let near = "[-+]?([0-9]{0,22}(\\.[0-9]{0,22})?(ns|us|µs|μs|ms|s|m|h|d|w)){1,6}|[-+0-9.hmsdwµu ]{0,80}|\\PC{0,80}";
    run("lifetime", &near, |text| {
        if let Ok(lifetime) = text.parse::<Lifetime>() {
            prop_assert!(lifetime.duration() >= Duration::from_secs(1));
            prop_assert_eq!(lifetime.to_string().parse::<Lifetime>().ok(), Some(lifetime));
        }
        Ok(())
    });
}

#[test]
#[ignore = "make soak"]
fn name() {
    let near = "\\PC{0,80}|[\\u{0}-\\u{ff}\\u{300}-\\u{36f}\\u{200b}-\\u{2069}a-z ]{0,70}";
    run("name", &near, |text| {
        if let Ok(name) = TokenName::new(&text) {
            let again = TokenName::new(name.as_str());
            prop_assert_eq!(again.as_ref(), Ok(&name));
            prop_assert!(!name.as_str().chars().any(char::is_control));
        }
        Ok(())
    });
}

#[test]
#[ignore = "make soak"]
fn envelope() {
    let json = "\\{\"(status|errorCode|warnorCode|errorParams|warnorParams)\": ?(-?[0-9]{1,7}|\"\\PC{0,20}\"|\\{\"field\": ?\"\\PC{0,20}\"\\}|null)(, ?\"(status|errorCode|errorParams)\": ?(403|\"\\PC{0,9}\"|\\{\\}))*\\}";
    let near = prop_oneof![json.prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..300)];
    run("envelope", &near, |bytes| {
        if let Ok(body) = serde_json::from_slice::<ErrorBody>(&bytes) {
            let written = serde_json::to_vec(&body).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(serde_json::from_slice::<ErrorBody>(&written).ok(), Some(body));
        }
        Ok(())
    });
}

#[test]
#[ignore = "make soak"]
fn credential() {
    let value = prop_oneof![
        "(?i:bearer|basic|bear er)?[ \\t]{0,3}(mlpa_[0-9A-Za-z]{38}|[!-~ ]{0,60})".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..100),
    ];
    let header =
        prop_oneof![Just("authorization"), Just("x-auth-token"), Just("idempotency-key"), Just("idempotency-attempt"),];
    let near = proptest::collection::vec((header, value), 0..4);
    run("credential", &near, |pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in &pairs {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        if let Ok(Some(token)) = credential::read(&headers) {
            let sent = headers.values().any(|value| value.as_bytes().ends_with(token.as_bytes()));
            prop_assert!(sent, "a token that nobody sent");
        }
        let first = |name| headers.get(name).map(HeaderValue::as_bytes);
        let _ = Key::read(first("idempotency-key"), first("idempotency-attempt"));
        Ok(())
    });
}

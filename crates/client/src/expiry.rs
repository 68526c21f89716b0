//! The warning about an access token that expires soon.
//!
//! During the last 14 days of a token's lifetime, the user is warned once a session was created. Tokens with a lifetime of 14
//! days or less cause no warning, because they are short on purpose; for slightly longer ones, only the second half of the
//! lifetime counts.
//!
//! The remaining time is counted by the platform's clock, which is part of its answer, not by this machine's.

use mlplatform_protocol::{Open, Role, Timestamp, TokenInfo};

/// How long before its expiry the warning begins, and the shortest lifetime with a warning: 14 days, in seconds.
const NEAR: i64 = 14 * DAY;
const DAY: i64 = 24 * 3_600;
const HOUR: i64 = 3_600;

/// The expiry of a token, with the warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The id of the token.
    pub token_id: String,
    /// The warning for the user.
    pub text: String,
}

/// The warning, if it is due.
pub(crate) fn near(token: &TokenInfo, now: Timestamp) -> Option<Expiry> {
    let end = token.exp?;
    let (whole, left) = (end.duration_since(token.created_at).as_secs(), end.duration_since(now).as_secs());
    if whole <= NEAR || left > NEAR.min(whole / 2) {
        return None;
    }
    let remedy = if token.role == Open::Known(Role::Administrator) {
        "create a registration token for a new one (create_register_token), or ask another Administrator for it, and redeem it (create_refresh_token)"
    } else {
        "ask an Administrator for a registration token (create_register_token), and redeem it (create_refresh_token)"
    };
    let text = format!(
        "the access token '{}' expires in {}, at {}: before then, {remedy}",
        token.name.escape_debug(),
        length(left),
        end.strftime("%Y-%m-%d %H:%M UTC")
    );
    Some(Expiry { token_id: token.id.clone(), text })
}

fn length(seconds: i64) -> String {
    let (count, unit) = match seconds {
        DAY.. => (seconds / DAY, "day"),
        HOUR.. => (seconds / HOUR, "hour"),
        _ => ((seconds / 60).max(1), "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(lifetime: Option<i64>, role: Role) -> TokenInfo {
        let created_at = Timestamp::UNIX_EPOCH;
        TokenInfo {
            id: "tok_1".to_owned(),
            name: "anna".to_owned(),
            role: role.into(),
            issuer_name: "admin".to_owned(),
            exp: lifetime.map(|seconds| Timestamp::from_second(seconds).unwrap()),
            created_at,
            issuer_id: None,
            last_used_at: None,
            last_used_address: None,
        }
    }

    #[test]
    fn who_is_told_and_when() {
        let told = |lifetime: i64, used: i64| {
            near(&token(Some(lifetime), Role::User), Timestamp::from_second(used).unwrap()).is_some()
        };
        // 30 days: the last 14 days. 20 days: the second half. 14 days or 2 hours: never.
        for (lifetime, from) in [(30 * DAY, 16 * DAY), (365 * DAY, 351 * DAY), (20 * DAY, 10 * DAY)] {
            assert!(!told(lifetime, 0) && !told(lifetime, from - 1), "{lifetime}");
            assert!(told(lifetime, from) && told(lifetime, lifetime - 1) && told(lifetime, lifetime + 1), "{lifetime}");
        }
        for lifetime in [14 * DAY, 2 * HOUR] {
            assert!(!told(lifetime, 0) && !told(lifetime, lifetime - 1), "{lifetime}");
        }
        assert_eq!(near(&token(None, Role::User), Timestamp::MAX), None);
    }

    #[test]
    fn name_end_and_remedy() {
        let text = |role, used| near(&token(Some(30 * DAY), role), Timestamp::from_second(used).unwrap()).unwrap().text;
        let user = text(Role::User, 24 * DAY);
        assert!(
            user.starts_with(
                "the access token 'anna' expires in 6 days, at 1970-01-31 00:00 UTC: before then, ask an Administrator"
            ),
            "{user}"
        );
        let admin = text(Role::Administrator, 30 * DAY - 90);
        assert!(admin.contains("expires in 1 minute, ") && admin.contains("create a registration token"), "{admin}");
        assert!(text(Role::User, 29 * DAY - HOUR).contains("in 1 day,"));
        assert!(text(Role::User, 29 * DAY + HOUR).contains("in 23 hours,"));
    }
}

//! `mlp token`: access tokens.

use mlplatform_client::{
    profile::{Profile, Profiles},
    sources::Source,
};
use mlplatform_protocol::{Secret, TokenInfo};

use crate::{
    args::Token,
    context::Context,
    failure::{Code, Failure},
    output::{moment, moment_or, word},
};

/// The lifetime of a registration token that is redeemed at once.
const AT_ONCE: &str = "5m";

pub(crate) async fn run(context: &Context, command: Token) -> Result<(), Failure> {
    let output = context.output;
    match command {
        Token::Create { name, token_type, refresh_ttl } => {
            let client = context.client().await?;
            let at_once = AT_ONCE.parse().map_err(|_| Failure::failed("the lifetime of a registration token"))?;
            let register = client.create_register_token(&name, at_once, refresh_ttl, token_type.into(), None).await?;
            let token = client.create_refresh_token(register, None).await?;
            output.say(&format!("the access token '{name}', shown only once:"))?;
            output.value("refresh_token", token.expose())
        }
        Token::List => {
            let all = context.client().await?.get_project_tokens_info(None).await?;
            output.list(&["NAME", "TYPE", "EXPIRES", "LAST USED", "ISSUER", "ID"], &all, |info| {
                vec![
                    info.name.clone(),
                    word(&info.role),
                    moment_or(info.exp, "never"),
                    moment_or(info.last_used_at, "never"),
                    info.issuer_name.clone(),
                    info.id.clone(),
                ]
            })
        }
        Token::Show { name } => {
            let all = context.client().await?.get_project_tokens_info(None).await?;
            let found = all.into_iter().find(|info| info.name == name || info.id == name);
            let info = found.ok_or_else(|| {
                Failure::new(
                    Code::NotFound,
                    format!("there is no valid access token '{name}': mlp token list shows all"),
                )
            })?;
            output.one(&info, &fields(&info))
        }
        Token::Delete { name } => {
            context.client().await?.delete_token(&name, None).await?;
            output.say(&format!("deleted the access token '{name}'"))
        }
        Token::Rotate { name, overlap } => {
            let client = context.client().await?;
            let own = own_profile(context, &name).await?;
            let token = client.rotate_token(&name, overlap, None).await?;
            if let Some((profiles, profile)) = own {
                keep(context, &profiles, profile, &token)?;
            }
            output.say(&format!("the new value of the access token '{name}', shown only once:"))?;
            output.value("refresh_token", token.expose())
        }
    }
}

/// The profile with the rotated token, whose file needs the new value.
async fn own_profile(context: &Context, name: &str) -> Result<Option<(Profiles, String)>, Failure> {
    let Source::Profile(profile) = context.token_from()? else { return Ok(None) };
    if context.client().await?.who_am_i(None).await?.name != name {
        return Ok(None);
    }
    let Some(profiles) = Profiles::of(|name| std::env::var_os(name)) else { return Ok(None) };
    // Warn now, not when the old value has expired.
    profiles.check_writable(&profile)?;
    Ok(Some((profiles, profile)))
}

fn keep(context: &Context, profiles: &Profiles, name: String, token: &Secret) -> Result<(), Failure> {
    let profile = Profile { name, token: Some(token.clone()), ..Profile::default() };
    match profiles.save(&profile) {
        Ok(()) => context.output.say(&format!("the profile '{}' has the new value", profile.name)),
        Err(error) => context.output.warn(&format!("{error}: sign in with the new value (mlp auth login)")),
    }
}

/// The columns of a token.
pub(crate) fn fields(info: &TokenInfo) -> Vec<(&'static str, String)> {
    let mut used = moment_or(info.last_used_at, "never");
    if let Some(address) = &info.last_used_address {
        used = format!("{used} from {address}");
    }
    vec![
        ("name", info.name.clone()),
        ("id", info.id.clone()),
        ("type", word(&info.role)),
        ("issuer", info.issuer_name.clone()),
        ("created", moment(info.created_at)),
        ("expires", moment_or(info.exp, "never")),
        ("last used", used),
    ]
}

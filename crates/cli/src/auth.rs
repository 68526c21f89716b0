//! `mlp auth`: login, logout, settings.

use mlplatform_client::{
    Config, Error,
    login::{Login, overridden},
    profile::Profiles,
};
use serde_json::json;

use crate::{args::Auth, context::Context, failure::Failure, prompt, token::fields};

pub(crate) async fn run(context: &Context, command: Auth) -> Result<(), Failure> {
    match command {
        Auth::Login => login(context).await,
        Auth::Logout => logout(context),
        Auth::Describe => describe(context),
        Auth::Whoami => {
            let info = context.client().await?.who_am_i(None).await?;
            context.output.one(&info, &fields(&info))
        }
    }
}

async fn login(context: &Context) -> Result<(), Failure> {
    let output = context.output;
    let login = Login::prepare(context.given(), |name| std::env::var_os(name), true)?;
    let question = format!("Token for {} (access or registration token, not shown): ", login.url());
    // The prompt blocks a thread of its own, so that Ctrl-C is handled meanwhile.
    let pasted = tokio::task::spawn_blocking(move || prompt::token(&question)).await;
    let pasted = pasted.map_err(|error| Failure::failed(error.to_string()))??;
    let done = login.finish(pasted).await?;
    let saved = match done.saved.transpose() {
        Ok(saved) => saved,
        Err(error) => {
            // The token was created and cannot be retrieved later.
            output.warn(&format!("{error}; the new access token, which was not stored, is:"))?;
            output.value("refresh_token", done.token.expose())?;
            None
        }
    };
    let who = match &done.info {
        Ok(info) => format!(" as '{}' ({})", info.name, crate::output::word(&info.role)),
        Err(error) => {
            output.warn(&error.to_string())?;
            String::new()
        }
    };
    let kept = saved.as_ref().map(|_| format!("; stored in profile '{}'", login.profile())).unwrap_or_default();
    output.say(&format!("signed in to {}{who}{kept}", login.url()))?;
    if let Some(problem) = overridden(|name| std::env::var_os(name), login.profile()) {
        output.warn(&problem)?;
    }
    Ok(())
}

fn logout(context: &Context) -> Result<(), Failure> {
    let environment = |name: &str| std::env::var_os(name);
    let name = Config::profile(&context.given(), environment)?;
    let none =
        || Error::configuration("there is no folder for profiles: neither XDG_CONFIG_HOME nor HOME is set".to_owned());
    let profiles = Profiles::of(environment).ok_or_else(none)?;
    if !profiles.forget_token(&name)? {
        return context.output.say(&format!("the profile '{name}' has no token"));
    }
    context.output.say(&format!(
        "removed the token of the profile '{name}' from this machine; it stays valid until an Administrator deletes it (mlp token delete)"
    ))
}

fn describe(context: &Context) -> Result<(), Failure> {
    let all = Config::describe(context.given(), |name| std::env::var_os(name))?;
    if context.output.is_json() {
        let all = all.iter().map(
            |line| json!({"setting": line.setting.name, "value": line.value, "from": line.from.describe(line.setting)}),
        );
        return context.output.json(&all.collect::<Vec<_>>());
    }
    let rows: Vec<[String; 3]> = all
        .iter()
        .map(|line| {
            let value = line.value.clone();
            let from = if value.is_some() { line.from.describe(line.setting) } else { "not set".to_owned() };
            [line.setting.name.to_owned(), value.unwrap_or_else(|| "-".to_owned()), from]
        })
        .collect();
    context.output.list(&["SETTING", "VALUE", "FROM"], &rows, |row| row.to_vec())
}

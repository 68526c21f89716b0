//! `mlp register`: registration tokens.

use crate::{
    args::Register,
    context::Context,
    failure::Failure,
    output::{moment, word},
    prompt,
};

pub(crate) async fn run(context: &Context, command: Register) -> Result<(), Failure> {
    let output = context.output;
    match command {
        Register::Create { name, access_ttl, refresh_ttl, token_type } => {
            let client = context.client().await?;
            let token = client.create_register_token(&name, access_ttl, refresh_ttl, token_type.into(), None).await?;
            output.say(&format!("a registration token for '{name}', to be redeemed once within {access_ttl}:"))?;
            output.value("register_token", token.expose())
        }
        Register::Redeem => {
            let client = context.client().await?;
            let question = "Registration token (not shown): ";
            let pasted = tokio::task::spawn_blocking(move || prompt::token(question)).await;
            let pasted = pasted.map_err(|error| Failure::failed(error.to_string()))??;
            let token = client.create_refresh_token(pasted, None).await?;
            output.say("the access token, shown only once (mlp auth login would store it):")?;
            output.value("refresh_token", token.expose())
        }
        Register::List => {
            let all = context.client().await?.get_register_tokens_info(None).await?;
            output.list(
                &["NAME", "TYPE", "STATE", "EXPIRES", "REDEEMED FROM", "REPLAYS", "ISSUER", "ID"],
                &all,
                |info| {
                    vec![
                        info.client_name.clone(),
                        word(&info.role),
                        word(&info.state),
                        moment(info.exp),
                        info.redeemed_address.clone().unwrap_or_else(|| "-".to_owned()),
                        info.replay_count.to_string(),
                        info.issuer_name.clone(),
                        info.id.clone(),
                    ]
                },
            )
        }
        Register::Withdraw { id } => {
            context.client().await?.delete_register_token(&id, None).await?;
            output.say(&format!("withdrew the registration token {id}"))
        }
    }
}

//! `mlp secret` and `mlp configmap`.

use mlplatform_client::objects::configmap_yaml;

use crate::{
    args::{Configmap, Secret},
    context::Context,
    failure::Failure,
};

pub(crate) async fn secret(context: &Context, command: Secret) -> Result<(), Failure> {
    let output = context.output;
    let id = context.cluster(command.place().cluster.cluster.as_deref()).await?;
    let client = context.client().await?;
    match command {
        Secret::Create { file, place } => {
            let info = client.create_secret_from_yaml(&id, file, place.namespace, None).await?;
            output.say(&format!("created the secret '{}'", info.name))
        }
        Secret::List { place } => {
            let names = client.list_secrets(&id, &place.namespace, None).await?;
            output.list(&["NAME"], &names, |name| vec![name.clone()])
        }
        Secret::Show { name, place } => {
            let info = client.get_secret_detail(&id, &name, place.namespace, None).await?;
            let mut fields =
                vec![("name", info.name.clone()), ("namespace", info.namespace.clone()), ("type", info.kind.clone())];
            fields.extend(info.data.iter().map(|(key, mask)| ("data", format!("{key}: {mask}"))));
            output.one(&info, &fields)
        }
        Secret::Delete { name, place } => {
            client.delete_secret(&id, &name, place.namespace, None).await?;
            output.say(&format!("deleted the secret '{name}'"))
        }
    }
}

pub(crate) async fn configmap(context: &Context, command: Configmap) -> Result<(), Failure> {
    let output = context.output;
    let id = context.cluster(command.place().cluster.cluster.as_deref()).await?;
    let client = context.client().await?;
    match command {
        Configmap::Create { file, place } => {
            let info = client.create_configmap_from_yaml(&id, file, place.namespace, None).await?;
            output.say(&format!("created the config map '{}'", info.name))
        }
        Configmap::List { place } => {
            let names = client.list_configmaps(&id, &place.namespace, None).await?;
            output.list(&["NAME"], &names, |name| vec![name.clone()])
        }
        Configmap::Show { name, place } => {
            let info = client.get_configmap_detail(&id, &name, place.namespace, None).await?;
            if output.is_json() { output.json(&info) } else { output.text("yaml", &configmap_yaml(&info)) }
        }
        Configmap::Delete { name, place } => {
            client.delete_configmap(&id, &name, place.namespace, None).await?;
            output.say(&format!("deleted the config map '{name}'"))
        }
    }
}

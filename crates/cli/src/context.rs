//! The context of a command: settings, client, output, cluster.

use std::{sync::Arc, time::Duration};

use mlplatform_client::{
    Client, Config, Given, config, protocol::clusters::ClusterInfo, settings::REFRESH_TOKEN, sources::Source,
};
use tokio::sync::OnceCell;

use crate::{
    args::Global,
    failure::{Code, Failure},
    output::Output,
};

/// The context of one invocation.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
    client: OnceCell<Arc<Client>>,
}

impl Context {
    pub(crate) fn new(global: Global, output: Output) -> Self {
        Self { global, output, client: OnceCell::new() }
    }

    /// The settings given as options.
    pub(crate) fn given(&self) -> Given {
        Given {
            url: self.global.url.clone(),
            profile: self.global.profile.clone(),
            ca_bundle: self.global.ca_bundle.clone(),
            timeout: self.global.timeout,
            ..Given::default()
        }
    }

    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(Config::resolve(self.given(), |name| std::env::var_os(name))?)
    }

    /// The timeout of a wait, if `--timeout` is given. The configured timeout is for single calls only.
    pub(crate) fn wait_timeout(&self) -> Result<Option<Duration>, Failure> {
        let wrong = |problem| Failure::usage(format!("--timeout: {problem}"));
        self.global.timeout.map(config::timeout).transpose().map_err(wrong)
    }

    /// The source of the access token.
    pub(crate) fn token_from(&self) -> Result<Source, Failure> {
        let all = Config::describe(self.given(), |name| std::env::var_os(name))?;
        let token = all.into_iter().find(|line| line.setting.name == REFRESH_TOKEN.name);
        Ok(token.map_or(Source::Default, |line| line.from))
    }

    pub(crate) async fn client(&self) -> Result<&Arc<Client>, Failure> {
        self.client
            .get_or_try_init(|| async {
                let config = self.config()?;
                if config.plain_http {
                    self.output.warn("tokens are sent unencrypted, because allow_http is set")?;
                }
                Ok(Arc::new(Client::new(&config)?))
            })
            .await
    }

    /// The id of a cluster, by id or name; without either, of the only one.
    pub(crate) async fn cluster(&self, named: Option<&str>) -> Result<String, Failure> {
        let all = self.client().await?.get_clusters(None).await?;
        choose(&all, named).map(|cluster| cluster.id.clone())
    }
}

fn choose<'a>(all: &'a [ClusterInfo], named: Option<&str>) -> Result<&'a ClusterInfo, Failure> {
    let names = || all.iter().map(|cluster| cluster.name.as_str()).collect::<Vec<_>>().join(", ");
    match (named, all) {
        (Some(named), _) => all.iter().find(|cluster| cluster.id == named || cluster.name == named).ok_or_else(|| {
            let there = if all.is_empty() {
                "there are no clusters".to_owned()
            } else {
                format!("the clusters are {}", names())
            };
            Failure::new(Code::NotFound, format!("there is no cluster '{named}': {there}"))
        }),
        (None, [only]) => Ok(only),
        (None, []) => Err(Failure::new(Code::NotFound, "there is no cluster")),
        (None, _) => Err(Failure::usage(format!("there are several clusters: {}", names()))
            .hint("select one with --cluster or MLP_CLUSTER")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_only_cluster_need_not_be_named() {
        let cluster = |name: &str| -> ClusterInfo {
            serde_json::from_value(json!({"id": format!("id-{name}"), "name": name, "status": "RUNNING"})).unwrap()
        };
        let two = [cluster("a"), cluster("b")];
        assert_eq!(choose(&two[..1], None).unwrap().id, "id-a");
        assert_eq!(choose(&two, Some("b")).unwrap().id, "id-b");
        assert_eq!(choose(&two, Some("id-a")).unwrap().id, "id-a");
        for (all, named, code) in
            [(&two[..], None, Code::Usage), (&two, Some("c"), Code::NotFound), (&[], None, Code::NotFound)]
        {
            assert_eq!(choose(all, named).unwrap_err().code, code);
        }
    }
}

//! Methods for secrets and config maps. Their YAML is parsed here, so that an error names the line before a request is sent.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use mlplatform_protocol::{
    objects::{
        ConfigmapInfo, ConfigmapRequest, CreateConfigmapRequest, CreateSecretRequest, ListObjectsRequest, SecretInfo,
        SecretRequest,
    },
    routes::{
        CreateConfigmapFromYaml, CreateSecretFromYaml, DeleteConfigmap, DeleteSecret, GetConfigmapDetail,
        GetSecretDetail, ListConfigmaps, ListSecrets,
    },
    yaml::{self, MAX_BYTES, Node},
};
use tokio::io::AsyncReadExt;

use crate::{client::Client, clusters::cluster_id, error::Error, object_form};

impl Client {
    /// Creates a secret from a YAML file.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn create_secret_from_yaml(
        &self,
        cluster: &str,
        path: PathBuf,
        namespace: String,
        timeout: Option<Duration>,
    ) -> Result<SecretInfo, Error> {
        const ARGUMENT: &str = "secret_yaml_path";
        let (cluster_id, deadline) = (cluster_id(cluster)?, self.deadline(timeout));
        let yaml = file(ARGUMENT, &path).await?;
        let form = object_form::secret(&yaml, &namespace).map_err(|problem| told(ARGUMENT, &path, problem))?;
        let request = CreateSecretRequest { cluster_id, namespace, name: form.name, kind: form.kind, data: form.data };
        self.call::<CreateSecretFromYaml>(&request, deadline).await
    }

    /// Creates a config map from a YAML file.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn create_configmap_from_yaml(
        &self,
        cluster: &str,
        path: PathBuf,
        namespace: String,
        timeout: Option<Duration>,
    ) -> Result<ConfigmapInfo, Error> {
        const ARGUMENT: &str = "configmap_yaml_path";
        let (cluster_id, deadline) = (cluster_id(cluster)?, self.deadline(timeout));
        let yaml = file(ARGUMENT, &path).await?;
        let form = object_form::configmap(&yaml, &namespace).map_err(|problem| told(ARGUMENT, &path, problem))?;
        let object_form::ConfigmapForm { name, data, binary_data } = form;
        let request = CreateConfigmapRequest { cluster_id, namespace, name, data, binary_data };
        self.call::<CreateConfigmapFromYaml>(&request, deadline).await
    }

    /// The names of the secrets in a namespace.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn list_secrets(
        &self,
        cluster: &str,
        namespace: &str,
        timeout: Option<Duration>,
    ) -> Result<Vec<String>, Error> {
        let request = list(cluster, namespace)?;
        self.call_pages::<ListSecrets, _>(|page| of_page(&request, page), self.deadline(timeout)).await
    }

    /// The names of the config maps in a namespace.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn list_configmaps(
        &self,
        cluster: &str,
        namespace: &str,
        timeout: Option<Duration>,
    ) -> Result<Vec<String>, Error> {
        let request = list(cluster, namespace)?;
        self.call_pages::<ListConfigmaps, _>(|page| of_page(&request, page), self.deadline(timeout)).await
    }

    /// A secret, without its values.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_secret_detail(
        &self,
        cluster: &str,
        secret_name: &str,
        namespace: String,
        timeout: Option<Duration>,
    ) -> Result<SecretInfo, Error> {
        let secret_name = name("secret_name", secret_name)?;
        let request = SecretRequest { cluster_id: cluster_id(cluster)?, secret_name, namespace };
        self.call::<GetSecretDetail>(&request, self.deadline(timeout)).await
    }

    /// A config map.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_configmap_detail(
        &self,
        cluster: &str,
        configmap_name: &str,
        namespace: String,
        timeout: Option<Duration>,
    ) -> Result<ConfigmapInfo, Error> {
        let configmap_name = name("configmap_name", configmap_name)?;
        let request = ConfigmapRequest { cluster_id: cluster_id(cluster)?, configmap_name, namespace };
        self.call::<GetConfigmapDetail>(&request, self.deadline(timeout)).await
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn delete_secret(
        &self,
        cluster: &str,
        secret_name: &str,
        namespace: String,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        let secret_name = name("secret_name", secret_name)?;
        let request = SecretRequest { cluster_id: cluster_id(cluster)?, secret_name, namespace };
        self.call::<DeleteSecret>(&request, self.deadline(timeout)).await
    }

    /// Deletes a config map.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn delete_configmap(
        &self,
        cluster: &str,
        configmap_name: &str,
        namespace: String,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        let configmap_name = name("configmap_name", configmap_name)?;
        let request = ConfigmapRequest { cluster_id: cluster_id(cluster)?, configmap_name, namespace };
        self.call::<DeleteConfigmap>(&request, self.deadline(timeout)).await
    }
}

/// The printed form of a config map.
#[must_use]
pub fn configmap_yaml(info: &ConfigmapInfo) -> String {
    let ConfigmapInfo { data, binary_data, name, namespace } = info;
    let texts = |values: &BTreeMap<String, String>| {
        let mut texts = yaml::Mapping::default();
        for (key, value) in values {
            texts.set(key, Node::text(value));
        }
        Node::made(yaml::Value::Mapping(texts))
    };
    let mut all = Node::mapping();
    if let Some(all) = all.as_mapping_mut() {
        all.set("data", texts(data));
        if !binary_data.is_empty() {
            all.set("binaryData", texts(binary_data));
        }
        all.set("name", Node::text(name));
        all.set("namespace", Node::text(namespace));
    }
    yaml::write(&all)
}

fn list(cluster: &str, namespace: &str) -> Result<ListObjectsRequest, Error> {
    Ok(ListObjectsRequest {
        cluster_id: cluster_id(cluster)?,
        namespace: namespace.to_owned(),
        limit: None,
        cursor: None,
    })
}

fn of_page(request: &ListObjectsRequest, page: mlplatform_protocol::PageRequest) -> ListObjectsRequest {
    ListObjectsRequest { limit: page.limit, cursor: page.cursor, ..request.clone() }
}

/// Checks a name: in a path, an invalid one could select another route.
fn name(argument: &'static str, text: &str) -> Result<String, Error> {
    let name = mlplatform_protocol::objects::ObjectName::new(text.trim());
    name.map(|name| name.to_string()).map_err(|problem| Error::argument(argument, problem))
}

/// Reads at most the size limit of a manifest.
async fn file(argument: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    let read = async {
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    read.await.map_err(|error| told(argument, path, error.to_string()))
}

fn told(argument: &'static str, path: &Path, problem: String) -> Error {
    Error::argument(argument, format!("'{}': {problem}", path.display()))
}

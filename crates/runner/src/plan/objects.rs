//! References to secrets and config maps.

/// A secret or a config map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which of the two.
    pub kind: ObjectKind,
    /// In the job's namespace.
    pub name: String,
    /// Its absence is no error.
    pub optional: bool,
}

impl Object {
    /// The error text for an object that does not exist.
    #[must_use]
    pub fn missing(&self) -> String {
        let (kind, name) = (self.kind.name(), &self.name);
        let make = match self.kind {
            ObjectKind::Secret => "create_secret_from_yaml",
            ObjectKind::ConfigMap => "create_configmap_from_yaml",
        };
        format!("the {kind} '{name}' does not exist in the cluster: an Administrator makes one with {make}")
    }
}

/// The kind of an object of Kubernetes that jobs are configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Its values are kept from people.
    Secret,
    /// Its values are for everybody.
    ConfigMap,
}

impl ObjectKind {
    /// As Kubernetes names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

//! The table of routes. Only this file contains paths: to use a vendor's path, change one line here.
//!
//! Each line defines a type for the call ([`Endpoint`]), so that client and server cannot disagree about method, path, role,
//! request or answer. Fields of a request replace the `{…}` of the same name in the path; the others are the query of a GET or
//! DELETE, or the JSON body of a POST.

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{audit::*, clusters::*, connect::*, jobs::*, oauth::*, objects::*, page::*, tokens::*};

/// Access to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Public; no credential is sent or read.
    Public,
    /// A session of any role.
    User,
    /// A session of an Administrator.
    Administrator,
}

impl Access {
    /// The scope that a session needs, as in error texts.
    #[must_use]
    pub const fn scope(self) -> Option<&'static str> {
        match self {
            Self::Public => None,
            Self::User => Some("ml-platform:Use"),
            Self::Administrator => Some("ml-platform:Manage"),
        }
    }

    /// Whether a token of that role has access.
    #[must_use]
    pub const fn allows(self, role: Role) -> bool {
        matches!((self, role), (Self::Public | Self::User, _) | (_, Role::Administrator))
    }
}

/// The effect of a repeated request, after a lost answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Idempotent.
    Harmless,
    /// The request carries an idempotency key and a rising attempt number. The server does the work once for a
    /// key; where the answer carries a secret, a higher attempt withdraws what the one before made, if it was
    /// never used, and makes it anew, and a lower or equal attempt is refused: no secret is sent twice.
    Keyed,
}

/// The origin of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Published by the vendor.
    Vendor,
    /// Defined by this project, because the vendor's is not public.
    Project,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name, which is that of the Python method.
    pub name: &'static str,
    /// GET, POST or DELETE.
    pub method: Method,
    /// The path, with `{field}` in place of a field of the request.
    pub path: &'static str,
    /// Access to a route.
    pub access: Access,
    /// The effect of a repeated request.
    pub repeat: Repeat,
    /// Its origin.
    pub origin: Origin,
    /// The status of a success.
    pub success: u16,
}

/// A call: its route, request and response types.
pub trait Endpoint {
    /// Its line of the table.
    const ROUTE: Route;
    /// The request.
    type Request: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The response.
    type Response: Serialize + DeserializeOwned + Send;
}

macro_rules! endpoints {
    ($($(#[doc = $doc:literal])* $endpoint:ident $name:literal: $method:ident $path:literal, $access:ident, $repeat:ident, $origin:ident, $success:literal, $request:ty => $response:ty;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $endpoint;

            impl Endpoint for $endpoint {
                const ROUTE: Route = Route {
                    name: $name,
                    method: Method::$method,
                    path: $path,
                    access: Access::$access,
                    repeat: Repeat::$repeat,
                    origin: Origin::$origin,
                    success: $success,
                };
                type Request = $request;
                type Response = $response;
            }
        )*

        /// Every route.
        pub const ROUTES: &[Route] = &[$($endpoint::ROUTE,)*];
    };
}

/// Calls a macro with the table: each line is one route.
macro_rules! with_routes {
    ($callback:ident) => {
        $callback! {
            /// Whether the platform is up.
            Healthz "healthz": GET "/healthz", Public, Harmless, Project, 200, Nothing => Health;
            /// Whether the platform should get requests: 503 says which check fails.
            Readyz "readyz": GET "/readyz", Public, Harmless, Project, 200, Nothing => Readiness;
            /// The metrics of this server, in the text format of OpenMetrics.
            Metrics "metrics": GET "/metrics", Administrator, Harmless, Project, 200, Nothing => Exposition;
            /// This API, as OpenAPI describes one.
            OpenApi "openapi": GET "/openapi.json", Public, Harmless, Project, 200, Nothing => Map<String, Value>;
            /// Exchanges an access token for a session.
            CreateSession "create_session": POST "/v1_0/sessions", Public, Harmless, Project, 201, CreateSessionRequest => Session;
            /// Exchanges an access token's name and value for a session: OAuth 2.0 client credentials.
            CreateOauthToken "create_oauth_token": POST "/iam/hydra/oauth2/token", Public, Harmless, Vendor, 200, OauthTokenRequest => OauthToken;
            /// Makes a registration token.
            CreateRegisterToken "create_register_token": POST "/v1_0/register-tokens", Administrator, Keyed, Project, 201, CreateRegisterTokenRequest => CreatedRegisterToken;
            /// The registration tokens, whatever became of them.
            GetRegisterTokensInfo "get_register_tokens_info": GET "/v1_0/register-tokens", Administrator, Harmless, Project, 200, PageRequest => Page<RegisterTokenInfo>;
            /// Withdraws a registration token by its id. Once more changes nothing.
            DeleteRegisterToken "delete_register_token": DELETE "/v1_0/register-tokens", Administrator, Harmless, Project, 204, DeleteRegisterTokenRequest => ();
            /// Redeems a registration token for an access token.
            CreateRefreshToken "create_refresh_token": POST "/v1_0/tokens", Public, Keyed, Project, 201, CreateRefreshTokenRequest => CreatedRefreshToken;
            /// Deletes an access token by its name.
            DeleteToken "delete_token": DELETE "/v1_0/tokens", Administrator, Keyed, Project, 204, DeleteTokenRequest => ();
            /// Gives an access token a new secret. A User may do that with its own token, an Administrator with any.
            RotateToken "rotate_token": POST "/v1_0/tokens/rotate", User, Keyed, Project, 201, RotateTokenRequest => RotatedToken;
            /// Deletes all access tokens that one issuer made.
            DeleteIssuerTokens "delete_issuer_tokens": DELETE "/v1_0/tokens/issued", Administrator, Keyed, Project, 200, DeleteIssuerTokensRequest => DeletedTokens;
            /// The caller's own token.
            WhoAmI "who_am_i": GET "/v1_0/tokens/self", User, Harmless, Project, 200, Nothing => TokenInfo;
            /// The living access tokens.
            GetProjectTokensInfo "get_project_tokens_info": GET "/v1_0/tokens", Administrator, Harmless, Project, 200, PageRequest => Page<TokenInfo>;
            /// Makes a cluster. The slash at the end is the vendor's.
            CreateCluster "create_cluster": POST "/v1_0/magnum/", Administrator, Keyed, Vendor, 201, CreateClusterRequest => ClusterInfo;
            /// The clusters.
            GetClusters "get_clusters": GET "/v1_0/magnum/", User, Harmless, Project, 200, PageRequest => Page<ClusterInfo>;
            /// A cluster.
            GetClusterInfo "get_cluster_info": GET "/v1_0/magnum/{cluster_id}", User, Harmless, Vendor, 200, ClusterRequest => ClusterInfo;
            /// Deletes a cluster.
            DeleteCluster "delete_cluster": DELETE "/v1_0/magnum/{cluster_id}", Administrator, Keyed, Vendor, 204, ClusterRequest => ();
            /// Says when an inactive cluster is deleted.
            SetClusterDeleteTime "set_cluster_delete_time": POST "/v1_0/magnum/{cluster_id}/delete-time", Administrator, Harmless, Project, 200, ClusterTimeRequest => ClusterInfo;
            /// An inactive cluster is not deleted any more.
            RemoveClusterDeleteTime "remove_cluster_delete_time": DELETE "/v1_0/magnum/{cluster_id}/delete-time", Administrator, Harmless, Project, 200, ClusterRequest => ClusterInfo;
            /// Says when an inactive cluster is suspended.
            SetClusterSuspendTime "set_cluster_suspend_time": POST "/v1_0/magnum/{cluster_id}/suspend-time", Administrator, Harmless, Project, 200, ClusterTimeRequest => ClusterInfo;
            /// An inactive cluster is not suspended any more.
            RemoveClusterSuspendTime "remove_cluster_suspend_time": DELETE "/v1_0/magnum/{cluster_id}/suspend-time", Administrator, Harmless, Project, 200, ClusterRequest => ClusterInfo;
            /// Starts a suspended cluster.
            WakeUpCluster "wake_up_cluster": POST "/v1_0/magnum/{cluster_id}/wake-up", Administrator, Keyed, Project, 204, ClusterRequest => ();
            /// Makes a secret. Its YAML is read by the client.
            CreateSecretFromYaml "create_secret_from_yaml": POST "/v1_0/magnum/{cluster_id}/secrets", Administrator, Keyed, Project, 201, CreateSecretRequest => SecretInfo;
            /// The names of the secrets.
            ListSecrets "list_secrets": GET "/v1_0/magnum/{cluster_id}/secrets", User, Harmless, Project, 200, ListObjectsRequest => Page<String>;
            /// A secret, without its values.
            GetSecretDetail "get_secret_detail": GET "/v1_0/magnum/{cluster_id}/secrets/{secret_name}", User, Harmless, Project, 200, SecretRequest => SecretInfo;
            /// Deletes a secret.
            DeleteSecret "delete_secret": DELETE "/v1_0/magnum/{cluster_id}/secrets/{secret_name}", Administrator, Keyed, Project, 204, SecretRequest => ();
            /// Makes a config map. Its YAML is read by the client.
            CreateConfigmapFromYaml "create_configmap_from_yaml": POST "/v1_0/magnum/{cluster_id}/configmaps", Administrator, Keyed, Project, 201, CreateConfigmapRequest => ConfigmapInfo;
            /// The names of the config maps.
            ListConfigmaps "list_configmaps": GET "/v1_0/magnum/{cluster_id}/configmaps", User, Harmless, Project, 200, ListObjectsRequest => Page<String>;
            /// A config map.
            GetConfigmapDetail "get_configmap_detail": GET "/v1_0/magnum/{cluster_id}/configmaps/{configmap_name}", User, Harmless, Project, 200, ConfigmapRequest => ConfigmapInfo;
            /// Deletes a config map.
            DeleteConfigmap "delete_configmap": DELETE "/v1_0/magnum/{cluster_id}/configmaps/{configmap_name}", Administrator, Keyed, Project, 204, ConfigmapRequest => ();
            /// What the machines of a cluster have and use.
            TopNodesInfo "top_nodes_info": GET "/v1_0/magnum/{cluster_id}/nodes", User, Harmless, Project, 200, ClusterRequest => NodesUsage;
            /// Submits a job.
            SparkSubmitJob "spark_submit_job": POST "/v1_0/magnum/{cluster_id}/jobs", User, Keyed, Project, 201, SubmitJobRequest => JobInfo;
            /// The jobs of a cluster.
            SparkJobsList "spark_jobs_list": GET "/v1_0/magnum/{cluster_id}/jobs", User, Harmless, Project, 200, OfClusterRequest => Page<JobInfo>;
            /// A job and its driver.
            SparkJobInfo "spark_job_info": GET "/v1_0/magnum/{cluster_id}/jobs/{job_name}", User, Harmless, Project, 200, JobRequest => JobDetail;
            /// The log of a job, as bytes.
            SparkJobLogs "spark_job_logs": GET "/v1_0/magnum/{cluster_id}/jobs/{job_name}/logs", User, Harmless, Project, 200, JobLogsRequest => ();
            /// A job's SparkApplication with its state and events.
            DescribeSparkJob "describe_spark_job": GET "/v1_0/magnum/{cluster_id}/jobs/{job_name}/description", User, Harmless, Project, 200, JobRequest => Value;
            /// Ends and deletes a job.
            SparkDeleteJob "spark_delete_job": DELETE "/v1_0/magnum/{cluster_id}/jobs/{job_name}", User, Keyed, Project, 204, JobRequest => ();
            /// What happened on a cluster.
            SparkEvents "spark_events": GET "/v1_0/magnum/{cluster_id}/events", User, Harmless, Project, 200, OfClusterRequest => Page<JobEvent>;
            /// The open sessions of Spark Connect.
            GetSparkSessions "get_spark_sessions": GET "/v1_0/magnum/{cluster_id}/spark-sessions", User, Harmless, Project, 200, ClusterRequest => SparkSessions;
            /// Closes a session of Spark Connect. A User may close its own.
            CloseSparkSession "close_spark_session": DELETE "/v1_0/magnum/{cluster_id}/spark-sessions/{session_id}", User, Keyed, Project, 204, SparkSessionRequest => ();
            /// Adds to what the Connect server loads.
            AddSparkConnectJars "add_spark_connect_jars": POST "/v1_0/magnum/{cluster_id}/spark-connect", Administrator, Harmless, Project, 200, AddJarsRequest => SparkConnectSettings;
            /// Why a job is where it is.
            SparkJobExplain "spark_job_explain": GET "/v1_0/magnum/{cluster_id}/jobs/{job_name}/explanation", User, Harmless, Project, 200, JobRequest => Explanation;
            /// What changed among the jobs of a cluster: a long poll.
            WaitForSparkJob "wait_for_spark_job": GET "/v1_0/magnum/{cluster_id}/job-changes", User, Harmless, Project, 200, JobChangesRequest => JobChanges;
            /// Who did what, newest first.
            GetAudit "get_audit": GET "/v1_0/audit", Administrator, Harmless, Project, 200, AuditRequest => Page<AuditEntry>;
        }
    };
}
#[cfg(feature = "openapi")]
pub(crate) use with_routes;

with_routes!(endpoints);

/// All but what RFC 3986 leaves unreserved is escaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The largest body of a request, unless its route says otherwise: the largest of today has a thousandth of it.
pub const LARGEST_BODY: usize = 64 * 1024;

/// Whether a path is a route's, or begins as one does: whoever asks for it expects the contract's answers.
#[must_use]
pub fn is_below_one(path: &str) -> bool {
    let first = |path: &str| path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
    ROUTES.iter().any(|route| first(route.path) == first(path))
}

impl Route {
    /// Whether the body of a request is a form, as RFC 6749 requires, and not JSON.
    #[must_use]
    pub fn is_form(&self) -> bool {
        self.name == CreateOauthToken::ROUTE.name
    }

    /// The largest body that is read.
    #[must_use]
    pub fn largest_body(&self) -> usize {
        match self.name {
            // A name, a secret and the name of a cluster.
            "create_oauth_token" => 16 * 1024,
            // Base64 makes four bytes of three, and JSON at worst six of one; the rest comes on top.
            "create_secret_from_yaml" => MAX_OBJECT.div_ceil(3) * 4 + LARGEST_BODY,
            "create_configmap_from_yaml" => MAX_OBJECT * 6 + LARGEST_BODY,
            // Base64 makes four bytes of three; the manifest comes on top.
            "spark_submit_job" => LARGEST_PYCODE.div_ceil(3) * 4 + 1024 * 1024,
            _ => LARGEST_BODY,
        }
    }

    /// The path with the request's fields filled in, and the fields that are left for query or body.
    #[must_use]
    pub fn fill(&self, mut fields: Map<String, Value>) -> (String, Map<String, Value>) {
        let path = self.path.split('/').map(|segment| {
            let field = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match field.and_then(|field| fields.shift_remove(field)) {
                Some(Value::String(text)) => utf8_percent_encode(&text, SEGMENT).to_string(),
                Some(other) => utf8_percent_encode(&other.to_string(), SEGMENT).to_string(),
                None => segment.to_owned(),
            }
        });
        let path = path.collect::<Vec<_>>().join("/");
        (path, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_places_are_unique() {
        let mut names: Vec<_> = ROUTES.iter().map(|route| route.name).collect();
        let mut places: Vec<_> = ROUTES.iter().map(|route| (route.method.as_str(), route.path)).collect();
        names.sort_unstable();
        places.sort_unstable();
        names.dedup();
        places.dedup();
        assert_eq!((names.len(), places.len()), (ROUTES.len(), ROUTES.len()));
    }

    #[test]
    fn fields_go_where_the_path_names_them() {
        let route = Route { path: "/v1_0/magnum/{id}/jobs/{job}", ..WhoAmI::ROUTE };
        let Value::Object(fields) = json!({"id": "a/b c", "tail": 5, "job": "pi-1"}) else { unreachable!() };
        let (path, rest) = route.fill(fields);
        assert_eq!(path, "/v1_0/magnum/a%2Fb%20c/jobs/pi-1");
        assert_eq!(Value::Object(rest), json!({"tail": 5}));
    }

    #[test]
    fn paths_of_the_contract_are_told_from_others() {
        for path in ["/v1_0/tokens", "/v1_0/nothing", "/v1_0", "/healthz"] {
            assert!(is_below_one(path), "{path}");
        }
        for path in ["/", "", "/tokens", "/v1_00/tokens", "/sign-in"] {
            assert!(!is_below_one(path), "{path}");
        }
    }

    #[test]
    fn administrators_may_do_what_users_may() {
        for access in [Access::Public, Access::User, Access::Administrator] {
            assert!(access.allows(Role::Administrator));
        }
        assert!(Access::User.allows(Role::User) && !Access::Administrator.allows(Role::User));
    }
}

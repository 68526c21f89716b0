//! The methods of `spark.connect.SparkConnectService`. One that is not listed is refused: the gateway could not say
//! where in its messages the user is.

/// The prefix of their paths.
const SERVICE: &str = "/spark.connect.SparkConnectService/";

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// As in the path of a call.
    pub name: &'static str,
    /// Whether a call runs something, rather than asking about or ending what runs.
    pub runs: bool,
    /// Whether a call makes a session, if there is none of that id.
    pub opens: bool,
}

/// Those of Spark 3.4 to 4.3.
pub const METHODS: [Method; 12] = [
    Method { name: "ExecutePlan", runs: true, opens: true },
    Method { name: "AnalyzePlan", runs: false, opens: true },
    Method { name: "Config", runs: false, opens: true },
    Method { name: "AddArtifacts", runs: false, opens: true },
    Method { name: "ArtifactStatus", runs: false, opens: true },
    Method { name: "Interrupt", runs: false, opens: false },
    Method { name: "ReattachExecute", runs: true, opens: false },
    Method { name: "ReleaseExecute", runs: false, opens: false },
    Method { name: RELEASE_SESSION, runs: false, opens: false },
    Method { name: "FetchErrorDetails", runs: false, opens: false },
    Method { name: "CloneSession", runs: false, opens: true },
    Method { name: "GetStatus", runs: false, opens: false },
];

/// Ends a session.
pub const RELEASE_SESSION: &str = "ReleaseSession";

/// The method of a call's path.
pub(crate) fn of_path(path: &str) -> Option<Method> {
    let name = path.strip_prefix(SERVICE)?;
    METHODS.into_iter().find(|method| method.name == name)
}

/// The path of a method's calls.
pub(crate) fn path(method: &str) -> String {
    format!("{SERVICE}{method}")
}

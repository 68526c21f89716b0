//! Runs Spark jobs as processes of this machine, on the real Apache Spark.
//!
//! ```text
//! local              the runner: implements `mlplatform_runner::runner::Runner`
//! shared             what its parts share: settings, folders, what runs
//! folders            the folders of the data directory that jobs use
//! workspace          the folders and files of one job
//! preflight          checks before a job is taken or started
//! field_support      which fields of a manifest are supported, ignored, refused
//! environment        the variables and arguments of a job
//! java_options       Java options as Spark's launcher reads them
//! mounts             volume mounts, as files
//! paths              from the addresses in a manifest to paths
//! path_walk          the steps of a path, through links
//! file_access        access checks with the rights of the job
//! access_check       whether the jobs' user reaches Python, Java and Spark
//! subprocess         questions that are answered with the rights of the job
//! credentials        user and groups of a run
//! error              the error of a setting under which jobs must not run
//! job_user           the operating system's user of jobs
//! id_range, user_ids a range of ids, of which each job has its own
//! namespaces         what such a job sees of the machine
//! installation       which Spark, Java and Python there are
//! s3a                Hadoop's settings for a bucket that is a folder
//! proxy              the proxy settings that jobs inherit
//! launch             from a plan to a command, a configuration, an environment
//! run_job            the parent process of a run
//! node               what this machine has and uses
//! run_folder         the state of a run on disk
//! proc               processes as `/proc` shows them
//! process_tree, cgroup  telling a run's processes from all others, and ending them
//! disk               disk pressure and evictions
//! trash              removal of what jobs leave behind
//! ```
//!
//! It is given folders, settings and a store of ids; it knows of no database and no HTTP.

mod access_check;
mod cgroup;
mod credentials;
mod disk;

mod environment;
mod error;
mod field_support;
mod file_access;
mod folders;
mod id_range;
mod installation;
mod java_options;
mod job_user;
mod launch;
mod local;
mod mounts;
mod namespaces;
mod node;
pub mod path_walk;
mod paths;
mod preflight;
mod proc;
mod process_tree;
mod proxy;
mod run_folder;
mod run_job;
mod s3a;
mod shared;
mod subprocess;
mod trash;
mod user_ids;
mod workspace;

pub use error::JobUserError;
pub use file_access::check_files_for_jobs;
pub use folders::Folders;
pub use id_range::IdRange;
pub use installation::SparkConfig;
pub use job_user::{JobUsers, JobsAs};
pub use local::LocalRunner;
pub use mlplatform_runner::{disk_space, log::LogLimit};
pub use run_job::run_job;

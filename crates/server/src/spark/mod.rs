//! Jobs on the real Apache Spark of this machine.
//!
//! ```text
//! plan, quantity   what a manifest asks for
//! fields           what becomes of each field of it here
//! environment      the variables and arguments of a job
//! java_options     Java options as Spark's launcher reads them
//! mounts           config maps, secrets and folders that a job mounts, as files
//! places           where the files are that it names
//! files            whether they are there, asked with the rights of the job
//! job_user         the user that jobs run as
//! reach            whether that user reaches Python, Java and Spark
//! id_range, ids    ids that jobs share, each with one of its own
//! enclosure        what such a job sees of the machine
//! installation     which Spark, Java and Python there are
//! s3a              the bucket's address in a program: its folder
//! launch           from a plan to a command, a configuration, an environment
//! run_job          the parent of a run: a process of its own
//! log              what a job prints, within limits
//! run              the folder of a run, and what it says after a crash
//! processes, cgroup  telling a run's processes from all others, and ending them
//! disk             what becomes of jobs when the disk is nearly full
//! restart          when a run is followed by another
//! start            from a job of the store to such a parent
//! supervisor       which job starts when, and what becomes of it
//! trash            removing what jobs leave behind
//! end, explain, findings  what is said of an end, and why a job is where it is
//! gateway          what all of this shares with the requests
//! ```

mod cgroup;
mod disk;
mod enclosure;
mod end;
mod environment;
mod explain;
mod fields;
mod files;
mod findings;
mod gateway;
mod helper;
mod id_range;
mod ids;
mod installation;
mod java_options;
mod job_user;
mod launch;
mod log;
mod mounts;
mod places;
mod plan;
mod processes;
mod proxy;
mod quantity;
mod reach;
mod restart;
mod run;
mod run_job;
mod s3a;
mod start;
mod supervisor;
mod trash;

pub use files::answer as check_files_for_jobs;
pub use id_range::IdRange;
pub use installation::SparkConfig;
pub use job_user::JobsAs;
pub use log::LogLimit;
pub use run_job::run_job;

pub(crate) use disk::{free as free_space, is_low as disk_is_low, low_mark, size as disk_size};
pub(crate) use end::text as end_text;
pub(crate) use environment::given;
pub(crate) use explain::explain;
pub(crate) use gateway::Gateway;
pub(crate) use launch::{driver_options, missing};
pub(crate) use log::{JobLog, Piece};
pub(crate) use mounts::{folder as mounts_of, tree as mounts};
pub(crate) use places::upload_uri;
pub(crate) use plan::{MOUNTS, Object, Plan, Pod};
pub(crate) use quantity::{cores_text, memory_text};
pub(crate) use run::{End, RunFolder};
pub(crate) use s3a::is_for_object_stores;
pub(crate) use start::{check_files, installation, places as places_of, values_of, warn_of_no_jobs};
pub(crate) use supervisor::{LONGEST_END, end_all, plan as plan_of, supervise};
pub(crate) use trash::{prepare as prepare_trash, remove_upload, tidy};

//! Jobs on the real Apache Spark of this machine.
//!
//! ```text
//! plan, quantity   what a manifest asks for
//! places           where the files are that it names
//! installation     which Spark, Java and Python there are
//! launch           from a plan to a command, a configuration, an environment
//! run_job          the parent of a run: a process of its own
//! run              the folder of a run, and what it says after a crash
//! processes        telling a run's processes from all others, and ending them
//! start            from a job of the store to such a parent
//! supervisor       which job starts when, and what becomes of it
//! end, explain, findings  what is said of an end, and why a job is where it is
//! gateway          what all of this shares with the requests
//! ```

mod end;
mod explain;
mod findings;
mod gateway;
mod installation;
mod launch;
mod places;
mod plan;
mod processes;
mod quantity;
mod run;
mod run_job;
mod start;
mod supervisor;

pub use installation::SparkConfig;
pub use run_job::run_job;

pub(crate) use end::text as end_text;
pub(crate) use explain::explain;
pub(crate) use gateway::Gateway;
pub(crate) use launch::{main, missing};
pub(crate) use places::Places;
pub(crate) use plan::{Plan, Pod};
pub(crate) use quantity::{cores_text, memory_text};
pub(crate) use run::{End, RunFolder};
pub(crate) use start::{places as places_of, user, values_of};
pub(crate) use supervisor::{LONGEST_END, end_all, plan as plan_of, supervise};

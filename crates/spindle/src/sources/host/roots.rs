//! Directories that the samples are read from.

use std::path::PathBuf;

/// Mount points of the kernel's views; they differ in tests, and in a container that sees those of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    /// procfs.
    pub(crate) proc: PathBuf,
    /// sysfs.
    pub(crate) sys: PathBuf,
    /// State of running services; udev keeps its database here.
    pub(crate) run: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), run: "/run".into() }
    }
}

//! Names of drives for other sources, which report the same devices.

use std::path::PathBuf;

use spindle_core::Labels;

use super::problems::Problems;
use super::register::Register;
use super::roots::Roots;
use super::{block, drives};

/// A drive for other sources: its name, what describes it, and the kernel's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedDrive {
    pub(crate) device: String,
    pub(crate) labels: Labels,
    pub(crate) kernel_names: Vec<String>,
}

/// Names the drives of this machine as the source does. `register` is its file, which is only read.
pub(crate) fn name_drives(roots: &Roots, hostname: &str, register: Option<PathBuf>) -> Vec<NamedDrive> {
    let mut problems = Problems::default();
    let mut shared = Register::open(register, &mut problems).shared;
    let disks = block::discover(&roots.sys, &mut problems).unwrap_or_default();
    let named = drives::of_disks(disks, roots, hostname, &mut shared, &mut problems).into_iter().map(|drive| {
        NamedDrive { labels: drive.labels(hostname), kernel_names: drive.place.names, device: drive.device }
    });
    named.collect()
}

//! Drives: disks with their identity, several paths to one drive taken together, and the name that each reports under.
//!
//! A name is the first of these that belongs to one drive of the machine: `MODEL_SERIAL`, `wwn-…`, `host:name`. Two
//! paths are one drive if their plausible world-wide names and their capacities are equal and neither is USB, or if one
//! multipath map holds both. Any other drives with the same serial number take the next form.

use std::collections::{BTreeMap, BTreeSet};

use spindle_core::Labels;

use super::block::Disk;
use super::identity::Identity;
use super::place::Place;
use super::problems::{Problem, ProblemKind, Problems};
use super::roots::Roots;
use super::sysfs::{attribute, names};

/// Prefix of a device-mapper UUID that belongs to multipath.
const MULTIPATH: &str = "mpath-";

/// A drive of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drive {
    /// Name that it reports under, before it is checked.
    pub(super) device: String,
    pub(super) identity: Identity,
    pub(super) place: Place,
    /// At least one; several for SCSI multipath.
    pub(super) paths: Vec<Disk>,
}

impl Drive {
    /// Returns the kernel's name of its first path.
    pub(super) fn name(&self) -> String {
        self.paths.first().map(Disk::display_name).unwrap_or_default()
    }

    /// Returns `true` if it spins; `None` if the kernel does not say.
    pub(super) fn is_rotational(&self) -> Option<bool> {
        let rotational = attribute(&self.paths.first()?.path, "queue/rotational")?;
        match rotational.as_str() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }

    /// Describes the drive, as far as sysfs does so without root.
    pub(super) fn labels(&self, hostname: &str) -> Labels {
        let first = self.paths.first();
        let Identity { model, serial, wwn, .. } = self.identity.clone();
        let paths = (self.paths.len() > 1).then(|| self.place.names.join(","));
        let known = [
            ("host", Some(hostname.to_owned())),
            ("name", Some(self.name())),
            ("paths", paths),
            ("class", Some("BlockDevice".to_owned())),
            ("capacity_bytes", first.map(|disk| disk.capacity_bytes.to_string())),
            ("model", model),
            ("serial", serial),
            ("wwn", wwn),
            ("enclosure", self.place.enclosure.clone()),
            ("bay", self.place.bay.clone()),
            ("rotational", self.is_rotational().map(|rotational| rotational.to_string())),
        ];
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

/// Finds the drives behind the disks of a machine. `shared` are the names that more than one drive had at some time;
/// it grows, so that a name means one drive even while the other is away.
pub(super) fn of_disks(
    disks: Vec<Disk>,
    roots: &Roots,
    hostname: &str,
    shared: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Vec<Drive> {
    let groups = group(disks, roots);
    let mut n_claims: BTreeMap<&String, usize> = BTreeMap::new();
    for identity in groups.iter().map(|(identity, _)| identity) {
        for name in [&identity.by_serial, &identity.by_wwn].into_iter().flatten() {
            *n_claims.entry(name).or_default() += 1;
        }
    }
    shared.extend(n_claims.into_iter().filter(|(_, n_claims)| *n_claims > 1).map(|(name, _)| name.clone()));
    let mut drives = Vec::new();
    for (identity, paths) in groups {
        let place = Place::read(&paths);
        let fallback = format!("{hostname}:{}", paths.first().map(Disk::display_name).unwrap_or_default());
        let forms = [&identity.by_serial, &identity.by_wwn].into_iter().flatten();
        let device = forms.into_iter().find(|name| !shared.contains(*name)).unwrap_or(&fallback).clone();
        if let Some(problem) = doubtful(&identity, &device, &fallback) {
            problems.note_once(problem);
        }
        drives.push(Drive { device, identity, place, paths });
    }
    drives
}

/// Returns a notice if the drive has a serial number, and is not named by it.
fn doubtful(identity: &Identity, device: &str, fallback: &str) -> Option<Problem> {
    let serial = identity.serial.as_ref().filter(|_| identity.by_serial.as_deref() != Some(device))?;
    let cause = match identity.by_serial {
        Some(_) => "is that of several drives",
        None => "is a filler of firmware or hypervisor",
    };
    let message = format!("serial number '{serial}' of {fallback} {cause}: the drive is named {device}");
    Some(Problem::new(ProblemKind::NotUnique, fallback, message))
}

/// Takes the paths of one drive together, in the order of the disks.
fn group(disks: Vec<Disk>, roots: &Roots) -> Vec<(Identity, Vec<Disk>)> {
    let mut groups: Vec<(Identity, Vec<Disk>)> = Vec::new();
    for disk in disks {
        let identity = Identity::read(&disk, roots);
        let map = multipath_map(&disk);
        let same = groups.iter_mut().find(|(other, paths)| {
            paths.first().is_some_and(|first| {
                let is_mapped = map.is_some() && map == multipath_map(first);
                is_mapped || (is_one_drive(&identity, other) && disk.capacity_bytes == first.capacity_bytes)
            })
        });
        match same {
            Some((_, paths)) => paths.push(disk),
            None => groups.push((identity, vec![disk])),
        }
    }
    groups
}

fn is_one_drive(one: &Identity, other: &Identity) -> bool {
    let is_same = one.by_wwn.is_some() && one.by_wwn == other.by_wwn && one.serial == other.serial;
    is_same && !one.is_usb && !other.is_usb
}

/// Returns the UUID of the multipath map on top of a disk.
fn multipath_map(disk: &Disk) -> Option<String> {
    let holders = disk.path.join("holders");
    let uuids = names(&holders).into_iter().filter_map(|holder| attribute(&holders.join(holder), "dm/uuid"));
    uuids.into_iter().find(|uuid| uuid.starts_with(MULTIPATH))
}

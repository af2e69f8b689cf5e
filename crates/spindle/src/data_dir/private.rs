//! Modes of the files in the data directory: only our own user may read them. The directory itself may be open on
//! purpose, and it may hold files of others, which stay as they are.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Mode;
use tracing::{info, warn};

/// Beginnings of the names of our files: SQLite, rotation and drafts append to them.
const FILES: [&str; 8] = [
    "spindle.db",
    "spindle.lock",
    "spindle.pid",
    "run.json",
    "daemon-seq.json",
    "simulation.json",
    "truth.ndjson",
    "detector.",
];
/// The same in `logs`.
const LOGS: [&str; 2] = ["spindle.log", "critical-events.ndjson"];
/// Directory of the nats-server that we start; all of it is ours.
const NATS: &str = "nats";
/// Access of the group and of everybody else.
const OTHERS: u32 = 0o077;

/// Makes private every file and directory that this process and its children create, whatever the caller's umask is.
pub(crate) fn keep_new_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Takes the access of others from our files in the data directory, as earlier versions left them.
pub(crate) fn make_private(data_dir: &Path) {
    let mut seen = Seen::default();
    seen.files(data_dir, Some(&FILES));
    seen.files(&data_dir.join("logs"), Some(&LOGS));
    seen.entry(&data_dir.join(NATS));
    if seen.n_changed > 0 {
        info!(n_files = seen.n_changed, data_dir = %data_dir.display(), "files made private to their user");
    }
    if let Some(error) = seen.error {
        warn!(error, "other users may read some files of the data directory");
    }
}

#[derive(Default)]
struct Seen {
    n_changed: u64,
    /// The last one.
    error: Option<String>,
}

impl Seen {
    /// Visits the entries of a directory with one of the names, or all of them.
    fn files(&mut self, directory: &Path, names: Option<&[&str]>) {
        let entries = match directory.read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.note(directory, &error),
            Ok(entries) => entries,
        };
        for entry in entries.flatten() {
            let is_ours = |name: &&str| entry.file_name().to_string_lossy().starts_with(name);
            if names.is_none_or(|names| names.iter().any(is_ours)) {
                self.entry(&entry.path());
            }
        }
    }

    /// Visits a file, or a directory with all that is in it. Never follows a symbolic link.
    fn entry(&mut self, path: &Path) {
        // An error means that it is gone.
        let Ok(metadata) = path.symlink_metadata() else { return };
        if metadata.is_file() || metadata.is_dir() {
            self.restrict(path, &metadata);
        }
        if metadata.is_dir() {
            self.files(path, None);
        }
    }

    fn restrict(&mut self, path: &Path, metadata: &Metadata) {
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & OTHERS == 0 {
            return;
        }
        match std::fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) {
            Ok(()) => self.n_changed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.note(path, &error),
        }
    }

    fn note(&mut self, path: &Path, error: &io::Error) {
        self.error = Some(format!("{}: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_files_become_private_and_those_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        for directory in ["nats/store/deep", "logs", "spindle-notes"] {
            std::fs::create_dir_all(data.join(directory)).unwrap();
        }
        let ours = ["spindle.db", "spindle.db-wal", "run.json", "run.json.new", "daemon-seq.json", "truth.ndjson"];
        let ours =
            [&ours[..], &["logs/critical-events.ndjson.1", "logs/spindle.log", "nats/store/deep/1.blk"]].concat();
        let others = ["spindle.toml", "notes.txt", "logs/mine.log", "spindle-notes/a"];
        let mode = |name: &&str| data.join(name).metadata().unwrap().permissions().mode() & 0o777;
        let open = |name: &&str| std::fs::set_permissions(data.join(name), Permissions::from_mode(0o666)).unwrap();
        for name in ours.iter().chain(&others) {
            std::fs::write(data.join(name), "").unwrap();
            open(name);
        }
        let outside = folder.path().join("notes.txt");
        std::os::unix::fs::symlink(&outside, data.join("spindle.db-link")).unwrap();
        make_private(data);
        assert!(ours.iter().all(|name| mode(name) == 0o600));
        assert!(others.iter().all(|name| mode(name) == 0o666));
        assert_eq!(mode(&"nats/store") & OTHERS, 0);
        make_private(&data.join("missing"));
    }
}

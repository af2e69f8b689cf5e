//! Modes of what is left on disk: private to its user, whatever the umask and the directory are.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use spindle_testkit::wait_until;

use crate::harness::{PATIENCE, program, run_file_of, send_signal, spindle, spindle_at};

/// Starts `spindle up` with a umask and waits until an answer proves that it stores.
fn start(data: &Path, umask: &str) -> Child {
    let mut command = spindle_at(Path::new("sh"), data);
    command.args(["-c", "umask $1 && exec \"$2\" up --source simulate --devices 3 --interval 50ms", "sh", umask]);
    // The lines for people are of no interest here.
    let child = command.arg(program()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(PATIENCE, "it is up", || run_file_of(data, child.id()).is_some()).unwrap();
    let answers = || spindle(data).args(["query", "devices"]).output().unwrap().status.success();
    wait_until(PATIENCE, "it answers", answers).unwrap();
    wait_until(PATIENCE, "the client has looked", || data.join("logs/critical-events.ndjson.asked").exists()).unwrap();
    child
}

fn stop(mut child: Child) {
    send_signal(child.id(), "TERM");
    assert!(child.wait().unwrap().success());
}

/// Returns everything below a directory that the group or others have access to.
fn open_to_others(directory: &Path, n_seen: &mut usize) -> Vec<PathBuf> {
    let mut open = Vec::new();
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        // A file of SQLite or of NATS may be gone meanwhile.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        *n_seen += 1;
        if metadata.permissions().mode() & 0o077 != 0 {
            open.push(entry.path());
        }
        if metadata.is_dir() {
            open.extend(open_to_others(&entry.path(), n_seen));
        }
    }
    open
}

#[test]
fn no_file_is_readable_by_others_whatever_the_umask_is() {
    for umask in ["000", "022", "077"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        // An operator opened the directory on purpose.
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
        let child = start(&data, umask);
        let mut n_seen = 0;
        let while_it_runs = open_to_others(&data, &mut n_seen);
        assert!(n_seen > 15 && data.join("spindle.db-wal").exists() && data.join("truth.ndjson").exists(), "{n_seen}");
        assert_eq!(while_it_runs, Vec::<PathBuf>::new(), "umask {umask}");
        stop(child);
        assert_eq!(open_to_others(&data, &mut n_seen), Vec::<PathBuf>::new(), "umask {umask}");
        assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }
}

#[test]
fn files_of_an_earlier_version_become_private_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    stop(start(&data, "022"));
    let opened = std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(&data).status().unwrap();
    assert!(opened.success());
    let others = data.join("notes.txt");
    std::fs::write(&others, "not ours").unwrap();
    std::fs::set_permissions(&others, std::fs::Permissions::from_mode(0o644)).unwrap();
    let child = start(&data, "022");
    let open = open_to_others(&data, &mut 0);
    stop(child);
    // The folder of the logs may be an operator's; the files in it are private.
    assert_eq!(open.iter().filter(|path| !path.ends_with("logs")).collect::<Vec<_>>(), [&others]);
}

//! The log file of critical events: one JSON object a line, rotated by size. It is also the record of logged events,
//! so that none is logged twice.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use spindle_core::{IdentityDigest, Timestamp};

use super::reply::Alert;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Line {
    /// A critical event.
    Event {
        logged: Timestamp,
        time: Timestamp,
        event_id: String,
        source_device: String,
        event_type: String,
        criticality: u8,
        event_message: Option<String>,
    },
    /// Number of new events of a device.
    Summary { logged: Timestamp, source_device: String, critical_event_count: u64 },
}

impl Line {
    pub(super) fn event(alert: &Alert, logged: Timestamp) -> Self {
        let Alert { time, event_id, source_device, event_type, criticality, event_message } = alert.clone();
        Self::Event { logged, time, event_id, source_device, event_type, criticality, event_message }
    }

    pub(super) fn summary(source_device: &str, critical_event_count: u64, logged: Timestamp) -> Self {
        Self::Summary { logged, source_device: source_device.to_owned(), critical_event_count }
    }

    fn logged(&self) -> Timestamp {
        match self {
            Self::Event { logged, .. } | Self::Summary { logged, .. } => *logged,
        }
    }
}

/// Returns the identity of an event; the id alone is not enough, since a careless sender may use it twice. A digest: the
/// log holds several hundred thousand events.
fn identity(event_id: &str, time: Timestamp, source_device: &str, event_type: &str) -> IdentityDigest {
    let parts = [event_id.as_bytes(), &time.as_ns().to_be_bytes(), source_device.as_bytes(), event_type.as_bytes()];
    IdentityDigest::of(&parts)
}

fn identity_of(alert: &Alert) -> IdentityDigest {
    identity(&alert.event_id, alert.time, &alert.source_device, &alert.event_type)
}

pub(super) struct Log {
    path: PathBuf,
    file: File,
    n_bytes: u64,
    max_bytes: u64,
    n_kept: usize,
    logged: HashSet<IdentityDigest>,
    logged_until: Option<Timestamp>,
}

impl Log {
    /// Opens the log, creates its folder, and reads the events logged before.
    pub(super) fn open(path: &Path, max_bytes: u64, n_kept: usize) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        }
        truncate_partial_line(path)?;
        let file = File::options().create(true).append(true).open(path)?;
        let n_bytes = file.metadata()?.len();
        let mut log = Self {
            path: path.to_owned(),
            file,
            n_bytes,
            max_bytes,
            n_kept,
            logged: HashSet::new(),
            logged_until: None,
        };
        for index in 0..=n_kept {
            log.load(&log.rotated(index))?;
        }
        let saved = std::fs::read_to_string(logged_until_path(path)).ok();
        log.logged_until = log.logged_until.max(saved.and_then(|text| Timestamp::parse(text.trim()).ok()));
        Ok(log)
    }

    /// Saves the time before which everything received has been logged, also if that was nothing.
    pub(super) fn save_logged_until(&self, until: Timestamp) -> Result<()> {
        Ok(std::fs::write(logged_until_path(&self.path), until.to_string())?)
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for line in BufReader::new(file).split(b'\n') {
            // A line in another format (someone edited the file) is ignored.
            let Ok(line) = serde_json::from_slice::<Line>(&line?) else { continue };
            self.logged_until = self.logged_until.max(Some(line.logged()));
            if let Line::Event { time, event_id, source_device, event_type, .. } = line {
                self.logged.insert(identity(&event_id, time, &source_device, &event_type));
            }
        }
        Ok(())
    }

    /// Returns the time before which everything received has been logged.
    pub(super) fn logged_until(&self) -> Option<Timestamp> {
        self.logged_until
    }

    pub(super) fn has(&self, alert: &Alert) -> bool {
        self.logged.contains(&identity_of(alert))
    }

    pub(super) fn mark_logged(&mut self, alert: &Alert) {
        self.logged.insert(identity_of(alert));
    }

    /// Appends one line; a line that is not written completely is removed again.
    pub(super) fn append(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if self.n_bytes > 0 && self.n_bytes + text.len() as u64 > self.max_bytes {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(&text) {
            let _ = self.file.set_len(self.n_bytes);
            return Err(error.into());
        }
        self.n_bytes += text.len() as u64;
        Ok(())
    }

    /// Renames `log` to `log.1`, `log.1` to `log.2` and so on; the oldest beyond `n_kept` is removed.
    fn rotate(&mut self) -> Result<()> {
        for index in (0..self.n_kept).rev() {
            match std::fs::rename(self.rotated(index), self.rotated(index + 1)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        self.file = File::options().create(true).append(true).open(&self.path)?;
        self.n_bytes = 0;
        Ok(())
    }

    fn rotated(&self, index: usize) -> PathBuf {
        if index == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{index}"));
        name.into()
    }
}

fn logged_until_path(log: &Path) -> PathBuf {
    let mut name = log.to_owned().into_os_string();
    name.push(".asked");
    name.into()
}

/// Removes an incomplete last line, as a kill leaves it: the next line must not be appended to it.
fn truncate_partial_line(path: &Path) -> Result<()> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        File::options().write(true).open(path)?.set_len(whole as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(id: &str) -> Alert {
        Alert {
            time: Timestamp::from_seconds(5),
            event_id: id.to_owned(),
            source_device: "d".to_owned(),
            event_type: "DriveFailure".to_owned(),
            criticality: 9,
            event_message: None,
        }
    }

    fn log_event(log: &mut Log, id: &str) {
        log.append(&Line::event(&alert(id), Timestamp::from_seconds(9))).unwrap();
        log.mark_logged(&alert(id));
    }

    #[test]
    fn what_was_logged_is_remembered_over_restarts_and_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/log.ndjson");
        let mut log = Log::open(&path, 400, 2).unwrap();
        for id in ["a", "b", "c", "d"] {
            log_event(&mut log, id);
        }
        drop(log);
        let log = Log::open(&path, 400, 2).unwrap();
        assert!(["b", "c", "d"].iter().all(|id| log.has(&alert(id))));
        assert_eq!(log.logged_until(), Some(Timestamp::from_seconds(9)));
        assert!(path.with_file_name("log.ndjson.1").exists());
        log.save_logged_until(Timestamp::from_seconds(20)).unwrap();
        assert_eq!(Log::open(&path, 400, 2).unwrap().logged_until(), Some(Timestamp::from_seconds(20)));
    }

    #[test]
    fn half_a_line_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.ndjson");
        log_event(&mut Log::open(&path, 1 << 20, 2).unwrap(), "a");
        File::options().append(true).open(&path).unwrap().write_all(b"{\"kind\":\"ev").unwrap();
        log_event(&mut Log::open(&path, 1 << 20, 2).unwrap(), "b");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| serde_json::from_str::<Line>(line).is_ok()));
    }
}

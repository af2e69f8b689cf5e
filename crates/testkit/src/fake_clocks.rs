//! Wrong clocks for some processes alone: they run under libfaketime, which reads the offset from a file. The servers
//! (NATS, InfluxDB) keep the right time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Path of the library in distributions; `MT` is for programs with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const LIBRARY_FOLDERS: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/// Clocks of processes, each by a name.
#[derive(Debug)]
pub struct FakeClocks {
    library: PathBuf,
    folder: PathBuf,
}

impl FakeClocks {
    /// Keeps the offsets in a folder. Returns `None` if libfaketime is not installed.
    pub fn find(folder: &Path) -> Result<Option<FakeClocks>> {
        let mut places = LIBRARY_FOLDERS.iter().map(|place| Path::new(place).join(LIBRARY));
        let Some(library) = places.find(|place| place.is_file()) else { return Ok(None) };
        let clocks = FakeClocks { library, folder: folder.join("clocks") };
        fs::create_dir_all(&clocks.folder)?;
        Ok(Some(clocks))
    }

    fn file(&self, role: &str) -> PathBuf {
        self.folder.join(role)
    }

    /// Returns the environment variables that put a role under libfaketime.
    pub fn variables(&self, role: &str) -> Vec<(String, String)> {
        // A role whose file cannot be written starts with the right time, which is harmless.
        let _ = self.set(role, 0);
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file(role).display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            // Only the time of day is wrong; timers are unaffected.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Sets the offset of a role's clock, in seconds.
    pub fn set(&self, role: &str, offset_s: i64) -> Result<()> {
        let (path, new) = (self.file(role), self.file(&format!("{role}.new")));
        fs::write(&new, format!("{offset_s:+}s\n"))?;
        fs::rename(&new, &path).with_context(|| format!("cannot set the clock in {}", path.display()))
    }
}

//! What a command prints: data on stdout, talk on stderr.

use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Result, bail};

/// Data, to the last byte. A reader that went away (`| head`) is no fault; a full disk is.
pub(crate) fn data(bytes: &[u8]) -> Result<()> {
    let mut stdout = stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(fault) if fault.kind() != ErrorKind::BrokenPipe => bail!("cannot write to standard output: {fault}"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A line of talk. Where it cannot be said, there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

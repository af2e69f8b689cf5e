//! The state file: the judge, with the positions in the streams that it covers. Written as a stream, without a second
//! copy in memory, and replaced whole or not at all.
//!
//! Content: a line that names it, its version and the length of the header (4 bytes each, little endian), the header in
//! JSON, the judge, and the CRC-32 of all before it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::Crc;
use serde::{Deserialize, Serialize};
use spindle_bus::StreamPosition;
use spindle_core::Timestamp;
use spindle_core::judge::FleetJudge;
use tracing::{error, warn};

use super::judging::FOLLOWED;
use super::merge::STREAMS;
use crate::data_dir::atomic_file;

const MAGIC: &[u8] = b"state of a spindle detector\n";
const VERSION: u32 = 1;
const CRC_BYTES: u64 = 4;
/// A longer header is damage.
const MAX_HEADER_BYTES: u32 = 1 << 16;
const BUFFER_BYTES: usize = 1 << 20;

/// Positions in the streams, in the order of [`FOLLOWED`].
pub(super) type Positions = [Option<StreamPosition>; STREAMS];

#[derive(Serialize, Deserialize)]
struct Header {
    streams: Vec<SavedStream>,
}

#[derive(Serialize, Deserialize)]
struct SavedStream {
    name: String,
    created: Timestamp,
    sequence: u64,
}

/// Reads the state; `None` if there is none. One that is of no use is set aside.
///
/// # Errors
/// If the file exists and cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<(FleetJudge, Positions)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => {
            file.with_context(|| format!("cannot read {}: correct its permissions, or remove it", path.display()))?
        }
    };
    let reason = match parse(file) {
        Ok(state) => return Ok(Some(state)),
        Err(reason) => reason,
    };
    let aside = aside(path);
    error!(
        file = %path.display(), kept_as = %aside.display(), error = format!("{reason:#}"),
        "state of the detector set aside, learning again from the messages that the streams hold"
    );
    if let Err(error) = std::fs::rename(path, &aside) {
        warn!(%error, file = %path.display(), "file not renamed, the next state replaces it");
    }
    Ok(None)
}

fn aside(path: &Path) -> PathBuf {
    path.with_added_extension("unusable")
}

fn parse(mut file: File) -> Result<(FleetJudge, Positions)> {
    let mut magic = [0; MAGIC.len()];
    ensure!(file.read_exact(&mut magic).is_ok() && magic == MAGIC, "it is not the state of a detector");
    let version = number(&mut file)?;
    ensure!(version == VERSION, "it has version {version}, which this program does not know: a newer one wrote it");
    check(&mut file)?;
    file.seek(SeekFrom::Start((MAGIC.len() + size_of::<u32>()) as u64))?;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
    let n_bytes = number(&mut input)?.min(MAX_HEADER_BYTES);
    let mut header = vec![0; n_bytes as usize];
    input.read_exact(&mut header)?;
    let header: Header = serde_json::from_slice(&header)?;
    let judge = FleetJudge::restore(&mut input)?;
    let position = |name: &str| {
        let saved = header.streams.iter().find(|stream| stream.name == name)?;
        Some(StreamPosition { created: saved.created, sequence: saved.sequence })
    };
    Ok((judge, FOLLOWED.map(position)))
}

/// Compares the checksum at the end with the content.
fn check(file: &mut File) -> Result<()> {
    let n_bytes = file.seek(SeekFrom::End(0))?.saturating_sub(CRC_BYTES);
    file.seek(SeekFrom::Start(0))?;
    let mut content = Summed { inner: BufReader::with_capacity(BUFFER_BYTES, &*file).take(n_bytes), crc: Crc::new() };
    io::copy(&mut content, &mut io::sink())?;
    let sum = content.crc.sum();
    file.seek(SeekFrom::Start(n_bytes))?;
    if number(file)? != sum {
        bail!("it is damaged: its checksum does not match");
    }
    Ok(())
}

fn number(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Writes the state; returns its size in bytes.
///
/// # Errors
/// If it is not on disk; the former one is unchanged then.
pub(super) fn write(path: &Path, judge: &FleetJudge, positions: &Positions) -> io::Result<u64> {
    let streams = FOLLOWED.iter().zip(positions).filter_map(|(name, position)| {
        let StreamPosition { created, sequence } = (*position)?;
        Some(SavedStream { name: (*name).to_owned(), created, sequence })
    });
    let header = serde_json::to_vec(&Header { streams: streams.collect() })?;
    atomic_file::write_with(path, |file| {
        let mut out = Summed { inner: BufWriter::with_capacity(BUFFER_BYTES, file), crc: Crc::new() };
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        out.write_all(&header)?;
        judge.save(&mut out).map_err(io::Error::other)?;
        let Summed { mut inner, crc } = out;
        inner.write_all(&crc.sum().to_le_bytes())?;
        inner.flush()
    })?;
    path.metadata().map(|file| file.len())
}

/// Counts a checksum of what passes.
struct Summed<T> {
    inner: T,
    crc: Crc,
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(buffer)?;
        self.crc.update(&buffer[..n_bytes]);
        Ok(n_bytes)
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_bytes = self.inner.write(bytes)?;
        self.crc.update(&bytes[..n_bytes]);
        Ok(n_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::judging;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn judge() -> FleetJudge {
        let mut judge = FleetJudge::default();
        for number in 0..200 {
            let payload = format!(
                r#"{{"timestamp":"{}","sourceDevice":"disk{}","metricType":"Latency","value":{}}}"#,
                at(number),
                number % 7,
                number % 5
            );
            judging::take(&mut judge, 1, at(number), payload.as_bytes());
        }
        judge
    }

    fn saved(judge: &FleetJudge) -> Vec<u8> {
        let mut bytes = Vec::new();
        judge.save(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_state_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detector.state");
        let (judge, positions) = (judge(), [None, Some(StreamPosition { created: at(0), sequence: 200 })]);
        assert!(read(&path).unwrap().is_none());
        let n_bytes = write(&path, &judge, &positions).unwrap();
        assert_eq!(n_bytes, std::fs::read(&path).unwrap().len() as u64);
        let (restored, found) = read(&path).unwrap().unwrap();
        assert_eq!((found, saved(&restored)), (positions, saved(&judge)));
    }

    #[test]
    fn what_is_of_no_use_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detector.state");
        write(&path, &judge(), &[None, Some(StreamPosition { created: at(0), sequence: 200 })]).unwrap();
        let good = std::fs::read(&path).unwrap();
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        let (foreign, future) = (b"<html>".to_vec(), changed(MAGIC.len()));
        let (cut, flipped) = (good[..good.len() / 2].to_vec(), changed(good.len() - 100));
        for (bytes, reason) in [
            (Vec::new(), "not the state"),
            (foreign, "not the state"),
            (future, "newer"),
            (cut, "checksum"),
            (flipped, "checksum"),
            (good[..MAGIC.len() + 6].to_vec(), "checksum"),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            let error = parse(File::open(&path).unwrap()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(read(&path).unwrap().is_none());
            assert!(!path.exists() && std::fs::read(aside(&path)).unwrap() == bytes);
        }
    }
}

//! The state file: the judge, with the positions in the streams that it covers. Written as a stream, without a second
//! copy in memory, and replaced whole or not at all.
//!
//! Content: a line that names it; version, and length and CRC-32 of the header (4 bytes each, little endian); the header in
//! JSON; the judge, whose records have checksums of their own.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
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
const VERSION: u32 = 2;
/// A longer header is damage.
const MAX_HEADER_BYTES: u32 = 1 << 16;
const BUFFER_BYTES: usize = 1 << 20;
const CUT_OFF: &str = "it is damaged: cut off";

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

fn parse(file: File) -> Result<(FleetJudge, Positions)> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut magic = [0; MAGIC.len()];
    ensure!(input.read_exact(&mut magic).is_ok() && magic == MAGIC, "it is not the state of a detector");
    let version = number(&mut input).context(CUT_OFF)?;
    ensure!(version == VERSION, "it has version {version}, and this program reads version {VERSION} alone");
    let (n_bytes, sum) = (number(&mut input).context(CUT_OFF)?, number(&mut input).context(CUT_OFF)?);
    let mut header = vec![0; n_bytes.min(MAX_HEADER_BYTES) as usize];
    input.read_exact(&mut header).context(CUT_OFF)?;
    ensure!(crc(&header) == sum, "it is damaged: the checksum of its header does not match");
    let header: Header = serde_json::from_slice(&header)?;
    let judge = FleetJudge::restore(&mut input)?;
    let position = |name: &str| {
        let saved = header.streams.iter().find(|stream| stream.name == name)?;
        Some(StreamPosition { created: saved.created, sequence: saved.sequence })
    };
    Ok((judge, FOLLOWED.map(position)))
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
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
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        out.write_all(MAGIC)?;
        for number in [VERSION, u32::try_from(header.len()).unwrap_or(u32::MAX), crc(&header)] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&header)?;
        judge.save(&mut out).map_err(io::Error::other)?;
        out.flush()
    })?;
    path.metadata().map(|file| file.len())
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
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let changed = |at: usize| with(at, good[at] ^ 1);
        let (foreign, cut) = (b"<html>".to_vec(), good[..good.len() / 2].to_vec());
        let (older, newer) = (with(MAGIC.len(), 1), with(MAGIC.len(), 3));
        for (bytes, reason) in [
            (Vec::new(), "not the state"),
            (foreign, "not the state"),
            (older, "it has version 1, and this program reads version 2 alone"),
            (newer, "it has version 3, and"),
            (cut, "cut off"),
            (changed(good.len() - 100), "checksum"),
            (changed(MAGIC.len() + 20), "checksum of its header"),
            (good[..MAGIC.len() + 6].to_vec(), "cut off"),
            (good[..MAGIC.len() + 40].to_vec(), "cut off"),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            let error = parse(File::open(&path).unwrap()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(read(&path).unwrap().is_none());
            assert!(!path.exists() && std::fs::read(aside(&path)).unwrap() == bytes);
        }
    }
}

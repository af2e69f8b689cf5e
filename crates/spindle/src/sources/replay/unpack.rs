//! Compressed recordings, unpacked as they are read. The first bytes decide, not the name of the file.
//!
//! Memory is bounded whatever a file claims: a decoder may use at most [`MAX_WINDOW_BYTES`].

use std::io::{self, BufReader, Cursor, Read};
use std::sync::{Mutex, PoisonError};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// Most memory of a decoder: `xz -9` needs 65 MiB, `zstd --long` 128 MiB.
const MAX_WINDOW_BYTES: u64 = 128 << 20;
/// Bytes that show the format.
const MAGIC_BYTES: u64 = 6;

/// Reader of unpacked bytes. The mutex is never locked: it makes the reader `Sync`, which no decoder need be.
pub(crate) struct Unpacked(Mutex<Box<dyn Read + Send>>);

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

/// Returns the unpacked content of a file, and the format that packed it, if any.
pub(crate) fn unpack(mut file: impl Read + Send + 'static) -> io::Result<(Unpacked, Option<&'static str>)> {
    let mut head = Vec::new();
    file.by_ref().take(MAGIC_BYTES).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(file);
    let (reader, packing): (Box<dyn Read + Send>, _) = match head[..] {
        [0x1F, 0x8B, ..] => (Box::new(MultiGzDecoder::new(whole)), Some("gzip")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => (Box::new(MultiBzDecoder::new(whole)), Some("bzip2")),
        [0xFD, b'7', b'z', b'X', b'Z', 0] => {
            let limit_kib = (MAX_WINDOW_BYTES >> 10) as u32;
            (Box::new(XzReader::new_mem_limit(BufReader::new(whole), true, limit_kib)), Some("xz"))
        }
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            (Box::new(ZstdFrames { source: Some(BufReader::new(whole)), frame: None }), Some("zstd"))
        }
        _ => (Box::new(whole), None),
    };
    Ok((Unpacked(Mutex::new(reader)), packing))
}

/// Frames of a Zstandard file, one after the other: tools that compress in parallel write several.
struct ZstdFrames<R: Read> {
    /// The rest of the file, between frames.
    source: Option<R>,
    frame: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: io::BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let n_read = frame.read(buffer)?;
                if n_read > 0 || buffer.is_empty() {
                    return Ok(n_read);
                }
                self.source = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut source) = self.source.take() else { return Ok(0) };
            if source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let decoder = StreamingDecoder::new_with_max_window_size(source, MAX_WINDOW_BYTES);
            self.frame = Some(decoder.map_err(io::Error::other)?);
        }
    }
}

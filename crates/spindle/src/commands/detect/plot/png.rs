//! The picture as PNG, in twice its size, so that it is sharp on screens of today. Text is in a font of pixels that the
//! program contains: no system font is needed, and a character that it lacks is a question mark.

use std::convert::Infallible;

use anyhow::{Context, Result};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_10X20;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle};
use embedded_graphics::text::{Alignment, Text as Written};
use png::{BitDepth, ColorType, Encoder};

use super::{Bar, HEIGHT, Picture, WIDTH};

/// Pixels for a unit of the drawing.
const SCALE: f64 = 2.0;
const SIZE: Size = Size::new((WIDTH * SCALE) as u32, (HEIGHT * SCALE) as u32);
/// Bytes of a pixel: red, green, blue.
const PIXEL_BYTES: usize = 3;
const BLACK: Rgb888 = Rgb888::new(0, 0, 0);

pub(super) fn of(picture: &Picture) -> Result<Vec<u8>> {
    let mut canvas = Canvas::default();
    for (bars, color, is_joined) in [
        (&picture.expected, Rgb888::new(0xcf, 0xe3, 0xf7), false),
        (&picture.alarms, Rgb888::new(0xd6, 0x27, 0x28), false),
        (&picture.values, Rgb888::new(0x1f, 0x4e, 0x79), true),
        (&picture.scores, Rgb888::new(0xff, 0x7f, 0x0e), false),
    ] {
        canvas.bars(bars, color, is_joined);
    }
    for text in &picture.texts {
        let alignment = if text.ends_here { Alignment::Right } else { Alignment::Left };
        let style = MonoTextStyle::new(&FONT_10X20, BLACK);
        let Ok(_) = Written::with_alignment(&text.content, pixel(text.x, text.y), style, alignment).draw(&mut canvas);
    }
    canvas.encoded().context("cannot encode the picture")
}

fn pixel(x: f64, y: f64) -> Point {
    Point::new((x * SCALE) as i32, (y * SCALE) as i32)
}

/// Pixels, row by row.
#[derive(Debug)]
struct Canvas {
    bytes: Vec<u8>,
}

impl Default for Canvas {
    fn default() -> Self {
        Self { bytes: vec![0xff; (SIZE.width * SIZE.height) as usize * PIXEL_BYTES] }
    }
}

impl Canvas {
    fn bars(&mut self, bars: &[Bar], color: Rgb888, is_joined: bool) {
        let style = PrimitiveStyle::with_stroke(color, SCALE as u32);
        let mut before = None;
        for Bar { x, from, to } in bars {
            let (start, end) = (pixel(*x, *from), pixel(*x, *to));
            if let (Some(before), true) = (before, is_joined) {
                let Ok(()) = Line::new(before, start).into_styled(style).draw(self);
            }
            let Ok(()) = Line::new(start, end).into_styled(style).draw(self);
            before = Some(end);
        }
    }

    fn encoded(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, SIZE.width, SIZE.height);
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        encoder.write_header()?.write_image_data(&self.bytes)?;
        Ok(file)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        SIZE
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, color) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else { continue };
            if x < SIZE.width && y < SIZE.height {
                let at = (y * SIZE.width + x) as usize * PIXEL_BYTES;
                self.bytes[at..at + PIXEL_BYTES].copy_from_slice(&[color.r(), color.g(), color.b()]);
            }
        }
        Ok(())
    }
}

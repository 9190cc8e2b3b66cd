//! A QR code (ISO/IEC 18004) as a picture, SVG or PNG. Dark modules on light, with the quiet zone that readers need; every
//! module is a square of whole pixels, so nothing is blurred. The same text always gives the same bytes.

use std::fmt::Write;

use qrcode::{Color, EcLevel, QrCode, types::QrError};

/// Pixels of a module.
pub(crate) const SCALES: std::ops::RangeInclusive<u16> = 1..=32;
/// Light modules around the code: the standard asks for four.
pub(crate) const MARGINS: std::ops::RangeInclusive<u16> = 4..=16;

/// How a code is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawing {
    /// Pixels of a module, one of [`SCALES`].
    pub(crate) scale: u16,
    /// Light modules around the code, some of [`MARGINS`].
    pub(crate) margin: u16,
}

/// Why a picture cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QrFailure {
    /// The text is longer than a code can hold.
    #[error("the text does not fit a QR code")]
    Code(#[from] QrError),
    /// The picture cannot be written.
    #[error("the picture cannot be written")]
    Picture(#[from] png::EncodingError),
}

/// A code's modules, row by row.
struct Modules {
    side: usize,
    dark: Vec<bool>,
}

impl Modules {
    /// About an eighth of the code may be unreadable (level M), which is usual on screens.
    fn of(text: &str) -> Result<Self, QrFailure> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
        let side = code.width();
        Ok(Self { side, dark: code.into_colors().into_iter().map(|color| color == Color::Dark).collect() })
    }

    fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.dark.chunks(self.side.max(1))
    }
}

/// The code as SVG: one path, a subpath for each run of dark modules.
pub(crate) fn svg(text: &str, drawing: Drawing) -> Result<String, QrFailure> {
    let modules = Modules::of(text)?;
    let side = modules.side + 2 * usize::from(drawing.margin);
    let pixels = side * usize::from(drawing.scale);
    let mut path = String::new();
    for (y, row) in modules.rows().enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run.first() == Some(&true) {
                let (left, top, width) =
                    (x + usize::from(drawing.margin), y + usize::from(drawing.margin), run.len());
                // Writing to a text does not fail.
                let _ = write!(path, "M{left} {top}h{width}v1h-{width}z");
            }
            x += run.len();
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{pixels}\" height=\"{pixels}\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}h-{side}z\"/><path fill=\"#000\" \
         d=\"{path}\"/></svg>"
    ))
}

/// The code as PNG, one bit for each pixel.
pub(crate) fn png(text: &str, drawing: Drawing) -> Result<Vec<u8>, QrFailure> {
    let modules = Modules::of(text)?;
    let (scale, margin) = (usize::from(drawing.scale), usize::from(drawing.margin));
    let pixels = (modules.side + 2 * margin) * scale;
    let light = vec![0xff_u8; pixels.div_ceil(8)];
    let mut picture = light.repeat(margin * scale);
    for row in modules.rows() {
        picture.extend(line(row, margin, scale, light.clone()).repeat(scale));
    }
    picture.extend(light.repeat(margin * scale));
    let side = u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture)?;
    writer.finish()?;
    Ok(bytes)
}

/// A line of pixels: the first pixel is a byte's highest bit.
fn line(row: &[bool], margin: usize, scale: usize, mut light: Vec<u8>) -> Vec<u8> {
    for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
        for pixel in (x + margin) * scale..(x + margin + 1) * scale {
            if let Some(byte) = light.get_mut(pixel / 8) {
                *byte &= !(0x80 >> (pixel % 8));
            }
        }
    }
    light
}

#[cfg(test)]
mod tests;

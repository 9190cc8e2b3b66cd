//! The pictures are read by a decoder that knows nothing of how they were made.

use super::*;

const URI: &str = "ethereum:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48@1/transfer\
    ?address=0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed&uint256=12500000";

/// Grey values by pixel of a PNG, with its side.
fn pixels_of_png(bytes: &[u8]) -> (usize, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut picture = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut picture).unwrap();
    assert_eq!((info.width, info.color_type), (info.height, png::ColorType::Grayscale));
    picture.truncate(info.buffer_size());
    (usize::try_from(info.width).unwrap(), picture)
}

fn number(text: &str) -> (usize, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().unwrap(), &text[end..])
}

/// Grey values by pixel of an SVG's last path, whose commands are `M`, `h`, `v` and `z` on whole modules.
fn pixels_of_svg(text: &str) -> (usize, Vec<u8>) {
    let after = |mark: &str| text.split(mark).nth(1).unwrap();
    let (pixels, (side, _)) = (number(after("width=\"")).0, number(after("viewBox=\"0 0 ")));
    let scale = pixels / side;
    let mut picture = vec![255; pixels * pixels];
    let path = text.rsplit(" d=\"").next().unwrap().split('"').next().unwrap();
    for part in path.split('M').filter(|part| !part.is_empty()) {
        let (x, rest) = number(part);
        let (y, rest) = number(rest.strip_prefix(' ').unwrap());
        let (width, rest) = number(rest.strip_prefix('h').unwrap());
        assert_eq!(rest, format!("v1h-{width}z"));
        for row in y * scale..(y + 1) * scale {
            picture[row * pixels + x * scale..row * pixels + (x + width) * scale].fill(0);
        }
    }
    (pixels, picture)
}

fn decoded((side, pixels): &(usize, Vec<u8>)) -> String {
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(*side, *side, |x, y| pixels[y * side + x]);
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "one code in the picture");
    grids[0].decode().unwrap().1
}

#[test]
fn both_pictures_say_the_text_in_every_size() {
    for text in [URI, &format!("{URI}{}", "9".repeat(60)), "ethereum:0x"] {
        for (scale, margin) in [(1, 4), (3, 4), (8, 4), (8, 16), (32, 4)] {
            let drawing = Drawing { scale, margin };
            let (of_png, of_svg) =
                (pixels_of_png(&png(text, drawing).unwrap()), pixels_of_svg(&svg(text, drawing).unwrap()));
            assert_eq!(of_png, of_svg, "the same picture twice");
            // A decoder that looks for edges needs more than one pixel for each module.
            if scale > 1 {
                assert_eq!(decoded(&of_png), text, "{drawing:?}");
            }
        }
    }
}

#[test]
fn a_picture_is_as_large_as_asked_for_and_has_a_quiet_zone() {
    let drawing = Drawing { scale: 5, margin: 6 };
    let (side, pixels) = pixels_of_png(&png("ethereum:0x", drawing).unwrap());
    assert_eq!(side, (21 + 12) * 5);
    let is_light = |x: usize, y: usize| pixels[y * side + x] == 255;
    let zone = 6 * 5;
    assert!((0..side).all(|x| (0..zone).all(|y| is_light(x, y) && is_light(y, x))));
    assert!(!is_light(zone, zone), "a finder pattern's corner is dark");
}

#[test]
fn a_text_that_no_code_holds_is_refused() {
    let long = "a".repeat(3_000);
    let drawing = Drawing { scale: 1, margin: 4 };
    assert!(matches!(svg(&long, drawing), Err(QrFailure::Code(_))));
    assert!(matches!(png(&long, drawing), Err(QrFailure::Code(_))));
}

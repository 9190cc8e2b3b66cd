//! A payment's QR codes, as a payment page fetches them.

use super::harness::{Api, Ask, OTHER, READER, SHOP, SHOP_LIVE};

fn decoded(png: &[u8]) -> (usize, String) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut picture = vec![0; reader.output_buffer_size().unwrap()];
    let side = usize::try_from(reader.next_frame(&mut picture).unwrap().width).unwrap();
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| picture[y * side + x]);
    (side, image.detect_grids()[0].decode().unwrap().1)
}

#[tokio::test]
async fn the_picture_says_what_the_payments_uri_says() {
    let api = Api::start().await;
    let id = api.payment().await;
    let payment = api.ask(Ask::get(&format!("/v1/payments/{id}")).key(READER)).await.json();
    let uri = payment["payment_uri"].as_str().unwrap();
    assert!(
        uri.starts_with("ethereum:0x0101010101010101010101010101010101010101@31337/transfer?address="),
        "{uri}"
    );
    let png = api.ask(Ask::get(&format!("/v1/payments/{id}/qr.png")).key(READER)).await;
    assert_eq!((png.status.as_u16(), png.header("content-type")), (200, "image/png"));
    let (side, text) = decoded(&png.bytes);
    assert_eq!(text, uri);
    let larger = api.ask(Ask::get(&format!("/v1/payments/{id}/qr.png?scale=16&margin=4")).key(READER)).await;
    assert_eq!(decoded(&larger.bytes), (side * 2, uri.to_owned()));
    let svg = api.ask(Ask::get(&format!("/v1/payments/{id}/qr.svg?scale=8")).key(READER)).await;
    assert_eq!((svg.status.as_u16(), svg.header("content-type")), (200, "image/svg+xml"));
    assert!(svg.text.starts_with("<svg ") && svg.text.contains(&format!("width=\"{side}\"")), "{}", svg.text);
    assert_eq!(svg.header("cache-control"), "private, max-age=86400, immutable");
}

#[tokio::test]
async fn a_picture_is_for_those_who_may_read_the_payment() {
    let api = Api::start().await;
    let id = api.payment().await;
    for kind in ["svg", "png"] {
        let path = format!("/v1/payments/{id}/qr.{kind}");
        assert_eq!(api.ask(Ask::get(&path)).await.problem().0, 401, "{kind}");
        for key in [OTHER, SHOP_LIVE] {
            assert_eq!(api.ask(Ask::get(&path).key(key)).await.problem().0, 404, "{kind} {key}");
        }
        let none = format!("/v1/payments/pay_01990000000070008000000000000000/qr.{kind}");
        assert_eq!(api.ask(Ask::get(&none).key(SHOP)).await.problem().0, 404, "{kind}");
    }
}

#[tokio::test]
async fn a_size_beyond_its_bounds_and_a_card_payment_are_refused() {
    let api = Api::start().await;
    let id = api.payment().await;
    for (query, field) in [
        ("scale=0", "scale"),
        ("scale=33", "scale"),
        ("margin=3", "margin"),
        ("margin=17", "margin"),
        ("size=5", "size"),
    ] {
        let answer = api.ask(Ask::get(&format!("/v1/payments/{id}/qr.svg?{query}")).key(SHOP)).await;
        assert_eq!(answer.problem(), (422, "invalid_field".to_owned(), field.to_owned()), "{query}");
    }
    let card = r#"{"amount": "5", "asset": "usd", "method": "card"}"#;
    let made = api.ask(Ask::post("/v1/payments", card).key(SHOP)).await.json();
    let path = format!("/v1/payments/{}/qr.png", made["id"].as_str().unwrap());
    assert_eq!(api.ask(Ask::get(&path).key(SHOP)).await.problem().1, "no_payment_uri");
}

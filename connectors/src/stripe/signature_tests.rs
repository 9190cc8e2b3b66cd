use std::path::PathBuf;

use super::*;

const SECRET: &str = "whsec_test_secret";
const TIME: u64 = 1_700_000_000;

fn secrets(all: &[&str]) -> Secrets {
    Secrets::new(all.iter().map(|secret| (*secret).to_owned()).collect()).unwrap()
}

fn now(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

fn sign(secret: &str, time: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    hex::encode(mac.chain_update(time).chain_update(b".").chain_update(body).finalize().into_bytes())
}

fn check(header: &str, body: &[u8]) -> Result<(), SignatureError> {
    verify(Some(header), body, &secrets(&[SECRET]), now(TIME))
}

#[test]
fn stripes_own_vectors_verify_and_a_changed_byte_does_not() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/signatures/vectors.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        println!(
            "NOT CHECKED: shared/data/signatures/vectors.json is missing; put the shared data folder beside the project"
        );
        return;
    };
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vectors = all["stripe"].as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let (time, body) = (vector["timestamp"].as_u64().unwrap(), vector["body"].as_str().unwrap());
        let header = format!("t={time},v1={}", vector["v1"].as_str().unwrap());
        let secrets = secrets(&[vector["secret"].as_str().unwrap()]);
        assert_eq!(verify(Some(&header), body.as_bytes(), &secrets, now(time)), Ok(()));
        let changed = body.replacen(' ', "", 1);
        assert_eq!(
            verify(Some(&header), changed.as_bytes(), &secrets, now(time)),
            Err(SignatureError::Mismatch)
        );
    }
}

#[test]
fn one_fitting_signature_among_several_is_enough_and_other_schemes_do_not_count() {
    let good = sign(SECRET, "1700000000", b"{}");
    let other = sign("whsec_other", "1700000000", b"{}");
    assert_eq!(check(&format!("t=1700000000,v1={other},v1={good}"), b"{}"), Ok(()));
    assert_eq!(check(&format!("t=1700000000, v1={good}, v0=00"), b"{}"), Ok(()));
    assert_eq!(check(&format!("t=1700000000,v0={good}"), b"{}"), Err(SignatureError::NoSignature));
    assert_eq!(check(&format!("t=1700000000,v1={other}"), b"{}"), Err(SignatureError::Mismatch));
}

#[test]
fn during_a_rotation_either_secret_is_believed() {
    let header = format!("t=1700000000,v1={}", sign("whsec_new", "1700000000", b"{}"));
    let both = secrets(&[SECRET, "whsec_new"]);
    assert_eq!(verify(Some(&header), b"{}", &both, now(TIME)), Ok(()));
    assert_eq!(check(&header, b"{}"), Err(SignatureError::Mismatch));
}

#[test]
fn the_window_is_five_minutes_both_ways_and_closed() {
    let header = format!("t=1700000000,v1={}", sign(SECRET, "1700000000", b"{}"));
    let at = |time| verify(Some(&header), b"{}", &secrets(&[SECRET]), now(time));
    for inside in [TIME - 300, TIME, TIME + 300] {
        assert_eq!(at(inside), Ok(()), "{inside}");
    }
    for outside in [TIME - 301, TIME + 301] {
        assert!(matches!(at(outside), Err(SignatureError::OutsideWindow { .. })), "{outside}");
    }
    let late = Timestamp::from_millis(1_700_000_300_001);
    assert!(verify(Some(&header), b"{}", &secrets(&[SECRET]), late).is_err());
}

#[test]
fn the_time_is_part_of_what_is_signed() {
    let header = format!("t=1700000001,v1={}", sign(SECRET, "1700000000", b"{}"));
    assert_eq!(check(&header, b"{}"), Err(SignatureError::Mismatch));
}

#[test]
fn a_header_without_what_it_needs_is_refused_with_what_is_missing() {
    let good = sign(SECRET, "1700000000", b"");
    assert_eq!(verify(None, b"", &secrets(&[SECRET]), now(TIME)), Err(SignatureError::Missing));
    for (header, expect) in [
        (String::new(), SignatureError::Time),
        (format!("v1={good}"), SignatureError::Time),
        (format!("t=,v1={good}"), SignatureError::Time),
        (format!("t=-1700000000,v1={good}"), SignatureError::Time),
        (format!("t=+1700000000,v1={good}"), SignatureError::Time),
        (format!("t=99999999999999999999,v1={good}"), SignatureError::Time),
        (format!("t=1700000000,t=1700000000,v1={good}"), SignatureError::Time),
        ("t=1700000000".to_owned(), SignatureError::NoSignature),
        (format!("t=1700000000,v1={}", &good[..62]), SignatureError::NoSignature),
        (format!("t=1700000000,v1={}zz", &good[..62]), SignatureError::NoSignature),
        (format!("t=1700000000{}", format!(",v1={}", "0".repeat(64)).repeat(17)), SignatureError::TooMany),
    ] {
        assert_eq!(check(&header, b""), Err(expect), "{header}");
    }
}

#[test]
fn secrets_are_checked_and_never_printed() {
    assert_eq!(Secrets::new(vec![]).err(), Some(SecretsError::Unusable));
    assert_eq!(Secrets::new(vec!["whsec_x\n".into()]).err(), Some(SecretsError::Unusable));
    assert_eq!(Secrets::new(vec!["a".into(); 9]).err(), Some(SecretsError::TooMany(9)));
    assert!(!format!("{:?}", secrets(&[SECRET])).contains("test_secret"));
}

//! Inputs that are nearly right: a committed one with a few changes, all of which follow from a seed.
//!
//! Changes to bytes find what a decoder does with damage. Changes to a JSON document that keep it JSON get past the
//! parser to the rules behind it; a line that is a JSON document is one wherever it stands.

use serde_json::{Value, json};
use streambook_simulation::random::Random;

/// The most changes of one input.
const CHANGES_MAX: u64 = 5;
/// No input grows beyond this, in bytes.
const LENGTH_MAX: usize = 64 * 1024;

/// Texts that parsers treat in a way of their own.
const TOKENS: [&[u8]; 28] = [
    b"0",
    b"-1",
    b"1e400",
    b"0.1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"170141183460469231731687303715884105728",
    b"null",
    b"true",
    b"\"\"",
    b"\"\\u0000\"",
    b"\\ud800",
    b"\0",
    b"\xff\xfe",
    b"\xc3\x01",
    b"[[[[[[[[",
    b"{}",
    b"0x",
    b"0xffffffffffffffff",
    b",,",
    b"=",
    b"%00",
    b"..",
    b"\r\n",
    b"\xf0\x9f\xa6\x80",
    b"t=1,v1=",
    b"whsec_",
];

/// An input that follows from these and the numbers of `random`.
pub fn input(corpus: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut data = random.pick(corpus).map(|(_, data)| data.clone()).unwrap_or_default();
    for _ in 0..random.between(1, CHANGES_MAX) {
        if random.chance(45) && change_json_line(&mut data, random) {
            continue;
        }
        change_bytes(&mut data, corpus, random);
    }
    data.truncate(LENGTH_MAX);
    data
}

fn change_bytes(data: &mut Vec<u8>, corpus: &[(String, Vec<u8>)], random: &mut Random) {
    let at = random.index(data.len() + 1);
    let end = at + random.index((data.len() - at).min(24) + 1);
    match random.below(9) {
        0 => flip(data, random),
        1 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = random.pick(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'-', b'.']).copied().unwrap_or(0);
            }
        }
        2 => drop(data.drain(at..end)),
        3 => data.truncate(at),
        4 => {
            let repeated = data[at..end].to_vec();
            insert(data, at, &repeated);
        }
        5 => {
            let other = random.pick(corpus).map(|(_, other)| other.clone()).unwrap_or_default();
            let from = random.index(other.len() + 1);
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
        6 => change_number(data, random),
        _ => {
            let token = random.pick(&TOKENS).copied().unwrap_or_default();
            if random.chance(50) {
                data.drain(at..end);
            }
            insert(data, at, token);
        }
    }
}

fn flip(data: &mut [u8], random: &mut Random) {
    let at = random.index(data.len());
    let bit = random.index(8);
    if let Some(byte) = data.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn insert(data: &mut Vec<u8>, at: usize, piece: &[u8]) {
    data.splice(at..at, piece.iter().copied());
}

/// Replaces a run of digits, a number or a part of a hash, by another number.
fn change_number(data: &mut Vec<u8>, random: &mut Random) {
    let begin = random.index(data.len());
    let Some(first) = (begin..data.len()).find(|at| data[*at].is_ascii_digit()) else { return };
    let length = data[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match random.below(4) {
        0 => random.below(4).to_string(),
        1 => random.bits().to_string(),
        2 => (u128::from(random.bits()) << 64 | u128::from(random.bits())).to_string(),
        _ => format!("-{}", random.below(1_000)),
    };
    data.splice(first..first + length, number.bytes());
}

/// Changes one JSON document in the input; says whether there was one.
fn change_json_line(data: &mut Vec<u8>, random: &mut Random) -> bool {
    let mut lines: Vec<Vec<u8>> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let is_json = |line: &&mut Vec<u8>| matches!(line.first(), Some(b'{' | b'['));
    let mut documents: Vec<_> = lines.iter_mut().filter(is_json).collect();
    let index = random.index(documents.len());
    let Some(line) = documents.get_mut(index) else { return false };
    let Ok(mut document) = serde_json::from_slice::<Value>(line) else { return false };
    let count = nodes(&document);
    let mut place = random.index(count);
    change_node(&mut document, &mut place, random);
    **line = document.to_string().into_bytes();
    *data = lines.join(&b'\n');
    true
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(members) => members.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Changes the node at a place, counted from the root in the order of the document; says whether it was found.
fn change_node(value: &mut Value, place: &mut usize, random: &mut Random) -> bool {
    if *place == 0 {
        change_value(value, random);
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| change_node(item, place, random)),
        Value::Object(members) => members.values_mut().any(|member| change_node(member, place, random)),
        _ => false,
    }
}

fn change_value(value: &mut Value, random: &mut Random) {
    match (random.below(4), &mut *value) {
        (0, Value::Object(members)) => {
            let name = members.keys().nth(random.index(members.len())).cloned();
            name.and_then(|name| members.remove(&name));
        }
        (1, Value::Object(members)) => {
            let name = members.keys().nth(random.index(members.len())).cloned().unwrap_or_default();
            let moved = members.remove(&name).unwrap_or_default();
            members.insert(format!("{name}s"), moved);
        }
        (0, Value::Array(items)) if !items.is_empty() => drop(items.remove(random.index(items.len()))),
        (1, Value::Array(items)) if !items.is_empty() => {
            let again = items[random.index(items.len())].clone();
            items.push(again);
        }
        (0 | 1, Value::String(text)) => change_text(text, random),
        (0 | 1, Value::Number(number)) => {
            let near = number.as_i64().map_or(0, |number| number.saturating_add(1));
            *value = random
                .pick(&[json!(near), json!(0), json!(-1), json!(0.5), json!(i64::MAX)])
                .cloned()
                .unwrap();
        }
        _ => *value = any_value(random),
    }
}

fn change_text(text: &mut String, random: &mut Random) {
    match random.below(5) {
        0 => text.push_str(random.pick(&["\0", "0", " ", "é", "'"]).copied().unwrap_or_default()),
        1 => *text = text.repeat(40),
        2 => text.truncate(0),
        3 => *text = text.to_uppercase(),
        _ => *text = text.chars().rev().collect(),
    }
}

fn any_value(random: &mut Random) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("0x"),
        json!("1"),
        json!([]),
        json!({}),
        json!([{}]),
        json!({"id": "x"}),
        json!("\u{0}"),
        json!("-0.00"),
        json!("1e9"),
    ];
    random.pick(&values).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_and_they_differ_from_the_corpus() {
        let corpus = vec![("one".to_owned(), b"POST /\n{\"a\":[1,{\"b\":\"x\"}]}".to_vec())];
        let made = |seed| {
            let mut random = Random::new(seed);
            (0..200).map(|_| input(&corpus, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(made(7), made(7));
        let inputs = made(7);
        let differ = inputs.iter().filter(|data| **data != corpus[0].1).count();
        let json = inputs.iter().filter(|data| {
            let line = data.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
            **data != corpus[0].1 && serde_json::from_slice::<Value>(line).is_ok()
        });
        assert!(differ > 150 && json.count() > 30);
    }
}

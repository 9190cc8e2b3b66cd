//! Rows as the text of an array of a temporary table's row type, which one statement with one argument takes in one round trip
//! (<https://www.postgresql.org/docs/15/rowtypes.html#ROWTYPES-IO-SYNTAX>,
//! <https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO>). A row's cells stand in the order of the table's columns, all
//! of them.

use crate::sql::cell::Cell;

/// The array of these rows of `columns` cells each.
pub(super) fn encode(cells: &[Cell], columns: usize) -> String {
    let mut text = String::with_capacity(cells.len() * 24);
    text.push('{');
    for (number, row) in cells.chunks(columns.max(1)).enumerate() {
        text.push_str(if number == 0 { "\"(" } else { ",\"(" });
        for (number, cell) in row.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            append(cell, &mut text);
        }
        text.push_str(")\"");
    }
    text.push('}');
    text
}

fn append(cell: &Cell, text: &mut String) {
    match cell {
        Cell::Null => {}
        Cell::Integer(value) => text.push_str(&value.to_string()),
        Cell::Flag(value) => text.push_str(if *value { "t" } else { "f" }),
        Cell::Amount(value) => text.push_str(&value.to_string()),
        Cell::Text(value) => quote(value, text),
        Cell::Bytes(value) => quote(&format!("\\x{}", hex::encode(value)), text),
    }
}

/// A row doubles what it quotes, and the array puts a backslash before each of that.
fn quote(value: &str, text: &mut String) {
    text.push_str("\\\"");
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\"\\\""),
            '\\' => text.push_str("\\\\\\\\"),
            other => text.push(other),
        }
    }
    text.push_str("\\\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_quoted_twice() {
        let cells = [
            Cell::Integer(-1),
            Cell::Text(r#"a "b" \ , ) {"#.into()),
            Cell::Null,
            Cell::Flag(true),
            Cell::Text(String::new()),
            Cell::Bytes(vec![0, 255]),
        ];
        let expected = r#"{"(-1,\"a \"\"b\"\" \\\\ , ) {\",)","(t,\"\",\"\\\\x00ff\")"}"#;
        assert_eq!(encode(&cells, 3), expected);
    }
}

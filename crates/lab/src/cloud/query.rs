//! Queries: `q=<field><operator><value>`, `limit`, `start`, `sort`, `replyWithCount`.
//!
//! Conditions are on a row's own fields, with the operators `=`, `!=`, `?=` (one of) and `!?=` (none of). What
//! else ZStack supports is refused: an ignored condition would return wrong rows.

use serde_json::{Value, json};

use super::reply::Refusal;

/// ZStack's operators, in its order: an operator comes after those that contain it.
const OPERATORS: [&str; 12] =
    ["!=", ">=", "<=", "!?=", "!~=", "~=", "?=", "=", ">", "<", "is null", "not null"];
const DEFAULT_LIMIT: usize = 1000;

/// Answers a query over these rows.
pub(super) fn answer(mut rows: Vec<Value>, parameters: &[(String, String)]) -> Result<Value, Refusal> {
    let (mut start, mut limit, mut count) = (0, DEFAULT_LIMIT, false);
    let number = |name: &str, value: &str| {
        let refused = |_| Refusal::bad_request(format!("{name} is not a number"));
        value.parse::<usize>().map_err(refused)
    };
    for (name, value) in parameters {
        match name.as_str() {
            "q" => keep(&mut rows, value)?,
            "start" => start = number(name, value)?,
            "limit" => limit = number(name, value)?,
            "sort" => sort(&mut rows, value),
            "replyWithCount" => count = value == "true",
            _ => {
                return Err(Refusal::bad_request(format!(
                    "the lab's cloud does not support the parameter '{name}'"
                )));
            }
        }
    }
    let total = rows.len();
    let page: Vec<Value> = rows.into_iter().skip(start).take(limit).collect();
    Ok(if count { json!({ "inventories": page, "total": total }) } else { json!({ "inventories": page }) })
}

fn keep(rows: &mut Vec<Value>, condition: &str) -> Result<(), Refusal> {
    let bad = |why: &str| Refusal::bad_request(format!("condition '{condition}' {why}"));
    let operator = OPERATORS.into_iter().find(|operator| condition.contains(operator));
    let operator = operator.ok_or_else(|| bad("has no operator"))?;
    let (field, value) = condition.split_once(operator).unwrap_or_default();
    let field = field.trim();
    if rows.iter().any(|row| row.get(field).is_none()) {
        return Err(bad("names an unknown field"));
    }
    let one_of: Vec<&str> = if operator.ends_with("?=") { value.split(',').collect() } else { vec![value] };
    let matches = |row: &Value| one_of.contains(&text(row, field).as_str());
    match operator {
        "=" | "?=" => rows.retain(|row| matches(row)),
        "!=" | "!?=" => rows.retain(|row| !matches(row)),
        _ => return Err(bad("has an operator that the lab's cloud does not support")),
    }
    Ok(())
}

fn sort(rows: &mut [Value], by: &str) {
    let (field, descending) = match by.strip_prefix('-') {
        Some(field) => (field, true),
        None => (by.trim_start_matches('+'), false),
    };
    rows.sort_by_key(|row| text(row, field));
    if descending {
        rows.reverse();
    }
}

fn text(row: &Value, field: &str) -> String {
    match row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuids(query: &[(&str, &str)]) -> Option<Vec<String>> {
        let rows = ["b", "a", "c"]
            .map(|uuid| json!({ "uuid": uuid, "state": if uuid == "c" { "Stopped" } else { "Running" } }));
        let query: Vec<_> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = answer(rows.to_vec(), &query).ok()?;
        Some(answer["inventories"].as_array()?.iter().map(|row| text(row, "uuid")).collect())
    }

    #[test]
    fn conditions_paging_and_sorting() {
        let expect =
            |query: &[(&str, &str)], uuid: &[&str]| assert_eq!(uuids(query).unwrap(), uuid, "{query:?}");
        expect(&[("q", "uuid=a")], &["a"]);
        expect(&[("q", "state!=Running")], &["c"]);
        expect(&[("q", "uuid?=a,c"), ("q", "state=Running")], &["a"]);
        expect(&[("q", "uuid!?=a,c")], &["b"]);
        expect(&[("sort", "-uuid"), ("limit", "1"), ("start", "1")], &["b"]);
    }

    #[test]
    fn unsupported_queries_are_refused() {
        for query in
            [("q", "uuid"), ("q", "uuid~=a"), ("q", "colour=red"), ("fields", "uuid"), ("limit", "all")]
        {
            assert_eq!(uuids(&[query]), None, "{query:?}");
        }
    }
}

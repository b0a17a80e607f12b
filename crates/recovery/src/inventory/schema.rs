//! The JSON Schema of the inventory, and every way in which a file is not of its shape.
//!
//! Only what `schemars` makes of the types in `model.rs` is understood; serde has the last word on a file.

use serde_json::Value;

use super::tree::{Node, Path, Tree};
use super::{Inventory, Problem};

/// The JSON Schema of `lifeboat.yaml`, for editors and other programs.
pub fn schema() -> Value {
    schemars::schema_for!(Inventory).to_value()
}

/// What is not as the schema says.
pub(super) fn mismatches(root: &Node) -> Vec<Problem> {
    let schema = schema();
    let mut check = Check { root: &schema, path: Path::new(), found: Vec::new() };
    check.value(&schema, root);
    check.found
}

struct Check<'a> {
    root: &'a Value,
    path: Path,
    found: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn value(&mut self, schema: &'a Value, node: &Node) {
        let schema = self.resolved(schema);
        // An optional value: what it is when it is there.
        if let Some(options) = schema["anyOf"].as_array() {
            let is_null = |option: &&Value| option["type"] == "null";
            match options.iter().find(|option| !is_null(option)) {
                Some(inner) if node.value != Tree::Null => self.value(inner, node),
                _ => {}
            }
            return;
        }
        if let Some(variants) = schema["oneOf"].as_array() {
            return self.variant(variants, node);
        }
        let types = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            single => single.as_str().into_iter().collect::<Vec<_>>(),
        };
        if !types.is_empty() && !types.iter().any(|name| has_type(&node.value, name)) {
            let wanted = match types.first() {
                Some(&"object") => "a mapping",
                Some(&"array") => "a list",
                Some(&"integer") => "a whole number",
                Some(&"string") => "text",
                _ => "something else",
            };
            return self.report(None, format!("must be {wanted}, not {}", node.value.kind()));
        }
        match &node.value {
            Tree::Map(entries) => self.map(schema, entries),
            Tree::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(index.to_string(), |check| check.value(&schema["items"], item));
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, schema: &'a Value, entries: &[(serde_saphyr::Spanned<String>, Node)]) {
        for (key, value) in entries {
            let known = &schema["properties"][key.value.as_str()];
            let others = &schema["additionalProperties"];
            let inner = if known.is_null() { others } else { known };
            match inner {
                Value::Bool(false) => {
                    let names = schema["properties"].as_object().into_iter().flat_map(|map| map.keys());
                    let names = names.map(String::as_str).collect::<Vec<_>>().join(", ");
                    let message = format!("unknown field; allowed: {names}");
                    self.within(key.value.clone(), |check| check.report(Some(key.referenced), message));
                }
                inner => self.within(key.value.clone(), |check| check.value(inner, value)),
            }
        }
        for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !entries.iter().any(|(key, _)| key.value == field) {
                self.report(None, format!("{field} is missing"));
            }
        }
    }

    /// A mapping with exactly one key, which selects the variant.
    fn variant(&mut self, variants: &'a [Value], node: &Node) {
        let names = || {
            variants
                .iter()
                .filter_map(|variant| variant["required"][0].as_str())
                .collect::<Vec<_>>()
                .join(" or ")
        };
        let Tree::Map(entries) = &node.value else {
            return self
                .report(None, format!("must be a mapping with {}, not {}", names(), node.value.kind()));
        };
        let [(key, value)] = entries.as_slice() else {
            return self.report(None, format!("must have exactly one of: {}", names()));
        };
        let inner = variants.iter().map(|variant| &variant["properties"][key.value.as_str()]);
        match inner.into_iter().find(|inner| !inner.is_null()) {
            Some(inner) => self.within(key.value.clone(), |check| check.value(inner, value)),
            None => {
                let message = format!("unknown: must be {}", names());
                self.within(key.value.clone(), |check| check.report(Some(key.referenced), message));
            }
        }
    }

    fn resolved(&self, mut schema: &'a Value) -> &'a Value {
        // References do not go in circles: no type holds itself.
        while let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            match self.root.pointer(pointer) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    fn within(&mut self, step: String, check: impl FnOnce(&mut Self)) {
        self.path.push(step);
        check(self);
        self.path.pop();
    }

    fn report(&mut self, at: Option<serde_saphyr::Location>, message: String) {
        self.found.push(Problem::at(at, &self.path, message));
    }
}

/// Text may look like anything: what a field makes of `10` or `yes` is up to the field.
fn has_type(tree: &Tree, name: &str) -> bool {
    match name {
        "null" => *tree == Tree::Null,
        "object" => matches!(tree, Tree::Map(_)),
        "array" => matches!(tree, Tree::List(_)),
        "integer" => *tree == Tree::Integer,
        "string" => matches!(tree, Tree::Text(_) | Tree::Bool | Tree::Integer | Tree::Float),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_documentation_is_true() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lifeboat.schema.json");
        let kept: Value = serde_json::from_str(&fs_err::read_to_string(file).unwrap()).unwrap();
        assert!(kept == schema(), "run: lifeboat init --schema > docs/lifeboat.schema.json");
    }

    #[test]
    fn every_field_is_in_the_documentation_and_in_its_example() {
        fn fields<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                        found.extend(properties.keys().map(String::as_str));
                    }
                    map.values().for_each(|inner| fields(inner, found));
                }
                Value::Array(items) => items.iter().for_each(|inner| fields(inner, found)),
                _ => {}
            }
        }
        let schema = schema();
        let mut found = Vec::new();
        fields(&schema, &mut found);
        let page = include_str!("../../../../docs/inventory.md");
        let example = include_str!("../../../../docs/lifeboat.example.yaml");
        let words: Vec<&str> = page.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        for field in found {
            assert!(words.contains(&field), "{field} is not in docs/inventory.md");
            assert!(example.contains(&format!("{field}:")), "{field} is not in docs/lifeboat.example.yaml");
        }
    }

    /// Nothing but what [`Check`] understands: a new kind of type must be taught to it.
    #[test]
    fn the_schema_has_nothing_we_do_not_check() {
        fn walk(value: &Value, found: &mut std::collections::BTreeSet<String>) {
            if let Value::Object(map) = value {
                for (key, inner) in map {
                    found.insert(key.clone());
                    match (key.as_str(), inner) {
                        ("properties" | "$defs", Value::Object(map)) => {
                            map.values().for_each(|v| walk(v, found));
                        }
                        ("oneOf" | "anyOf", Value::Array(items)) => items.iter().for_each(|v| walk(v, found)),
                        ("items" | "additionalProperties", inner) => walk(inner, found),
                        _ => {}
                    }
                }
            }
        }
        let mut found = std::collections::BTreeSet::new();
        walk(&schema(), &mut found);
        let known = [
            "$defs",
            "$ref",
            "$schema",
            "additionalProperties",
            "anyOf",
            "default",
            "description",
            "format",
            "items",
            "minimum",
            "oneOf",
            "properties",
            "required",
            "title",
            "type",
        ];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), known);
    }
}

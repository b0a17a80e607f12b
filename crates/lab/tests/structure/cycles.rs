//! Cycles in a directed graph of modules.

use std::collections::{BTreeMap, BTreeSet};

/// The modules that each module imports from.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// The sets of modules that import from each other, directly or through others.
pub fn cycles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|module| (module.as_str(), reachable(graph, module))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|modules| modules.contains(to));
    let mut found = Vec::new();
    for module in graph.keys().filter(|module| reaches(module, module)) {
        let cycle = graph.keys().filter(|other| reaches(module, other) && reaches(other, module));
        let cycle: BTreeSet<String> = cycle.cloned().collect();
        if !found.contains(&cycle) {
            found.push(cycle);
        }
    }
    found
}

/// What can be reached from a module in one step or more.
fn reachable<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = graph.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(graph.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}

#[test]
fn cycles_are_found_through_other_modules() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).into()).or_default().insert((*to).into());
        }
        graph
    };
    assert!(cycles(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    let found = cycles(&graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "f"), ("f", "e")]));
    let named: Vec<Vec<&str>> =
        found.iter().map(|cycle| cycle.iter().map(String::as_str).collect()).collect();
    assert_eq!(named, [vec!["a", "b", "c"], vec!["e", "f"]]);
}

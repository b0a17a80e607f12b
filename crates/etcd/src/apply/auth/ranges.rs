//! Whether permissions cover what a request touches (`server/auth/range_perm_cache.go`,
//! `pkg/adt/interval_tree.go`).

use std::borrow::Cow;

use super::super::key_range::KeyRange;
use super::super::messages::Permission;
use super::Decided;

/// Whether every key of a range is in one of the permissions.
///
/// What etcd answers for an interval without keys depends on the shape of its tree, and so on the order in which
/// permissions were granted. An empty key is the last of all there.
pub(super) fn cover<'a>(
    permissions: impl Iterator<Item = &'a Permission>,
    range: KeyRange<'_>,
) -> Decided<bool> {
    let permitted: Vec<_> = permissions.map(|one| KeyRange::new(&one.key, &one.range_end)).collect();
    if permitted.is_empty() {
        return Ok(false);
    }
    if permitted.iter().any(|one| one.is_empty() || one.start().is_empty()) {
        return Err("a request under a permission for an empty range");
    }
    match range {
        range if range.start().is_empty() => Err("a request for the empty key, under permissions"),
        KeyRange::One(key) => Ok(permitted.iter().any(|one| one.contains(key))),
        KeyRange::Between(start, _) if range.is_empty() => {
            let none = !permitted.iter().any(|one| one.contains(start));
            if none {
                Ok(false)
            } else {
                Err("a request for a range that ends before it begins, under permissions")
            }
        }
        KeyRange::Between(start, end) => Ok(join_over(permitted, start, end)),
    }
}

/// Whether the ranges leave no gap from start to end.
fn join_over(mut ranges: Vec<KeyRange<'_>>, start: &[u8], end: Option<&[u8]>) -> bool {
    ranges.sort_unstable_by_key(|range| range.start());
    let mut covered = Cow::Borrowed(start);
    for range in ranges {
        if range.start() > covered.as_ref() {
            return false;
        }
        let until = match range {
            KeyRange::One(key) => Cow::Owned([key, &[0]].concat()),
            KeyRange::Between(_, Some(end)) => Cow::Borrowed(end),
            KeyRange::Between(_, None) => return true,
        };
        covered = covered.max(until);
        if end.is_some_and(|end| covered.as_ref() >= end) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn permission(key: &[u8], range_end: &[u8]) -> Permission {
        Permission { perm_type: 0, key: key.into(), range_end: range_end.into() }
    }

    fn covers(permissions: &[Permission], key: &[u8], range_end: &[u8]) -> Decided<bool> {
        cover(permissions.iter(), KeyRange::new(key, range_end))
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let permissions =
            [permission(b"c", b"e"), permission(b"a", b"c"), permission(b"e", b""), permission(b"x", b"\0")];
        for (key, range_end, expected) in [
            ("a", "", true),
            ("b\u{ff}", "", true),
            ("e", "", true),
            ("e\0", "", false),
            ("a", "e", true),
            ("a", "e\0", true),
            ("a", "e\u{1}", false),
            ("0", "b", false),
            ("x", "\0", true),
            ("y", "z", true),
            ("d", "\0", false),
        ] {
            assert_eq!(
                covers(&permissions, key.as_bytes(), range_end.as_bytes()),
                Ok(expected),
                "{key} {range_end}"
            );
        }
        assert_eq!(covers(&[], b"z", b"a"), Ok(false));
        assert_eq!(covers(&permissions, b"g", b"a"), Ok(false));
        assert!(covers(&permissions, b"b", b"a").is_err());
        assert!(covers(&[permission(b"b", b"a")], b"b", b"").is_err());
    }

    proptest! {
        /// Over keys of one byte without the last of all, a range is the keys in it.
        #[test]
        fn a_range_is_covered_when_each_of_its_keys_is(
            granted in prop::collection::vec((1u8..20, 1u8..6), 0..6),
            start in 1u8..20,
            length in 1u8..6,
        ) {
            let granted: Vec<_> =
                granted.into_iter().map(|(start, length)| permission(&[start], &[start + length])).collect();
            let each = (start..start + length).all(|key| covers(&granted, &[key], b"") == Ok(true));
            prop_assert_eq!(covers(&granted, &[start], &[start + length]), Ok(each));
        }
    }
}

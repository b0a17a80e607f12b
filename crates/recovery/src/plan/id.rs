//! Ids of plans and operations: parts of paths, here and on machines.

use jiff::Timestamp;
use serde::Serialize;

/// Sorts by time, and no two are the same: `20261124-153000-k3f9`.
pub(crate) fn new_id() -> String {
    id(Timestamp::now(), std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0))
}

/// An id of the form of [`new_id`] that is always the same for this time and content.
///
/// # Errors
/// The content has no form in JSON.
pub(crate) fn derived_id<T: Serialize>(at: Timestamp, content: &T) -> serde_json::Result<String> {
    Ok(id(at, crc32c::crc32c(&serde_json::to_vec(content)?).into()))
}

/// An id with letters from the lower half of these bits.
fn id(at: Timestamp, bits: u64) -> String {
    let time = at.strftime("%Y%m%d-%H%M%S");
    let letters = b"abcdefghijkmnpqrstuvwxyz23456789";
    let suffix: String =
        (0..4).map(|i| char::from(letters[(bits >> (8 * i)) as usize % letters.len()])).collect();
    format!("{time}-{suffix}")
}

/// Whether a text has the form of an id.
pub fn is_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let [date, time, letters] = parts.as_slice() else { return false };
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    digits(date, 8) && digits(time, 6) && letters.len() == 4 && letters.bytes().all(small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_form() {
        assert!(is_id(&new_id()));
        for bad in [
            "",
            "1",
            "../../etc",
            "20261124-030000-ab/d",
            "20261124-030000-abcd/..",
            "20261124-030000-abcd\n",
        ] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}

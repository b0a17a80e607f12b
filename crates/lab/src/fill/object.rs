//! Kubernetes objects as the API server stores them: `k8s\0`, a protobuf `runtime.Unknown` envelope, and in it an
//! object whose field 1 is its `ObjectMeta`. Custom resources are JSON.
//!
//! Mirrors `staging/src/k8s.io/apimachinery/pkg/runtime/generated.proto` and `.../meta/v1/generated.proto`. Only
//! the metadata is filled in; its one annotation pads the object to a realistic size.

const MAGIC: &[u8] = b"k8s\0";

/// A resource: its prefix, API version and kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The part of the key after `/registry/`.
    pub(super) prefix: &'static str,
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
}

/// One object to be stored.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    pub(super) kind: Kind,
    /// Empty for cluster-scoped objects.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    /// Counts the object's changes, so that no two values are the same.
    pub(super) generation: u64,
    pub(super) ballast: &'a str,
}

impl Object<'_> {
    pub(super) fn key(&self) -> Vec<u8> {
        let Self { kind: Kind { prefix, .. }, namespace, name, .. } = self;
        match namespace.is_empty() {
            true => format!("/registry/{prefix}/{name}").into_bytes(),
            false => format!("/registry/{prefix}/{namespace}/{name}").into_bytes(),
        }
    }

    pub(super) fn protobuf(&self) -> Vec<u8> {
        let mut type_meta = Vec::new();
        bytes_field(&mut type_meta, 1, self.kind.api_version.as_bytes());
        bytes_field(&mut type_meta, 2, self.kind.kind.as_bytes());
        let mut raw = Vec::new();
        bytes_field(&mut raw, 1, &self.metadata());
        let mut out = MAGIC.to_vec();
        bytes_field(&mut out, 1, &type_meta);
        bytes_field(&mut out, 2, &raw);
        // contentEncoding and contentType: the API server writes them even when empty.
        bytes_field(&mut out, 3, b"");
        bytes_field(&mut out, 4, b"");
        out
    }

    fn metadata(&self) -> Vec<u8> {
        let mut annotation = Vec::new();
        bytes_field(&mut annotation, 1, b"lab.lifeboat.invalid/ballast");
        bytes_field(&mut annotation, 2, self.ballast.as_bytes());
        let mut meta = Vec::new();
        bytes_field(&mut meta, 1, self.name.as_bytes());
        bytes_field(&mut meta, 2, b""); // generateName
        bytes_field(&mut meta, 3, self.namespace.as_bytes());
        bytes_field(&mut meta, 4, b""); // selfLink
        bytes_field(&mut meta, 5, self.uid.as_bytes());
        bytes_field(&mut meta, 6, b""); // resourceVersion: etcd's revision replaces it
        varint_field(&mut meta, 7, self.generation);
        bytes_field(&mut meta, 12, &annotation);
        meta
    }

    pub(super) fn json(&self) -> Vec<u8> {
        let Self { kind: Kind { api_version, kind, .. }, namespace, name, uid, generation, ballast } = self;
        format!(
            r#"{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{"generation":{generation},"name":"{name}","namespace":"{namespace}","uid":"{uid}"}},"spec":{{"ballast":"{ballast}"}}}}"#
        )
        .into_bytes()
    }
}

fn bytes_field(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint_field(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_byte_for_byte_what_the_api_server_writes() {
        let kind = Kind { prefix: "pods", api_version: "v1", kind: "Pod" };
        let object = Object { kind, namespace: "n", name: "p", uid: "u", generation: 300, ballast: "" };
        assert_eq!(object.key(), b"/registry/pods/n/p");
        let mut expected = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12".to_vec();
        let annotation = b"\x0a\x1clab.lifeboat.invalid/ballast\x12\x00";
        let mut meta = b"\x0a\x01p\x12\x00\x1a\x01n\x22\x00\x2a\x01u\x32\x00\x38\xac\x02\x62\x20".to_vec();
        meta.extend_from_slice(annotation);
        expected.push(meta.len() as u8 + 2);
        expected.extend_from_slice(&[0x0a, meta.len() as u8]);
        expected.extend_from_slice(&meta);
        expected.extend_from_slice(b"\x1a\x00\x22\x00");
        assert_eq!(object.protobuf(), expected);
    }
}

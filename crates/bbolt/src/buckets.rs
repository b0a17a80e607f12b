//! Buckets of an open file, with their keys and values (`tx.go`, `bucket.go`, `cursor.go`).

use crate::Result;
use crate::db::{Bucket, Db};
use crate::error::{Damage, Error};
use crate::read_at::ReadAt;
use crate::walk::{TreeVisitor, Walk};

impl<R: ReadAt> Db<R> {
    /// The bucket named `name` in the root bucket.
    ///
    /// # Errors
    /// Damage on the way, or a failed read.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>> {
        let mut found = None;
        self.for_each_bucket(|candidate, bucket| {
            if candidate == name {
                found = Some(bucket.clone());
            }
        })?;
        Ok(found)
    }

    /// The buckets in the root bucket with their names, in order.
    ///
    /// # Errors
    /// Damage on the way, or a failed read.
    pub fn buckets(&self) -> Result<Vec<(Vec<u8>, Bucket)>> {
        let mut list = Vec::new();
        self.for_each_bucket(|name, bucket| list.push((name.to_vec(), bucket.clone())))?;
        Ok(list)
    }

    /// Calls `visit` with the name of every bucket in the root bucket, and the bucket, in order.
    ///
    /// # Errors
    /// Damage on the way, or a failed read.
    pub fn for_each_bucket(&self, visit: impl FnMut(&[u8], &Bucket)) -> Result<()> {
        Walk::new(self).tree(&self.root(), &mut Buckets(visit))
    }

    /// Calls `visit` with every key and value of a bucket, in key order. A nested bucket counts as damage:
    /// etcd has none, and a revision mistaken for one would be lost silently.
    ///
    /// # Errors
    /// The first damage on the way, a failed read, or what `visit` returned, which also ends the walk.
    pub fn for_each<E: From<Error>>(
        &self,
        bucket: &Bucket,
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        Walk::new(self).tree(bucket, &mut Values(visit))
    }

    /// The value of `key` in a bucket.
    ///
    /// Reads the whole bucket: meant for small buckets.
    ///
    /// # Errors
    /// Damage on the way, or a failed read.
    pub fn get(&self, bucket: &Bucket, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.for_each::<Error>(bucket, |candidate, value| {
            if candidate == key {
                found = Some(value.to_vec());
            }
            Ok(())
        })?;
        Ok(found)
    }
}

struct Buckets<F>(F);

impl<F: FnMut(&[u8], &Bucket)> TreeVisitor for Buckets<F> {
    type Error = Error;

    fn value(&mut self, key: &[u8], _value: &[u8]) -> Result<()> {
        Err(Damage::ValueInRoot { key: key.to_vec() }.into())
    }

    fn bucket(&mut self, name: &[u8], bucket: &Bucket) -> Result<bool> {
        (self.0)(name, bucket);
        Ok(false)
    }
}

struct Values<F>(F);

impl<E: From<Error>, F: FnMut(&[u8], &[u8]) -> Result<(), E>> TreeVisitor for Values<F> {
    type Error = E;

    fn value(&mut self, key: &[u8], value: &[u8]) -> Result<(), E> {
        (self.0)(key, value)
    }

    fn bucket(&mut self, name: &[u8], _bucket: &Bucket) -> Result<bool, E> {
        Err(Error::Damaged(Damage::NestedBucket { name: name.to_vec() }).into())
    }
}

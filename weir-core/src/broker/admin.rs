//! What an administrator sees: namespaces, and across a namespace all policies and dead letters.

use std::sync::Arc;

use super::{BoxFuture, Broker, ListStreams, Policy};
use crate::Error;
#[cfg(doc)]
use crate::ErrorKind;

/// A group and its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// The stream.
    pub stream: Vec<u8>,
    /// The group.
    pub group: Vec<u8>,
    /// Its policy.
    pub policy: Policy,
}

/// How many dead letters a group has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterStream {
    /// The stream.
    pub stream: Vec<u8>,
    /// The group that failed.
    pub group: Vec<u8>,
    /// Dead letters; more than none.
    pub dead: u64,
}

/// Namespaces and what is in them.
pub trait Admin: Send + Sync {
    /// The names of all namespaces.
    fn namespaces(&self) -> BoxFuture<'_, Vec<String>>;

    /// The broker of a namespace.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when there is none of that name.
    fn namespace(&self, name: &str) -> Result<Arc<dyn Broker>, Error>;

    /// All groups of a namespace that have a policy, by stream and name. Looks at every stream.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when there is no such namespace.
    fn policies<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Vec<GroupPolicy>> {
        Box::pin(async move {
            let broker = self.namespace(namespace)?;
            let mut found = Vec::new();
            for stream in all_streams(&*broker).await? {
                for group in broker.groups(&stream).await? {
                    let stream = stream.clone();
                    found.extend(group.policy.map(|policy| GroupPolicy {
                        stream,
                        group: group.name,
                        policy,
                    }));
                }
            }
            Ok(found)
        })
    }

    /// All groups of a namespace that have dead letters, by stream and name. Looks at every stream.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when there is no such namespace.
    fn dead_letter_streams<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Vec<DeadLetterStream>> {
        Box::pin(async move {
            let broker = self.namespace(namespace)?;
            let mut found = Vec::new();
            for GroupPolicy { stream, group, .. } in self.policies(namespace).await? {
                let dead = broker.lag(&stream, &group).await?.dead;
                if dead > 0 {
                    found.push(DeadLetterStream { stream, group, dead });
                }
            }
            Ok(found)
        })
    }
}

async fn all_streams(broker: &dyn Broker) -> Result<Vec<Vec<u8>>, Error> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let options = ListStreams {
            pattern: b"*".to_vec(),
            after: after.take(),
            count: 1_000,
            with_side_streams: false,
        };
        let page = broker.list_streams(options).await?;
        names.extend(page.names);
        after = page.next;
        if after.is_none() {
            names.sort();
            names.dedup();
            return Ok(names);
        }
    }
}

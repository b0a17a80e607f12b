//! One operator per cluster: a lock file on its machines, since two operators may work from different computers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use crate::host::{BUSY, Command, Host, HostError};

/// The lock lies on the disk, so that it outlives a reboot; on a machine whose disk is full, where it has room.
const TAKE: &str = r#"
operation=$1 holder=$2 past=$3
for dir in /var/lib/lifeboat /run/lifeboat; do
    lock=$dir/operator.lock
    if ! [ -s "$lock" ]; then continue; fi
    case " $operation $past " in
    *" $(head -n 1 "$lock") "*) ;;
    *) cat "$lock"; exit 76 ;;
    esac
done
take() {
    lock=$1/operator.lock
    mkdir -p -m 0700 "$1" && printf '%s\n%s\n' "$operation" "$holder" > "$lock.new" && sync "$lock.new" && mv "$lock.new" "$lock"
}
take /var/lib/lifeboat 2>/dev/null || { rm -f /var/lib/lifeboat/operator.lock.new; take /run/lifeboat; }
"#;

const GIVE_BACK: &str = r#"
for lock in /var/lib/lifeboat/operator.lock /run/lifeboat/operator.lock; do
    if [ -e "$lock" ] && [ "$(head -n 1 "$lock")" = "$1" ]; then rm -f "$lock"; fi
done
"#;

/// The exit code of a lock that is taken.
const TAKEN: i32 = 76;

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another operation holds it.
    #[error(
        "another operator is working on this cluster: {holder} (lock on {host}). If that run is dead, resume it \
         where it ran, or remove operator.lock from /var/lib/lifeboat and /run/lifeboat on every machine of the \
         cluster"
    )]
    Held {
        /// The machine the lock was found on.
        host: String,
        /// The operation, and who began it.
        holder: String,
    },
    /// A command that an earlier run left there has not ended.
    #[error(
        "a command of an earlier run is still running on {host} (it holds /run/lifeboat.lock): retry when it has \
         ended"
    )]
    AtWork {
        /// Inventory name of the machine.
        host: String,
    },
    /// A machine that answers could not be locked.
    #[error("cannot take the operator lock: {0}")]
    Host(#[from] HostError),
}

/// The operator lock of an operation.
#[derive(Debug, Clone)]
pub struct OperatorLock {
    operation: String,
    holder: String,
    past: String,
}

impl OperatorLock {
    /// The lock for an operation; `holder` tells people who it is.
    pub fn new(operation: &str, holder: &str) -> Self {
        Self { operation: operation.into(), holder: holder.into(), past: String::new() }
    }

    /// The same, and it takes over from operations that are known to have ended: a machine that was down at their end has
    /// kept their lock.
    #[must_use]
    pub fn after(self, past: &[String]) -> Self {
        Self { past: past.join(" "), ..self }
    }

    /// Takes the lock on every machine that answers; idempotent.
    ///
    /// # Errors
    /// [`LockError::Held`] when one machine says that another operation has it, [`LockError::AtWork`] when a command that
    /// a killed run left there has not ended in 10 s; what was taken is given back.
    pub async fn take(&self, hosts: &BTreeMap<String, Arc<dyn Host>>) -> Result<(), LockError> {
        let taken = join_all(hosts.values().map(|host| self.take_one(host.as_ref()))).await;
        let result = taken.into_iter().collect::<Result<(), LockError>>();
        if result.is_err() {
            self.give_back(hosts).await;
        }
        result
    }

    async fn take_one(&self, host: &dyn Host) -> Result<(), LockError> {
        let arguments = [&self.operation, &self.holder, &self.past].map(String::as_str);
        let command = Command::script(TAKE, arguments);
        let output = match host.run(&command.exclusive()).await {
            Ok(output) => output,
            // What cannot be reached, or is not let in to, cannot be changed either; it is locked when it is back.
            Err(
                HostError::Unreachable { .. }
                | HostError::Timeout { .. }
                | HostError::HostKeyChanged { .. }
                | HostError::Denied { .. },
            ) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', ", ");
        match output.code {
            0 => Ok(()),
            BUSY => Err(LockError::AtWork { host: host.name().into() }),
            TAKEN => Err(LockError::Held { host: host.name().into(), holder: said(&output.stdout) }),
            code => Err(HostError::Failed {
                host: host.name().into(),
                command: "take the operator lock".into(),
                why: format!("exit code {code}: {}", said(&output.stderr)),
            }
            .into()),
        }
    }

    /// Releases the lock where this operation holds it. A machine that does not answer keeps its file, which names
    /// the operation, so that a person can tell that it is old.
    pub async fn give_back(&self, hosts: &BTreeMap<String, Arc<dyn Host>>) {
        let command = Command::script(GIVE_BACK, [self.operation.as_str()]).exclusive();
        join_all(hosts.values().map(|host| host.run(&command))).await;
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

    use super::*;
    use crate::host::Output;

    /// A machine that answers every command the same way.
    struct Answering(i32, &'static str);

    #[async_trait]
    impl Host for Answering {
        fn name(&self) -> &'static str {
            "m1"
        }

        async fn transport(
            &self,
            _: &Command,
            _: &mut (dyn AsyncRead + Send + Unpin),
            output: &mut (dyn AsyncWrite + Send + Unpin),
        ) -> Result<Output, HostError> {
            output.write_all(self.1.as_bytes()).await.unwrap();
            Ok(Output { code: self.0, stdout: Vec::new(), stderr: Vec::new() })
        }
    }

    #[tokio::test]
    async fn another_operator_is_told_from_a_command_that_a_killed_run_left() {
        let take = |code, said| async move {
            let host: Arc<dyn Host> = Arc::new(Answering(code, said));
            OperatorLock::new("op", "me").take(&BTreeMap::from([("m1".to_owned(), host)])).await
        };
        assert!(take(0, "").await.is_ok());
        let held = take(TAKEN, "other\nsomebody").await;
        assert!(matches!(held, Err(LockError::Held { holder, .. }) if holder == "other, somebody"));
        assert!(matches!(take(BUSY, "").await, Err(LockError::AtWork { .. })));
    }

    /// A machine that was down when an operation ended has kept its lock; who else holds one is at work.
    #[test]
    fn a_lock_of_the_past_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let [lasting, passing] =
            ["lasting", "passing"].map(|name| dir.path().join(name).display().to_string());
        let script = TAKE.replace("/var/lib/lifeboat", &lasting).replace("/run/lifeboat", &passing);
        let take = |operation: &str, past: &str| {
            let arguments = ["-c", &script, "sh", operation, "me", past];
            std::process::Command::new("sh").args(arguments).output().unwrap().status.code()
        };
        assert_eq!((take("one", ""), take("one", "")), (Some(0), Some(0)));
        assert_eq!((take("two", ""), take("two", "on e")), (Some(TAKEN), Some(TAKEN)));
        assert_eq!(take("two", "zero one"), Some(0));
        assert_eq!(take("one", ""), Some(TAKEN));
    }
}

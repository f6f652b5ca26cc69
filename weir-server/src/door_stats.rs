//! What the RESP door has done so far, as other threads may read it.
//!
//! The door counts for itself, without atomics, and publishes its counts once a round. So a reader sees a moment that
//! is at most one round old, and counting costs a command nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

macro_rules! door_counts {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// Counts of the RESP door at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct DoorCounts {
            $($(#[$doc])+ pub $name: u64,)+
        }

        /// Where the RESP door publishes its counts.
        #[derive(Debug, Default)]
        pub struct DoorStats {
            $($name: AtomicU64,)+
            stopping: AtomicBool,
        }

        impl DoorStats {
            /// From now on the door executes what it has received and takes no more.
            pub(crate) fn stopping(&self) {
                self.stopping.store(true, Ordering::Release);
            }

            /// Whether the door takes its leave.
            #[must_use]
            pub fn is_stopping(&self) -> bool {
                self.stopping.load(Ordering::Acquire)
            }

            /// Publishes new counts.
            pub(crate) fn publish(&self, counts: &DoorCounts) {
                $(self.$name.store(counts.$name, Ordering::Relaxed);)+
            }

            /// The counts published last.
            #[must_use]
            pub fn counts(&self) -> DoorCounts {
                DoorCounts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

door_counts! {
    /// Clients that are connected.
    clients,
    /// Connections accepted since the start.
    connections,
    /// Connections refused since the start because there were too many.
    rejected_connections,
    /// Commands executed since the start.
    commands,
    /// Commands answered with an error since the start.
    errors,
    /// Bytes received since the start.
    input_bytes,
    /// Bytes sent since the start.
    output_bytes,
}

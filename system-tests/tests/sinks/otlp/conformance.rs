//! The suite.

use super::Collector;

livetrail_replica::replica_conformance!(Collector: place, server_at_least_once, access);

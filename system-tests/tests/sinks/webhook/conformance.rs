//! The suite.

use super::Service;

livetrail_replica::replica_conformance!(Service: place, server_at_least_once, access);

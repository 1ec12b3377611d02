//! What every sink must do, on a real server.

livetrail_audit::replica_conformance!(super::Place: place, server, access);

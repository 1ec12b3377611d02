//! What every sink must do, on a real server.

livetrail_replica::replica_conformance!(super::Place: place, server, access, erasing, erasing_server);

//! The suite for sinks. One of the cases for those behind a server is missing: when an answer is
//! lost after the commit, librdkafka asks for it again by itself, so the suite never sees the case
//! that it tests. `own` has that case. Revoked rights: `login` tests them for passwords, `faults`
//! for a topic's access list.

livetrail_replica::replica_conformance!(super::Topic: place, erasing, erasing_server);
livetrail_replica::replica_conformance!(@@ super::Topic:
    the_server_is_killed_and_comes_back,
    the_connection_breaks_in_the_middle_of_a_batch,
    a_slow_server_is_given_up_and_asked_again,
);

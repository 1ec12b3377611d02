//! The suite.

use super::Rsyslog;

livetrail_replica::replica_conformance!(Rsyslog: place, server_at_least_once, access);

/// Without TLS a killed receiver cannot be distinguished from one that is done, so only this holds.
mod plain {
    use super::super::RsyslogPlain;

    livetrail_replica::replica_conformance!(@@ RsyslogPlain:
        everything_arrives_once_in_order,
    );
}

mod syslog_ng {
    use super::super::SyslogNg;

    livetrail_replica::replica_conformance!(@@ SyslogNg:
        everything_arrives_once_in_order,
        the_server_is_killed_and_comes_back,
        the_connection_breaks_in_the_middle_of_a_batch,
        a_days_backlog_arrives,
    );
}

-- Version 5: indexes for questions about persons. Most databases have few rows in them: entries of
-- schema 2 have no principal, and openings exist only if the sink keeps them.

CREATE INDEX records_principal ON livetrail.records (principal, ts) WHERE principal IS NOT NULL;
CREATE INDEX openings_principal ON livetrail.openings (principal) WHERE principal IS NOT NULL;
CREATE INDEX openings_peer ON livetrail.openings (peer text_pattern_ops) WHERE peer IS NOT NULL;
CREATE INDEX openings_user_agent ON livetrail.openings (user_agent) WHERE user_agent IS NOT NULL;

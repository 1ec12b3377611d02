-- Version 4: openings, which have the personal fields of sessions. They can be erased: they are in
-- a table of their own that is not append-only, and only livetrail_eraser may write there.

CREATE TABLE livetrail.openings (
    log_id     integer NOT NULL REFERENCES livetrail.logs,
    -- The session, or the value that stands for it in an entry that opens none.
    session    uuid NOT NULL,
    -- The entry that commits to it, in the column `personal`.
    index      bigint NOT NULL,
    principal  text,
    peer       text,
    user_agent text,
    stream     text,
    detail     text,
    operator   text,
    -- All fields and the salt: the canonical JSON that proves the commitment.
    opening    bytea NOT NULL,
    PRIMARY KEY (log_id, session)
) WITH (
    -- The space of erased rows is reused soon.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50
);

-- The identifiers of erased openings, so that none comes back.
CREATE TABLE livetrail.erased (
    log_id    integer NOT NULL REFERENCES livetrail.logs,
    session   uuid NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, session)
);

-- The erasure cursor: one row for each log that has openings. The erasures that entries below
-- next_index name are applied. A writer of openings locks the row, and so does an erasure.
CREATE TABLE livetrail.erasures (
    log_id     integer PRIMARY KEY REFERENCES livetrail.logs,
    next_index bigint NOT NULL CHECK (next_index >= 0),
    moved_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Names come from the openings where an entry has none.

CREATE OR REPLACE VIEW livetrail.sessions AS
SELECT s.log_id, s.session, s.kind, s.app, s.stream,
       coalesce(s.principal, o.principal) AS principal, coalesce(s.peer, o.peer) AS peer, s.protocol,
       s.started_at, s.ended_at, s.duration, s.denied, s.reason, s.bytes, s.frames, s.dropped_frames, s.inferred,
       coalesce(s.user_agent, o.user_agent) AS user_agent, coalesce(o.stream, s.stream) AS stream_name
FROM (
    SELECT log_id, session,
           CASE WHEN bool_or(action LIKE 'publish%') THEN 'publish' ELSE 'play' END AS kind,
           min(app) AS app, min(stream) AS stream, min(principal) AS principal, min(peer) AS peer, min(protocol) AS protocol,
           min(user_agent) AS user_agent,
           min(ts) AS started_at,
           max(ts) FILTER (WHERE action IN ('publish_ended', 'play_ended', 'publish_denied', 'play_denied')) AS ended_at,
           max(duration_ms) * interval '1 millisecond' AS duration,
           bool_or(action IN ('publish_denied', 'play_denied')) AS denied,
           max(reason) FILTER (WHERE action IN ('publish_ended', 'play_ended', 'publish_denied', 'play_denied')) AS reason,
           max(bytes) AS bytes, max(frames) AS frames, max(dropped_frames) AS dropped_frames,
           bool_or(inferred) AS inferred
    FROM livetrail.records
    WHERE session IS NOT NULL
    GROUP BY log_id, session
) s
LEFT JOIN livetrail.openings o ON o.log_id = s.log_id AND o.session = s.session;

CREATE OR REPLACE VIEW livetrail.refusals AS
SELECT r.log_id, r.index, r.ts, r.action, r.app, r.stream, r.reason, r.protocol,
       coalesce(r.principal, o.principal) AS principal, coalesce(r.peer, o.peer) AS peer,
       coalesce(r.user_agent, o.user_agent) AS user_agent, r.session, coalesce(r.detail, o.detail) AS detail,
       coalesce(r.count, 1) AS attempts, coalesce(o.stream, r.stream) AS stream_name
FROM livetrail.records r
LEFT JOIN livetrail.openings o ON o.log_id = r.log_id AND o.session = r.session
WHERE r.action IN ('publish_denied', 'play_denied');

GRANT USAGE ON SCHEMA livetrail TO livetrail_eraser;
GRANT SELECT, INSERT, DELETE ON livetrail.openings TO livetrail_eraser;
GRANT SELECT, INSERT ON livetrail.erased TO livetrail_eraser;
GRANT SELECT, INSERT, UPDATE ON livetrail.erasures TO livetrail_eraser;
GRANT SELECT ON livetrail.openings, livetrail.erased, livetrail.erasures TO livetrail_reader;

-- Version 2: hand-overs from key to key. With an earlier key and only this table, a reader can
-- follow them to the current key.

CREATE TABLE livetrail.hand_overs (
    log_id   integer NOT NULL REFERENCES livetrail.logs,
    -- The id of the replaced key: eight hexadecimal digits.
    key_id   text NOT NULL CHECK (key_id ~ '^[0-9a-f]{8}$'),
    -- The number of entries that the hand-over's checkpoint covers. The key is not valid for a
    -- larger size.
    size     bigint NOT NULL,
    -- That checkpoint, signed with this key and with the next one.
    note     bytea NOT NULL,
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, key_id)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON livetrail.hand_overs
    FOR EACH ROW EXECUTE FUNCTION livetrail.refuse_change();
ALTER TABLE livetrail.hand_overs ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON livetrail.hand_overs
    FOR EACH STATEMENT EXECUTE FUNCTION livetrail.refuse_change();
ALTER TABLE livetrail.hand_overs ENABLE ALWAYS TRIGGER append_only_truncate;

GRANT SELECT, INSERT ON livetrail.hand_overs TO livetrail_writer;
GRANT SELECT ON livetrail.hand_overs TO livetrail_reader;

-- A record of a refusal may stand for many similar attempts. These views count attempts.

CREATE OR REPLACE VIEW livetrail.viewers_per_stream AS
SELECT log_id, app, stream,
       sum(viewers)::bigint AS viewers, sum(principals)::bigint AS principals, sum(watching)::bigint AS watching,
       sum(refused)::bigint AS refused,
       sum(watched) AS watched, min(first_at) AS first_at, max(last_at) AS last_at
FROM (
    SELECT log_id, app, stream,
           count(*) AS viewers, count(DISTINCT principal) AS principals, count(*) FILTER (WHERE ended_at IS NULL) AS watching,
           0 AS refused,
           sum(duration) AS watched, min(started_at) AS first_at, max(coalesce(ended_at, started_at)) AS last_at
    FROM livetrail.sessions
    WHERE kind = 'play' AND NOT denied
    GROUP BY log_id, app, stream
    UNION ALL
    SELECT log_id, app, stream, 0, 0, 0, sum(coalesce(count, 1)), NULL, min(ts), max(ts)
    FROM livetrail.records
    WHERE action = 'play_denied'
    GROUP BY log_id, app, stream
) counted
GROUP BY log_id, app, stream;

CREATE OR REPLACE VIEW livetrail.refusals AS
SELECT log_id, index, ts, action, app, stream, reason, protocol, principal, peer, user_agent, session, detail,
       coalesce(count, 1) AS attempts
FROM livetrail.records
WHERE action IN ('publish_denied', 'play_denied');

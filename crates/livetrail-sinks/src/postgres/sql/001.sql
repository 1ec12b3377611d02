-- Version 1: everything is append-only, including the cursor.

CREATE SCHEMA livetrail;

CREATE TABLE livetrail.schema_version (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row per log.
CREATE TABLE livetrail.logs (
    log_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin   text NOT NULL UNIQUE CHECK (origin <> ''),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The cursor, as a chain: each row moves it from first_index to next_index, in the transaction that
-- adds those records. The keys make it a compare-and-swap: each row must begin where another one
-- ended, and no two rows begin at the same index. Only the first row of a log has no first_index.
CREATE TABLE livetrail.commits (
    log_id          integer NOT NULL REFERENCES livetrail.logs,
    first_index     bigint,
    next_index      bigint NOT NULL,
    checkpoint_size bigint NOT NULL,
    -- Why the records are missing, if the cursor was moved without them.
    gap             text,
    committed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    committed_by    text NOT NULL DEFAULT session_user,
    PRIMARY KEY (log_id, next_index),
    CONSTRAINT commits_once UNIQUE (log_id, first_index),
    CONSTRAINT commits_chain FOREIGN KEY (log_id, first_index) REFERENCES livetrail.commits (log_id, next_index),
    CONSTRAINT commits_forward CHECK ((first_index IS NULL AND next_index = 0) OR (first_index >= 0 AND next_index > first_index))
);

-- The signed checkpoints of the batches.
CREATE TABLE livetrail.checkpoints (
    log_id   integer NOT NULL REFERENCES livetrail.logs,
    size     bigint NOT NULL,
    note     bytea NOT NULL,
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_id, size)
);

-- The records: the columns are for queries, `entry` and `leaf` are for proofs. An entry that is not
-- a record has empty columns.
CREATE TABLE livetrail.records (
    log_id         integer NOT NULL,
    index          bigint NOT NULL,
    ts             timestamptz NOT NULL,
    action         text,
    label          text,
    app            text,
    stream         text,
    session        uuid,
    outcome        text,
    reason         text,
    protocol       text,
    principal      text,
    peer           text,
    user_agent     text,
    duration_ms    bigint,
    bytes          bigint,
    frames         bigint,
    dropped_frames bigint,
    inferred       boolean NOT NULL,
    count          bigint,
    first_seq      bigint,
    last_seq       bigint,
    detail         text,
    node           text,
    boot           uuid,
    seq            bigint,
    mono_ms        bigint,
    leaf           bytea NOT NULL,
    entry          bytea NOT NULL,
    PRIMARY KEY (log_id, index, ts)
) PARTITION BY RANGE (ts);

-- The partition for other times: those of wrong clocks and of entries that are not records.
CREATE TABLE livetrail.records_other PARTITION OF livetrail.records DEFAULT;

CREATE INDEX records_session ON livetrail.records (session) WHERE session IS NOT NULL;
CREATE INDEX records_stream ON livetrail.records (stream, ts) WHERE stream IS NOT NULL;
CREATE INDEX records_ts ON livetrail.records USING brin (ts);

-- Privileges forbid changes to writers and readers. These triggers also forbid them to the owner,
-- until someone removes the triggers.
CREATE FUNCTION livetrail.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'livetrail.% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['logs', 'commits', 'checkpoints', 'records', 'schema_version'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON livetrail.%I
            FOR EACH ROW EXECUTE FUNCTION livetrail.refuse_change()', name);
        EXECUTE format('ALTER TABLE livetrail.%I ENABLE ALWAYS TRIGGER append_only', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['logs', 'commits', 'checkpoints', 'records', 'records_other', 'schema_version'] LOOP
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON livetrail.%I
            FOR EACH STATEMENT EXECUTE FUNCTION livetrail.refuse_change()', name);
        EXECUTE format('ALTER TABLE livetrail.%I ENABLE ALWAYS TRIGGER append_only_truncate', name);
    END LOOP;
END $$;

-- Creates a month's partition when the month's first record comes. Writers may call this function,
-- but have no other right to create tables.
CREATE FUNCTION livetrail.ensure_partition(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz := date_trunc('month', moment);
    next timestamptz := date_trunc('month', moment) + interval '1 month';
    name text := 'records_' || to_char(moment, 'YYYYMM');
BEGIN
    -- A clock that is wrong must not litter the schema.
    IF first < '2020-01-01' OR first > now() + interval '2 months' OR to_regclass('livetrail.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('livetrail.ensure_partition', 0));
    IF to_regclass('livetrail.' || name) IS NOT NULL
        OR EXISTS (SELECT FROM livetrail.records_other WHERE ts >= first AND ts < next) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE livetrail.%I PARTITION OF livetrail.records FOR VALUES FROM (%L) TO (%L)', name, first, next);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON livetrail.%I
        FOR EACH STATEMENT EXECUTE FUNCTION livetrail.refuse_change()', name);
    EXECUTE format('ALTER TABLE livetrail.%I ENABLE ALWAYS TRIGGER append_only_truncate', name);
END $$;

-- How far each log has come.
CREATE VIEW livetrail.cursors AS
SELECT l.log_id, l.origin, c.next_index, c.committed_at,
       (SELECT max(k.size) FROM livetrail.checkpoints k WHERE k.log_id = l.log_id AND k.size <= c.next_index) AS covered_by
FROM livetrail.logs l
CROSS JOIN LATERAL (
    SELECT next_index, committed_at FROM livetrail.commits
    WHERE log_id = l.log_id ORDER BY next_index DESC LIMIT 1
) c;

-- Every session, from its first to its last record.
CREATE VIEW livetrail.sessions AS
SELECT log_id, session,
       CASE WHEN bool_or(action LIKE 'publish%') THEN 'publish' ELSE 'play' END AS kind,
       min(app) AS app, min(stream) AS stream, min(principal) AS principal, min(peer) AS peer, min(protocol) AS protocol,
       min(ts) AS started_at,
       max(ts) FILTER (WHERE action IN ('publish_ended', 'play_ended', 'publish_denied', 'play_denied')) AS ended_at,
       max(duration_ms) * interval '1 millisecond' AS duration,
       bool_or(action IN ('publish_denied', 'play_denied')) AS denied,
       max(reason) FILTER (WHERE action IN ('publish_ended', 'play_ended', 'publish_denied', 'play_denied')) AS reason,
       max(bytes) AS bytes, max(frames) AS frames, max(dropped_frames) AS dropped_frames,
       bool_or(inferred) AS inferred
FROM livetrail.records
WHERE session IS NOT NULL
GROUP BY log_id, session;

-- The viewers of each stream.
CREATE VIEW livetrail.viewers_per_stream AS
SELECT log_id, app, stream,
       count(*) FILTER (WHERE NOT denied) AS viewers,
       count(DISTINCT principal) FILTER (WHERE NOT denied) AS principals,
       count(*) FILTER (WHERE NOT denied AND ended_at IS NULL) AS watching,
       count(*) FILTER (WHERE denied) AS refused,
       sum(duration) AS watched,
       min(started_at) AS first_at, max(coalesce(ended_at, started_at)) AS last_at
FROM livetrail.sessions
WHERE kind = 'play'
GROUP BY log_id, app, stream;

-- The refused attempts and their reasons.
CREATE VIEW livetrail.refusals AS
SELECT log_id, index, ts, action, app, stream, reason, protocol, principal, peer, user_agent, session, detail
FROM livetrail.records
WHERE action IN ('publish_denied', 'play_denied');

-- Losses: dropped records, evicted viewers, and records that this table never received.
CREATE VIEW livetrail.losses AS
SELECT log_id, index, ts, action, app, stream, session, count, first_seq, last_seq, detail
FROM livetrail.records
WHERE action IN ('records_dropped', 'subscriber_evicted')
UNION ALL
SELECT log_id, first_index, committed_at, 'not_replicated', NULL, NULL, NULL, next_index - first_index, NULL, NULL, gap
FROM livetrail.commits
WHERE gap IS NOT NULL;

-- Rights. The roles are groups: give them to roles that log in.
REVOKE ALL ON FUNCTION livetrail.ensure_partition(timestamptz) FROM PUBLIC;
GRANT USAGE ON SCHEMA livetrail TO livetrail_writer, livetrail_reader;
GRANT SELECT, INSERT ON livetrail.logs, livetrail.commits, livetrail.checkpoints, livetrail.records TO livetrail_writer;
GRANT SELECT ON livetrail.schema_version TO livetrail_writer;
GRANT EXECUTE ON FUNCTION livetrail.ensure_partition(timestamptz) TO livetrail_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA livetrail TO livetrail_reader;

-- Version 2: hand-overs from key to key, so that whoever has an earlier key and this table alone follows them to the key of today.

CREATE TABLE livetrail.hand_overs (
    log_id   integer NOT NULL REFERENCES livetrail.logs,
    -- The id of the key that was given up: eight hexadecimal digits.
    key_id   text NOT NULL CHECK (key_id ~ '^[0-9a-f]{8}$'),
    -- How many entries the checkpoint covers under which it was given up; the key counts for no larger one.
    size     bigint NOT NULL,
    -- That checkpoint, signed with this key and with the one that took its place.
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

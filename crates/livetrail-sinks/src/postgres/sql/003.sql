-- Version 3: the fields of schema 2 of a record. Such records have a commitment in `personal`; the
-- columns principal, peer and user_agent are empty in them.

ALTER TABLE livetrail.records
    ADD COLUMN peer_source text,
    ADD COLUMN via text,
    ADD COLUMN personal bytea,
    ADD COLUMN request text,
    ADD COLUMN evidence text,
    ADD COLUMN source text,
    ADD COLUMN source_session text,
    ADD COLUMN upstream_node text,
    ADD COLUMN upstream_session uuid;

//! The audit record: actions, fields, canonical bytes, session state machine.

//! Livetrail for embedders: the engine, the audit pipeline and a prelude.

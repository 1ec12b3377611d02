//! AuditPipeline, an observer of the engine: bounded queue, worker, sinks, policy.

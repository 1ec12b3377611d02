//! `[sink.kafka]`.

use std::sync::Arc;

use livetrail_replica::ReplicaSink;
use livetrail_sinks::kafka::{KafkaSink, KafkaTarget, SaslMechanism, Weakness};

use crate::config::{self, Accept, Sasl, SecretError};

pub(super) fn make(name: &str, settings: &config::Kafka) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    Ok(Arc::new(KafkaSink::new(name, target(settings)?)?))
}

/// As the sink takes it, with the password from where it is kept.
pub(crate) fn target(settings: &config::Kafka) -> anyhow::Result<KafkaTarget> {
    let target = place(settings)?;
    let Some(user) = &settings.user else {
        return Ok(target);
    };
    let password = settings.password().read().map_err(SecretError::named)?;
    Ok(target.with_user(user).with_password(password.expose()))
}

/// All of it but who logs in.
pub(crate) fn place(settings: &config::Kafka) -> anyhow::Result<KafkaTarget> {
    let mut target = KafkaTarget::new(&settings.brokers, &settings.topic)?;
    target = target.with_mechanism(match settings.sasl {
        Sasl::Plain => SaslMechanism::Plain,
        Sasl::ScramSha256 => SaslMechanism::ScramSha256,
        Sasl::ScramSha512 => SaslMechanism::ScramSha512,
    });
    if let Some(number) = settings.partition {
        target = target.with_partition(number);
    }
    target = settings.tls().onto(
        target,
        KafkaTarget::with_ca_file,
        KafkaTarget::with_certificate,
    );
    if let Some(tls) = settings.tls {
        target = target.with_tls(tls);
    }
    for accepted in &settings.accept {
        target = target.accepting(match accepted {
            Accept::Compaction => Weakness::Compaction,
            Accept::Retention => Weakness::Retention,
            Accept::OneReplica => Weakness::OneReplica,
            Accept::UncleanElection => Weakness::UncleanElection,
            Accept::UnknownSettings => Weakness::UnknownSettings,
        });
    }
    Ok(target)
}

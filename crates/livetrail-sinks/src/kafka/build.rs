//! Builds a sink from settings, and the target that commands work on.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::{KafkaSink, KafkaTarget, TopicSetUp, Weakness, set_up};
use crate::error::SinksError;
use crate::settings::{Build, Kafka, SinkContext};

impl Build for Kafka {
    fn build(
        &self,
        name: &str,
        _personal: PersonalMode,
        _cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        Ok(Arc::new(KafkaSink::new(name, self.target()?)?))
    }
}

impl Kafka {
    /// The topic, with the user's password. The password is read from its file or environment
    /// variable.
    ///
    /// # Errors
    /// An address that is invalid, or a password that cannot be read.
    pub fn target(&self) -> Result<KafkaTarget, SinksError> {
        let target = self.without_login()?;
        let Some(user) = &self.user else {
            return Ok(target);
        };
        let password = self.password().read()?;
        Ok(target.with_user(user).with_password(password.expose()))
    }

    /// The topic without the login of the settings, for a command that logs in as another user.
    ///
    /// # Errors
    /// An address that is invalid.
    pub fn without_login(&self) -> Result<KafkaTarget, SinksError> {
        let mut target = KafkaTarget::new(&self.brokers, &self.topic)?.with_mechanism(self.sasl);
        if let Some(number) = self.partition {
            target = target.with_partition(number);
        }
        target = self.tls().onto(
            target,
            KafkaTarget::with_ca_file,
            KafkaTarget::with_certificate,
        );
        if let Some(tls) = self.tls {
            target = target.with_tls(tls);
        }
        for weakness in &self.accept {
            target = target.accepting(*weakness);
        }
        Ok(target)
    }

    /// Creates the topic if there is none. `target` is this topic with the login to use.
    ///
    /// By default the topic has as many partitions as these settings need. It has three replicas,
    /// or one if these settings accept one.
    ///
    /// # Errors
    /// The errors of [`set_up`].
    pub fn set_up(
        &self,
        target: &KafkaTarget,
        partitions: Option<u16>,
        replicas: Option<u8>,
    ) -> Result<TopicSetUp, SinksError> {
        let needed = self.partition.unwrap_or_default().saturating_add(1);
        let alone = self.accept.contains(&Weakness::OneReplica);
        let replicas = replicas.unwrap_or(if alone { 1 } else { 3 });
        set_up(target, partitions.unwrap_or(needed), replicas)
    }
}

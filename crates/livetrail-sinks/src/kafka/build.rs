//! Builds a sink from settings, and the target that commands work on.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::{KafkaSink, KafkaTarget, TopicSetUp, Weakness, set_up, set_up_openings};
use crate::error::SinksError;
use crate::settings::{Build, Kafka, SinkContext};

impl Build for Kafka {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        _cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let target = self.target()?;
        let target = match personal {
            PersonalMode::Opening => self.keeping_openings(target)?,
            _ => target,
        };
        Ok(Arc::new(KafkaSink::new(name, target)?))
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

    /// The target together with the topic for openings of these settings.
    ///
    /// # Errors
    /// The name of that topic is invalid.
    pub fn keeping_openings(&self, target: KafkaTarget) -> Result<KafkaTarget, SinksError> {
        target.with_openings(&self.openings_topic())
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
        let (needed, usual) = self.shape();
        let replicas = replicas.unwrap_or(usual);
        set_up(target, partitions.unwrap_or(needed), replicas)
    }

    /// The same for the topic of openings. `None` if the target has none
    /// ([`keeping_openings`](Self::keeping_openings)).
    ///
    /// By default it has as many partitions as these settings need; give it those of the topic.
    ///
    /// # Errors
    /// The errors of [`set_up_openings`].
    pub fn set_up_openings(
        &self,
        target: &KafkaTarget,
        partitions: Option<u16>,
        replicas: Option<u8>,
    ) -> Result<Option<TopicSetUp>, SinksError> {
        let (needed, usual) = self.shape();
        let replicas = replicas.unwrap_or(usual);
        set_up_openings(target, partitions.unwrap_or(needed), replicas)
    }

    /// The partitions that a new topic needs, and its replicas.
    fn shape(&self) -> (u16, u8) {
        let partitions = self.partition.unwrap_or_default().saturating_add(1);
        let alone = self.accept.contains(&Weakness::OneReplica);
        (partitions, if alone { 1 } else { 3 })
    }
}

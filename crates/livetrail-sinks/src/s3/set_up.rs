//! Sets up the bucket.

use std::fmt;

use livetrail_replica::ReplicaError;

use super::client::{Client, UnixSeconds, refused};
use super::options::S3Options;
use crate::error::SinksError;

/// The result of a set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketSetUp {
    /// The set-up has created the bucket.
    Made,
    /// The bucket exists and is suitable.
    Found,
}

impl fmt::Display for BucketSetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Made => "is made",
            Self::Found => "is there, as it should be",
        })
    }
}

/// Creates the bucket of these settings if it does not exist. If the settings keep objects, the
/// bucket has Object Lock. Then this checks that the bucket meets the sink's needs. The credentials
/// need the right to create a bucket.
///
/// If the future is dropped, the bucket may have been created. A further call then finds it.
///
/// # Errors
/// - [`SinksError::Setup`] if the server refuses, or if the bucket is not suitable.
/// - The errors of [`S3Sink::new`](super::S3Sink::new) for settings.
///
/// # Panics
/// Outside of a tokio runtime with I/O and time.
pub async fn set_up(options: S3Options, now_s: UnixSeconds) -> Result<BucketSetUp, SinksError> {
    options.check()?;
    let place = format!(
        "{} at {}",
        options.bucket.name(),
        options.bucket.endpoint().url()
    );
    let failed = |step: &str, error: ReplicaError| SinksError::Setup {
        step: step.to_owned(),
        place: place.clone(),
        source: error.into(),
    };
    let client = Client::new(options, now_s)?;
    let done = make(&client)
        .await
        .map_err(|error| failed("make the bucket", error))?;
    client
        .check_bucket()
        .await
        .map_err(|error| failed("check the bucket", error))?;
    Ok(done)
}

async fn make(client: &Client) -> Result<BucketSetUp, ReplicaError> {
    let there = client.send(client.bucket().list("", "", 1), 0).await?;
    if there.status != 404 {
        return Ok(BucketSetUp::Found);
    }
    let options = client.options();
    let object_lock = options.retention.is_some() || options.legal_hold;
    let request = client.bucket().create(object_lock);
    let what = request.what();
    let made = client.send(request, 0).await?;
    match made.status {
        200 => Ok(BucketSetUp::Made),
        status => Err(refused(&what, status, &made.body)),
    }
}

//! Authenticators that ask others who a client is.
//!
//! | type | decides by |
//! |---|---|
//! | [`Jwks`] | a signed token (JWT) and the issuer's published keys (JWKS) |
//! | [`HttpCallback`] | the answer of a service over HTTP, in the form that MediaMTX has made common |
//!
//! Both make requests on the host's runtime, within a timeout, and a bounded number at once. Both
//! remember verdicts for a bounded time in a bounded table. If the other side does not answer, an
//! attempt that needs it is refused (`auth_unavailable`); sessions that run are not touched.
//!
//! ```no_run
//! use livetrail_auth::{Endpoint, Jwks, JwksOptions};
//! use livetrail_engine::{AppSpec, Engine};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint::parse("https://id.example.com/.well-known/jwks.json")?;
//! let options = JwksOptions::new("id", endpoint, "https://id.example.com/").audience("livetrail");
//! let builder = Engine::builder().application(AppSpec::new("live"));
//! let jwks = Jwks::new(options, builder.shared_clock(), tokio::runtime::Handle::current())?;
//! let engine = builder.authenticator(jwks).build()?;
//! # drop(engine);
//! # Ok(()) }
//! ```

mod cache;
mod callback;
mod fuzz;
mod jwks;
mod principal;

pub use callback::{CallbackOptions, CallbackStatus, HttpCallback};
pub use fuzz::{fuzz_callback_answer, fuzz_jwks};
pub use jwks::{Jwks, JwksOptions, JwksStatus};
/// An authenticator cannot be made.
pub use livetrail_request::RequestError as AuthError;
pub use livetrail_request::{Endpoint, SIGNATURE_HEADER, TIMESTAMP_HEADER};

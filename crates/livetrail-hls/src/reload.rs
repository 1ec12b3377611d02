//! The delivery directives of a playlist request (RFC 8216bis section 6.2.5).

/// The longest query that is read.
const MAX_QUERY: usize = 4_096;

/// What a client asks of a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reload {
    /// `_HLS_msn`: wait until the playlist has this segment.
    pub sequence: Option<u64>,
    /// `_HLS_part`: wait until it has this part of the segment.
    pub part: Option<u64>,
    /// `_HLS_skip`: a delta update is fine.
    pub skip: bool,
}

/// A query that is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReload {
    /// More than 4,096 bytes.
    #[error("the query has more than 4,096 bytes")]
    TooLong,
    /// A directive that is not a number, or that occurs twice.
    #[error("{directive}: expected one decimal number")]
    Number {
        /// The directive's name.
        directive: &'static str,
    },
    /// A value of `_HLS_skip` other than `YES` and `v2`.
    #[error("_HLS_skip: expected YES or v2")]
    Skip,
    /// `_HLS_part` without `_HLS_msn`.
    #[error("_HLS_part needs _HLS_msn")]
    PartAlone,
}

impl Reload {
    /// Reads the directives of a query, and ignores its other parameters.
    ///
    /// # Errors
    /// See [`BadReload`].
    ///
    /// ```
    /// use livetrail_hls::{BadReload, Reload};
    ///
    /// let reload = Reload::parse("_HLS_msn=17&_HLS_part=3&_HLS_skip=YES")?;
    /// assert_eq!((reload.sequence, reload.part, reload.skip), (Some(17), Some(3), true));
    /// assert_eq!(Reload::parse("_HLS_part=3"), Err(BadReload::PartAlone));
    /// # Ok::<(), BadReload>(())
    /// ```
    pub fn parse(query: &str) -> Result<Self, BadReload> {
        if query.len() > MAX_QUERY {
            return Err(BadReload::TooLong);
        }
        let mut reload = Self::default();
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "_HLS_msn" => number(&mut reload.sequence, "_HLS_msn", value)?,
                "_HLS_part" => number(&mut reload.part, "_HLS_part", value)?,
                "_HLS_skip" if matches!(value, "YES" | "v2") => reload.skip = true,
                "_HLS_skip" => return Err(BadReload::Skip),
                _ => {}
            }
        }
        if reload.part.is_some() && reload.sequence.is_none() {
            return Err(BadReload::PartAlone);
        }
        Ok(reload)
    }
}

fn number(field: &mut Option<u64>, directive: &'static str, value: &str) -> Result<(), BadReload> {
    let is_decimal = value.bytes().all(|byte| byte.is_ascii_digit());
    let value = value.parse().ok().filter(|_| is_decimal && field.is_none());
    *field = Some(value.ok_or(BadReload::Number { directive })?);
    Ok(())
}

/// What becomes of a playlist request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Answer now, with the current playlist.
    Now,
    /// Hold the request until a later decision is another, or answer 503 after
    /// [`Playlists::longest_wait`](crate::Playlists::longest_wait).
    Wait,
    /// Answer 400: the segment or part is too far in the future.
    TooFar,
    /// There is no playlist yet: hold the request, or answer 503.
    NotReady,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_and_others_ignored() {
        assert_eq!(Reload::parse(""), Ok(Reload::default()));
        assert_eq!(
            Reload::parse("token=a&b&=c&_hls_msn=x"),
            Ok(Reload::default())
        );
        for query in [
            "_HLS_msn=",
            "_HLS_msn",
            "_HLS_msn=-1",
            "_HLS_msn=+1",
            "_HLS_msn=1&_HLS_msn=1",
        ] {
            assert_eq!(
                Reload::parse(query),
                Err(BadReload::Number {
                    directive: "_HLS_msn"
                }),
                "{query}"
            );
        }
        assert_eq!(Reload::parse("_HLS_skip=no"), Err(BadReload::Skip));
        assert_eq!(Reload::parse(&"x".repeat(5_000)), Err(BadReload::TooLong));
        let far = Reload::parse("_HLS_msn=18446744073709551616");
        assert_eq!(
            far,
            Err(BadReload::Number {
                directive: "_HLS_msn"
            })
        );
    }
}

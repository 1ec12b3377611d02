//! Lines of an audit log that the library `arcly-stream` wrote.
//!
//! ```text
//! 1763805600123<TAB>publish_started<TAB>live<TAB>-<TAB><LF>
//! 1763805600124<TAB>event<TAB>live<TAB>cam<TAB>100%=full<LF>
//! ```
//!
//! The columns are those of [`parse_line`](crate::parse_line), with two differences: nothing is
//! percent-encoded, and all of the fifth column is the label of a free-form event. So a label with
//! `%` or `=` reads differently, and the caller must know which of the two formats a file has.
//!
//! Such a log has six actions and names no sessions. A name with a TAB or an LF, which that library
//! writes as it is, looks like more columns or lines, and is an error here.

use crate::action::AuditAction;
use crate::error::RecordError;
use crate::fields::AuditRecord;
use crate::line::integer;

/// Parses a line that `arcly-stream` wrote, with or without its LF.
///
/// # Errors
/// [`RecordError`]: the line is not UTF-8, does not have five columns, has a time or an action that
/// `arcly-stream` does not write, or a detail with another action than `event`. Any bytes are
/// safe to pass.
///
/// ```
/// use livetrail_record::{AuditAction, parse_arcly_line};
///
/// let record = parse_arcly_line(b"2\tevent\tlive\t-\t100%=full\n")?;
/// assert_eq!(record.action, AuditAction::Event("100%=full".to_owned()));
/// assert_eq!((record.ts_ms, record.stream), (2, None));
/// # Ok::<(), livetrail_record::RecordError>(())
/// ```
pub fn parse_arcly_line(line: &[u8]) -> Result<AuditRecord, RecordError> {
    let line = std::str::from_utf8(line).map_err(|error| RecordError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    let columns: Vec<&str> = line.split('\t').collect();
    let [ts_ms, action, app, stream, detail] = columns.as_slice() else {
        return Err(RecordError::Columns {
            columns: columns.len(),
        });
    };
    let detail = *detail;
    let action = match *action {
        "publish_started" => AuditAction::PublishStarted,
        "publish_ended" => AuditAction::PublishEnded,
        "subscriber_evicted" => AuditAction::SubscriberEvicted,
        "rate_limited" => AuditAction::RateLimited,
        "stream_reaped" => AuditAction::StreamReaped,
        "event" => AuditAction::Event(detail.to_owned()),
        _ => {
            return Err(RecordError::BadField {
                field: "action".to_owned(),
                expected: "an action of arcly-stream",
            });
        }
    };
    if !detail.is_empty() && !matches!(action, AuditAction::Event(_)) {
        return Err(RecordError::BadField {
            field: "detail".to_owned(),
            expected: "empty, as it is but for events",
        });
    }
    let mut record = AuditRecord::new(action, *app).with_ts_ms(integer("ts_ms", ts_ms)?);
    record.stream = (*stream != "-").then(|| (*stream).to_owned());
    Ok(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_that_it_does_not_write_are_refused() {
        for (line, expected) in [
            (
                "1\tpublish_started\tlive\tcam",
                RecordError::Columns { columns: 4 },
            ),
            ("1\tevent\ta\tb\tc\td", RecordError::Columns { columns: 6 }),
            ("\u{fe}", RecordError::Columns { columns: 1 }),
        ] {
            assert_eq!(parse_arcly_line(line.as_bytes()), Err(expected), "{line:?}");
        }
        for line in [
            "1\theartbeat\t\t-\t",
            "1\tpublish_started\tlive\tcam\tsession=1",
            "-1\tevent\tlive\tcam\t",
            "01\tevent\tlive\tcam\t",
            "99999999999999999999\tevent\tlive\tcam\t",
        ] {
            let refused = parse_arcly_line(line.as_bytes());
            assert!(
                matches!(
                    refused,
                    Err(RecordError::BadField { .. } | RecordError::IntegerTooLarge { .. })
                ),
                "{line:?}: {refused:?}"
            );
        }
        assert_eq!(
            parse_arcly_line(b"1\tevent\t\xff\t-\t"),
            Err(RecordError::NotUtf8 { offset: 8 })
        );
    }

    proptest! {
        /// Whatever names and labels an `arcly-stream` host uses: what it writes is read back.
        #[test]
        fn every_label_is_read_back(
            ts_ms in 0..1_u64 << 53,
            app in "[^\t\n]{0,20}",
            stream in proptest::option::of("[^\t\n]{0,20}"),
            label in "\\PC{0,40}|[%= \r\u{85}a]{0,9}",
        ) {
            let label = label.replace(['\t', '\n'], " ");
            let shown = stream.as_deref().unwrap_or("-");
            let line = format!("{ts_ms}\tevent\t{app}\t{shown}\t{label}\n");
            let record = parse_arcly_line(line.as_bytes()).unwrap();
            prop_assert_eq!(record.action, AuditAction::Event(label));
            prop_assert_eq!((record.ts_ms, record.app), (ts_ms, app));
            prop_assert_eq!(record.stream, stream.filter(|stream| stream != "-"));
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            crate::fuzz::fuzz_arcly_line(&bytes);
        }
    }
}

//! HTTP gateway: HTTP-FLV playback.

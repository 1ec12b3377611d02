//! RTMP gateway: publish and play, as server and as client.

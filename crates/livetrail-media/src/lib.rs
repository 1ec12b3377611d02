//! Containers and codec headers, once for all gateways: FLV, AMF0, H.264 and AAC configuration.

//! Lines on the control socket: requests as the daemon reads them, replies as its clients do.

use units::snapshot::{Reply, Request};

/// Reads a line both ways; understood if it is a request.
pub fn target(data: &[u8]) -> bool {
    if let Ok(reply) = serde_json::from_slice::<Reply>(data) {
        let line = serde_json::to_string(&reply).expect("a reply is plain data");
        assert!(!line.contains('\n'), "a reply is one line");
        assert_eq!(serde_json::from_str::<Reply>(&line).expect("our own line"), reply);
    }
    let Ok(request) = serde_json::from_slice::<Request>(data) else { return false };
    let line = serde_json::to_string(&request).expect("a request is plain data");
    assert!(!line.contains('\n'), "a request is one line");
    assert_eq!(serde_json::from_str::<Request>(&line).expect("our own line"), request);
    true
}

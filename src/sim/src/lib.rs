//! The outside world at the wire: API servers, storage arrays, links that break

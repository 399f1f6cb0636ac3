//! The custom resources and their mapping to and from the domain

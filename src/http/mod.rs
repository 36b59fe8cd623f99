//! The door: everything that arrives by HTTP.

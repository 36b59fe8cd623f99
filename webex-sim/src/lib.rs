//! webex-sim

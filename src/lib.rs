//! webex-tokend

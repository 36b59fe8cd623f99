//! The other ways in: logins, the device grant and taking grants over; in virtual time, and over sockets.

mod device;
mod door;
mod logins;
mod scopes;
mod takeover;
